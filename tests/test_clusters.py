"""The cluster files, as far as they can be checked offline: by Ray's launcher, by Kubernetes' schemas, against ours."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml
from pydantic import ConfigDict, TypeAdapter
from ray.autoscaler._private.util import prepare_config, validate_config
from typing_extensions import TypedDict

from raycner.__main__ import main
from raycner.config import RunConfig

ROOT = Path(__file__).parents[1]
PLACES = sorted(path.parent.name for path in ROOT.glob("clusters/*/compute.yaml"))
LAUNCHED = ("aws_gpu", "gcp_gpu", "on_premise")
"""Raised by `ray up`."""
KUBERNETES = "1.33"


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


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
        assert job.compute.workers >= 2 and job.compute.gpus_per_worker >= 1
        assert "://" in job.store or job.store.startswith("/"), "what all nodes see"


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


@pytest.mark.parametrize("place", ["aws_gpu", "gcp_gpu"])
def test_the_nodes_hold_the_workers(place: str) -> None:
    cluster_file, compute = read(f"clusters/{place}/ray.yaml"), config(place).compute
    types = cluster_file["available_node_types"]
    assert types[cluster_file["head_node_type"]]["resources"]["CPU"] == 0, "what trains trains on nodes with GPUs"
    nodes = [node for name, node in types.items() if name != cluster_file["head_node_type"]]
    for node in nodes:
        there = node["resources"]
        per_node = min(there["GPU"] // compute.gpus_per_worker, there["CPU"] // compute.cpus_per_worker)
        assert per_node * min(node["max_workers"], cluster_file["max_workers"]) >= compute.workers


@pytest.mark.parametrize(
    ("place", "is_spot"),
    [
        ("aws_gpu", lambda node: node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"),
        ("gcp_gpu", lambda node: node.get("scheduling", {}).get("provisioningModel") == "SPOT"),
    ],
)
def test_the_spot_market_comes_first_and_something_else_after(place: str, is_spot: Any) -> None:
    """Of types that would do alike, the autoscaler takes the last name."""
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
    cluster_file = read("clusters/kuberay_gpu/ray.yaml")
    assert (cluster_file["apiVersion"], cluster_file["kind"]) == ("ray.io/v1", "RayJob")
    return TypeAdapter(JobSpec).validate_python(cluster_file["spec"])


def templates(job: JobSpec) -> Iterator[dict[str, Any]]:
    spec = job["rayClusterSpec"]
    yield spec["headGroupSpec"]["template"]
    yield from (group["template"] for group in spec["workerGroupSpecs"])


def test_the_pods_are_pods(job: JobSpec) -> None:
    for template in templates(job):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_a_misspelt_pod_is_none() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"contaners": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_ray_of_the_image_is_ours(job: JobSpec) -> None:
    version = pinned("ray")
    assert job["rayClusterSpec"]["rayVersion"] == version
    images = {container["image"] for template in templates(job) for container in template["spec"]["containers"]}
    assert [image.rpartition(":")[2].endswith(f"-ray{version}") for image in images] == [True]
    assert f"FROM rayproject/ray:{version}-py311-gpu" in (ROOT / "clusters/kuberay_gpu/Dockerfile").read_text("utf-8")


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


# ---- what a job brings along


def test_a_job_brings_the_code_and_nothing_large() -> None:
    cluster_file = read("jobs/runtime_env.yaml")
    assert cluster_file["working_dir"] == "."
    assert {".git", ".venv", "/store", "/data"} <= set(cluster_file["excludes"])
    assert not any(
        name.strip("/") in ("raycner", "jobs", "clusters", "search_spaces") for name in cluster_file["excludes"]
    )


def test_a_submitted_job_needs_a_store_that_outlives_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert main(["run", str(ROOT / "jobs/demo.yaml")]) == 2
    assert "use a URI, or an absolute path" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
