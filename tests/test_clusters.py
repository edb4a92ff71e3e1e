"""The cluster files, as far as they can be checked offline: by Ray's launcher, by Kubernetes' schemas, against ours."""

import importlib
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml
from botocore.validate import ParamValidator
from pydantic import ConfigDict, TypeAdapter
from ray._private.runtime_env.packaging import create_package
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema
from typing_extensions import TypedDict

import raycner
from raycner.__main__ import main
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.serving.replicas import application
from raycner.tuning.on_ray import concurrency

ROOT = Path(__file__).parents[1]
PLACES = sorted(path.parent.name for path in ROOT.glob("clusters/*/compute.yaml"))
LAUNCHED = ("aws_gpu", "gcp_gpu", "on_premise")
"""Raised by `ray up`."""
KUBERNETES = "1.33"
PACKAGE = {"raycner", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"}
"""What pip needs to install raycner at the pinned versions."""
JOB = {"raycner", "jobs", "clusters", "search_spaces"}
"""What a job needs."""


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def kubernetes(kind: str, file: str = "ray.yaml") -> Any:
    """The one object of this kind that `kubectl apply` creates."""
    documents = yaml.safe_load_all((ROOT / "clusters/kuberay_gpu" / file).read_text(encoding="utf-8"))
    (document,) = (document for document in documents if document["kind"] == kind)
    return document


def ray_job() -> Any:
    return kubernetes("RayJob")


def pinned(package: str) -> str:
    """The version that constraints.txt pins."""
    (version,) = re.findall(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return str(version)


def config(place: str) -> RunConfig:
    return RunConfig.load([str(ROOT / "jobs/demo.yaml"), str(ROOT / f"clusters/{place}/compute.yaml")])


# ---- every place


def test_the_places() -> None:
    assert PLACES == ["aws_gpu", "gcp_gpu", "kuberay_gpu", "laptop", "on_premise"]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_a_layer_of_store_and_compute(place: str) -> None:
    assert set(read(f"clusters/{place}/compute.yaml")) == {"store", "compute"}
    job = config(place)
    if place != "laptop":
        assert job.compute.workers == 1 and job.compute.gpus_per_worker == 1, "runs and trials go in parallel"
        assert "://" in job.store or job.store.startswith("/"), "all nodes reach it"


@pytest.mark.parametrize("place", ["aws_gpu", "gcp_gpu", "kuberay_gpu"])
@pytest.mark.parametrize("gpus_now", [0, 1])
def test_a_search_requests_every_gpu_that_can_start(place: str, gpus_now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.10:6379")
    compute = config(place).compute
    assert concurrency(compute, {"CPU": 8.0 * gpus_now, "GPU": float(gpus_now)}) == gpus_at_most(place)


def gpus_at_most(place: str) -> int:
    if place == "kuberay_gpu":
        (group,) = ray_job()["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        return int(group["maxReplicas"])
    return int(read(f"clusters/{place}/ray.yaml")["max_workers"])


@pytest.mark.parametrize("path", sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("clusters/*/*")))
def test_nothing_secret_and_nothing_open(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not re.search(r"(?i)secret_access_key|api_key|password|AKIA", text)
    assert "dashboard-host=0.0.0.0" not in text and "RAY_AUTH_MODE=disabled" not in text


# ---- what ray up reads


@pytest.mark.parametrize("place", LAUNCHED)
def test_the_launcher_takes_it(place: str) -> None:
    cluster_file = read(f"clusters/{place}/ray.yaml")
    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(cluster_file, json.loads(schema.read_text(encoding="utf-8")))
    validate_config(prepare_config(cluster_file))


@pytest.mark.parametrize("place", LAUNCHED)
def test_a_token_guards_it(place: str) -> None:
    cluster_file = read(f"clusters/{place}/ray.yaml")
    assert cluster_file["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for role in ("head", "worker"):
        (start,) = [line for line in cluster_file[f"{role}_start_ray_commands"] if "ray start" in line]
        assert "RAY_AUTH_MODE=token ray start" in start
        assert role == "worker" or "--dashboard-host=127.0.0.1" in start


@pytest.mark.parametrize("place", LAUNCHED)
def test_the_package_and_the_token_go_to_the_nodes_and_nothing_else(place: str) -> None:
    cluster_file = read(f"clusters/{place}/ray.yaml")
    mounts = {f"~/raycner/{name}": name for name in PACKAGE} | {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert cluster_file["file_mounts"] == mounts
    assert all((ROOT / name).exists() for name in PACKAGE)
    assert ".*" in cluster_file["rsync_exclude"], "no hidden file, such as .env, in any folder"


@pytest.mark.parametrize(("place", "extras"), [("aws_gpu", "s3"), ("gcp_gpu", "gcp"), ("on_premise", "")])
def test_setup_uses_no_python_of_the_image(place: str, extras: str) -> None:
    """Ubuntu's `python3` may be too old, and its pip refuses to install."""
    prepared = prepare_config(read(f"clusters/{place}/ray.yaml"))
    commands = [command for role in ("", "head_", "worker_") for command in prepared[f"{role}setup_commands"]]
    programs = [part.split()[0] for command in commands for part in re.split(r"[;|&]+", command)]
    assert not [program for program in programs if re.match("pip|python|conda", program.rpartition("/")[2])]
    assert any(re.search(r"uv venv .*--python 3\.11 ~/venv", command) for command in commands)
    wanted = ",".join(filter(None, ["cluster", extras]))
    assert any("--constraint ~/raycner/constraints.txt" in c and c.endswith(f'raycner[{wanted}]"') for c in commands)
    for role in ("head", "worker"):
        assert all("~/venv/bin" in command for command in prepared[f"{role}_start_ray_commands"])


def test_what_the_launcher_imports_is_pinned() -> None:
    for package in ("boto3", "google-api-python-client", "google-auth-httplib2", "httplib2"):
        assert pinned(package)


def test_nodes_of_aws_name_an_image_that_fits_torch() -> None:
    """Without ImageId, Ray takes an image with Ubuntu 18.04."""
    for name, node in read("clusters/aws_gpu/ray.yaml")["available_node_types"].items():
        image = node["node_config"].get("ImageId", "")
        assert re.fullmatch(
            r"resolve:ssm:/aws/service/deeplearning/ami/x86_64/\S+-ubuntu-24\.04/latest/ami-id", image
        ), name


def test_nodes_of_google_name_an_image_that_fits_torch() -> None:
    floor = int(re.findall(r"driver (\d+) or later", (ROOT / "docs/clusters.md").read_text("utf-8"))[0])
    for node in read("clusters/gcp_gpu/ray.yaml")["available_node_types"].values():
        for disk in node["node_config"]["disks"]:
            family = disk["initializeParams"]["sourceImage"].rpartition("/")[2]
            (ubuntu, driver) = re.findall(r"-ubuntu-(\d+)-nvidia-(\d+)$", family)[0]
            assert int(ubuntu) >= 2404 and int(driver) >= floor


def test_the_driver_floor_is_that_of_the_pinned_torch() -> None:
    """Each major version of CUDA needs a driver; CUDA 13 needs 580."""
    floors = {"2.13.0": "CUDA 13.0", "CUDA 13.0": "580"}
    text = " ".join((ROOT / "docs/clusters.md").read_text("utf-8").split())
    cuda = floors[pinned("torch")]
    assert f"built for {cuda}" in text and f"driver {floors[cuda]} or later" in text


def test_disks_of_aws_are_encrypted_and_metadata_needs_a_session() -> None:
    for node in read("clusters/aws_gpu/ray.yaml")["available_node_types"].values():
        assert all(disk["Ebs"]["Encrypted"] for disk in node["node_config"]["BlockDeviceMappings"])
        metadata = node["node_config"]["MetadataOptions"]
        assert metadata["HttpTokens"] == "required" and metadata["HttpPutResponseHopLimit"] == 1


def test_what_aws_is_asked_for_exists() -> None:
    """Against boto3's own model of RunInstances: a misspelt key is rejected."""
    request = boto3.session.Session().client("ec2", region_name="us-west-2").meta.service_model
    shape = request.operation_model("RunInstances").input_shape
    for node in read("clusters/aws_gpu/ray.yaml")["available_node_types"].values():
        errors = ParamValidator().validate(node["node_config"] | {"MinCount": 1, "MaxCount": 1}, shape)
        assert not errors.has_errors(), errors.generate_report()


def test_only_the_head_of_google_may_start_machines() -> None:
    types = read("clusters/gcp_gpu/ray.yaml")["available_node_types"]
    for name, node in types.items():
        (account,) = node["node_config"]["serviceAccounts"]
        scopes = {scope.rpartition("/")[2] for scope in account["scopes"]}
        assert scopes - {"compute"} == {"devstorage.read_write", "logging.write"}
        assert ("compute" in scopes) == (name == "head")
    accounts = {node["node_config"]["serviceAccounts"][0]["email"] for node in types.values()}
    assert len(accounts) == 2


@pytest.mark.parametrize("place", ["aws_gpu", "gcp_gpu"])
def test_the_nodes_have_room_for_the_workers(place: str) -> None:
    cluster_file, compute = read(f"clusters/{place}/ray.yaml"), config(place).compute
    types = cluster_file["available_node_types"]
    assert types[cluster_file["head_node_type"]]["resources"]["CPU"] == 0, "training runs on nodes with GPUs"
    nodes = [node for name, node in types.items() if name != cluster_file["head_node_type"]]
    for node in nodes:
        resources = node["resources"]
        per_node = min(resources["GPU"] // compute.gpus_per_worker, resources["CPU"] // compute.cpus_per_worker)
        assert per_node * min(node["max_workers"], cluster_file["max_workers"]) >= compute.max_concurrent_trials


@pytest.mark.parametrize(
    ("place", "is_spot"),
    [
        ("aws_gpu", lambda node: node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"),
        ("gcp_gpu", lambda node: node.get("scheduling", {}).get("provisioningModel") == "SPOT"),
    ],
)
def test_the_spot_market_comes_first_and_something_else_after(place: str, is_spot: Any) -> None:
    """Of types that fit equally well, the autoscaler takes the last name."""
    types = read(f"clusters/{place}/ray.yaml")["available_node_types"]
    workers = sorted((name for name in types if name != "head"), reverse=True)
    assert [is_spot(types[name]["node_config"]) for name in workers] == [True, False]
    assert not is_spot(types["head"]["node_config"]), "the head holds the cluster together"
    assert types[workers[0]]["resources"] == types[workers[1]]["resources"]


def test_nodes_have_roles_and_no_keys() -> None:
    aws, gcp = (read(f"clusters/{place}/ray.yaml")["available_node_types"].values() for place in ("aws_gpu", "gcp_gpu"))
    assert all("IamInstanceProfile" in node["node_config"] for node in aws)
    assert all("serviceAccounts" in node["node_config"] for node in gcp)


def test_own_machines_are_as_many_as_workers_may_come() -> None:
    cluster_file = read("clusters/on_premise/ray.yaml")
    assert cluster_file["max_workers"] == len(cluster_file["provider"]["worker_ips"])


# ---- what KubeRay reads


class Group(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    groupName: str
    replicas: int
    minReplicas: int
    maxReplicas: int
    rayStartParams: dict[str, str]
    template: dict[str, Any]


class ClusterSpec(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    rayVersion: str
    authOptions: dict[str, str]
    enableInTreeAutoscaling: bool
    headGroupSpec: Group
    workerGroupSpecs: list[Group]


class JobSpec(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    entrypoint: str
    runtimeEnvYAML: str
    submissionMode: str
    backoffLimit: int
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int
    rayClusterSpec: ClusterSpec


@pytest.fixture(scope="module")
def job() -> JobSpec:
    assert ray_job()["apiVersion"] == "ray.io/v1"
    return TypeAdapter(JobSpec).validate_python(ray_job()["spec"])


def templates(job: JobSpec) -> Iterator[dict[str, Any]]:
    spec = job["rayClusterSpec"]
    yield spec["headGroupSpec"]["template"]
    yield from (group["template"] for group in spec["workerGroupSpecs"])


def test_the_pods_are_pods(job: JobSpec) -> None:
    for template in templates(job):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_only_the_cluster_reaches_the_pods(job: JobSpec) -> None:
    policy = kubernetes("NetworkPolicy")
    kubernetes_validate.validate(policy, KUBERNETES, strict=True)
    labels = policy["spec"]["podSelector"]["matchLabels"]
    assert all(labels.items() <= template["metadata"]["labels"].items() for template in templates(job))
    inside, submission, metrics = policy["spec"]["ingress"]
    assert inside == {"from": [{"podSelector": {"matchLabels": labels}}]}
    assert submission["ports"] == [{"port": 8265}] and metrics["ports"] == [{"port": 8080}]
    submitter = {"podSelector": {"matchLabels": {"batch.kubernetes.io/job-name": ray_job()["metadata"]["name"]}}}
    assert submitter in submission["from"], "the pod of the job that KubeRay names after the RayJob"


def test_a_misspelt_pod_is_none() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"contaners": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_tag_of_the_image_states_our_version_and_ray(job: JobSpec) -> None:
    version = pinned("ray")
    assert job["rayClusterSpec"]["rayVersion"] == version
    images = {container["image"] for template in templates(job) for container in template["spec"]["containers"]}
    assert images == {f"raycner:{raycner.__version__}-ray{version}"}
    assert f"-t {images.pop()} ." in (ROOT / "clusters/kuberay_gpu/Dockerfile").read_text("utf-8")


def test_the_image_has_the_pinned_ray_the_package_and_the_jobs() -> None:
    folder = ROOT / "clusters/kuberay_gpu"
    lines = (folder / "Dockerfile").read_text("utf-8").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert steps[0] == ["FROM", f"rayproject/ray:{pinned('ray')}-py311-gpu"]
    assert {instruction for instruction, _ in steps} == {"FROM", "RUN", "WORKDIR", "COPY"}, "and so it stays user ray"
    copies = [words.split() for instruction, words in steps if instruction == "COPY"]
    assert all(words[0] == "--chown=ray:users" for words in copies)
    assert all(words[1:-1] == [words[-1]] or words[-1] == "./" for words in copies), "a folder keeps its name"
    sources = {word for words in copies for word in words[1:-1]}
    assert sources == PACKAGE | JOB
    assert all((ROOT / name).exists() for name in sources)
    (install,) = (words for instruction, words in steps if instruction == "RUN" and "pip" in words)
    assert "--constraint constraints.txt" in install and install.endswith('".[cluster,s3,serve]"')
    ignored = (folder / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert ignored == ["*", *(f"!{word}" for words in copies for word in words[1:-1]), "**/.*", "**/__pycache__"]


def test_a_pod_has_the_gpu_of_its_worker(job: JobSpec) -> None:
    compute = config("kuberay_gpu").compute
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == compute.gpus_per_worker
    assert int(container["resources"]["limits"]["cpu"]) >= compute.cpus_per_worker
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert group["maxReplicas"] >= compute.workers


def test_the_job_is_begun_again_and_guarded(job: JobSpec) -> None:
    assert job["backoffLimit"] > 0 and job["shutdownAfterJobFinishes"]
    assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    layers = [word for word in job["entrypoint"].split() if word.endswith(".yaml")]
    assert "clusters/kuberay_gpu/compute.yaml" in layers
    RunConfig.load([str(ROOT / layer) for layer in layers])
    assert yaml.safe_load(job["runtimeEnvYAML"])["env_vars"] == read("jobs/runtime_env.yaml")["env_vars"]


class ServiceSpec(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    serveConfigV2: str
    rayClusterConfig: ClusterSpec


@pytest.fixture(scope="module")
def service() -> ServiceSpec:
    document = kubernetes("RayService", "service.yaml")
    assert document["apiVersion"] == "ray.io/v1"
    return TypeAdapter(ServiceSpec).validate_python(document["spec"])


def served(service: ServiceSpec) -> ServeDeploySchema:
    return ServeDeploySchema.model_validate(yaml.safe_load(service["serveConfigV2"]))


def test_the_pods_of_the_service_are_pods_of_the_image(service: ServiceSpec, job: JobSpec) -> None:
    cluster = service["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"} and cluster["rayVersion"] == pinned("ray")
    (image,) = {container["image"] for template in templates(job) for container in template["spec"]["containers"]}
    policy = kubernetes("NetworkPolicy", "service.yaml")
    kubernetes_validate.validate(policy, KUBERNETES, strict=True)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        template = group["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        (container,) = template["spec"]["containers"]
        assert container["image"] == image
        token = {variable["name"]: variable.get("valueFrom") for variable in container["env"]}["RAYCNER_SERVE_TOKEN"]
        assert token == {"secretKeyRef": {"name": "raycner-serve", "key": "token"}}
        assert {"containerPort": served(service).http_options.port, "name": "serve"} in container["ports"]


def test_the_service_is_what_ray_serve_starts(service: ServiceSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = served(service)
    assert schema.http_options.host == "0.0.0.0", "the proxy of each pod answers the service of Kubernetes"
    (application,) = schema.applications
    module, _, name = application.import_path.partition(":")
    build = getattr(importlib.import_module(module), name)
    monkeypatch.setenv("RAYCNER_SERVE_TOKEN", "secret")
    deployment = build(application.args)._bound_deployment
    (group,) = service["rayClusterConfig"]["workerGroupSpecs"]
    scaling = deployment._deployment_config.autoscaling_config
    assert scaling.max_replicas == group["maxReplicas"] and scaling.min_replicas >= group["minReplicas"]
    (container,) = group["template"]["spec"]["containers"]
    assert deployment.ray_actor_options["num_gpus"] == container["resources"]["limits"]["nvidia.com/gpu"]
    (config,) = deployment.init_args
    assert config.admits("secret") and not config.admits("") and "secret" not in repr(config)


def test_a_service_of_a_cluster_requires_a_token(service: ServiceSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYCNER_SERVE_TOKEN", raising=False)
    (schema,) = served(service).applications
    with pytest.raises(InputError, match="RAYCNER_SERVE_TOKEN: no token is set"):
        application(schema.args)
    monkeypatch.setenv("RAYCNER_SERVE_TOKEN", "secret")
    with pytest.raises(InputError, match=r"args\.replicas\.replica: no such setting; did you mean"):
        application({**schema.args, "replicas": {"replica": 2}})


# ---- what a job brings along


@pytest.mark.parametrize("include_gitignore", [True, False])
def test_a_job_uploads_its_code_and_nothing_else(tmp_path: Path, include_gitignore: bool) -> None:
    """By the function of Ray that packs the folder of a job."""
    folder, package = tmp_path / "folder", tmp_path / "package.zip"
    code = {"raycner/config.py", "raycner/data/metrics.py", "jobs/demo.yaml", "jobs/rows/tag_systems.yaml"}
    code |= {"jobs/runtime_env.yaml", "clusters/aws_gpu/compute.yaml", "search_spaces/dld.py"}
    private = {".env", "secrets.txt", "store/runs/one.json", "data/corpus/train.txt", ".git/config", ".venv/bin/python"}
    private |= {"raycner/.env", "jobs/.env", "jobs/.secrets/key", "raycner/__pycache__/config.pyc", "notes/letter.txt"}
    private |= {
        "report.html",
        "results/jobs/demo.yaml",
        "README.md",
        "build/lib/raycner/config.py",
        "tracking/run.jsonl",
    }
    for name in code | private:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text("utf-8"), encoding="utf-8")
    excludes = read("jobs/runtime_env.yaml")["excludes"]
    create_package(str(folder), package, include_gitignore=include_gitignore, excludes=excludes)
    with zipfile.ZipFile(package) as uploaded:
        assert set(uploaded.namelist()) == code


def test_a_job_uploads_the_folders_that_it_needs(tmp_path: Path) -> None:
    runtime_env, package = read("jobs/runtime_env.yaml"), tmp_path / "package.zip"
    assert runtime_env["working_dir"] == "."
    create_package(str(ROOT), package, include_gitignore=True, excludes=runtime_env["excludes"])
    with zipfile.ZipFile(package) as uploaded:
        assert {name.partition("/")[0] for name in uploaded.namelist()} == JOB


def test_a_job_is_submitted_with_the_token() -> None:
    script = (ROOT / "jobs/submit.sh").read_text("utf-8")
    assert 'export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"' in script


def test_a_submitted_job_needs_a_store_that_outlives_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert main(["run", str(ROOT / "jobs/demo.yaml")]) == 2
    assert "use a URI, or an absolute path" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
