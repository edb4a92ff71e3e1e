"""Every job and every layer in the repository loads, plans and trains; published variants say the published numbers."""

import json
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pytest
import yaml

from raycner.analysis.published import setting_of
from raycner.config import ComputeConfig, OptimConfig, RunConfig
from raycner.data.layouts.few_nerd import TYPES
from raycner.data.layouts.layout import FileLayout
from raycner.data.scenarios.scenario import Scenario, ScenarioConfig
from raycner.data.scenarios.steps import ListedSteps
from raycner.hashing import plain
from raycner.methods.add_ner import AddNER
from raycner.methods.dld import DLD
from raycner.methods.extend_ner import ExtendNER
from raycner.methods.gen_cner import GenCNER
from raycner.methods.podnet import PODNet
from raycner.networks.encoders.pretrained import Pretrained
from raycner.networks.heads.cosine import Cosine
from raycner.networks.heads.linear import Linear
from raycner.networks.heads.spans import Spans
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import run
from raycner.training.plan import plan

REPOSITORY = Path(__file__).parents[1]
JOBS = sorted({*REPOSITORY.glob("jobs/*.yaml")} - {REPOSITORY / "jobs/runtime_env.yaml"})
VARIANTS = sorted(REPOSITORY.glob("jobs/variants/*.yaml"))
PLACES = sorted(REPOSITORY.glob("clusters/*/compute.yaml"))
COMPAT = REPOSITORY / "jobs" / "compat.yaml"
CONLL = REPOSITORY / "jobs" / "conll_fg1_pg1.yaml"
DEMO = REPOSITORY / "jobs" / "demo.yaml"
RECOMMENDED = sorted(REPOSITORY.glob("jobs/recommended*.yaml"))
ENCODERS = sorted(REPOSITORY.glob("jobs/encoders/*.yaml"))
COMPLETE = [job for job in JOBS if job not in (COMPAT, *RECOMMENDED)]
QUICK = (
    *("model.encoder.name=bilstm", "model.encoder.width=8"),
    *("optim.epochs=1", "optim.first.epochs=1", "compute.workers=0"),
)
TINY_DEMO = ("scenario.order=[person, animal]", "scenario.corpus.sentences=60", *QUICK)


def load(*layers: Path | str) -> RunConfig:
    return RunConfig.load(map(str, layers))


def silent(*_: object, **__: object) -> None:
    """A callback that ignores every event."""


def each(name: str, paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, paths, ids=[path.relative_to(REPOSITORY).as_posix() for path in paths])


def lay_corpora(scenario: ScenarioConfig) -> None:
    """Write small files of columns at every source that a scenario names, with the types it learns there."""
    corpus, protocol = scenario.corpus, scenario.protocol
    if isinstance(protocol, ListedSteps):
        for step in protocol.steps:
            lay_columns(Path(step.corpus["path"]), step.types)
    elif isinstance(corpus, FileLayout):
        types = {"conll2003": ("LOC", "MISC", "ORG", "PER"), "few_nerd": TYPES}.get(corpus.name, scenario.order)
        prefix = "" if corpus.name == "few_nerd" else "B-"
        lay_columns(Path(corpus.path), types or ("city", "dish", "river", "tool"), prefix)


def lay_columns(folder: Path, types: tuple[str, ...], prefix: str = "B-") -> None:
    folder.mkdir(parents=True)
    for part in ("train", "dev", "test"):
        kinds = islice(cycle(types), max(24, 2 * len(types)))
        text = "".join(f"the O\nword{i} {prefix}{kind}\n. O\n\n" for i, kind in enumerate(kinds))
        (folder / f"{part}.conll").write_text(text, encoding="utf-8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative sources and stores of jobs lie in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


@each("job", COMPLETE)
def test_a_job_names_its_method(job: Path) -> None:
    """Otherwise it would train the lower bound, which nobody runs a paper's job for."""
    assert yaml.safe_load(job.read_text(encoding="utf-8"))["method"]["name"]


@each("job", COMPLETE)
def test_a_job_plans_as_it_is(job: Path) -> None:
    config = load(job)
    lay_corpora(config.scenario)
    _, scenario = prepare(config, silent)
    chain = plan(config, scenario)
    assert len(chain) == len(scenario) > 1
    assert [spec.parent for spec in chain] == [None, *(spec.fingerprint for spec in chain[:-1])]
    assert chain[0].method.name == "finetuning" and chain[1].method == config.method


@each("job", COMPLETE)
def test_a_job_runs_to_its_end(job: Path) -> None:
    quick = TINY_DEMO if job == DEMO else QUICK
    config = load(job, *quick)
    lay_corpora(config.scenario)
    assert run(config, silent).finished


@each("variant", VARIANTS)
@pytest.mark.parametrize("recipe", [(), (COMPAT,)], ids=["alone", "on compat"])
def test_a_variant_runs_to_its_end(variant: Path, recipe: tuple[Path, ...]) -> None:
    from_scratch = ["model.head.path=null"] if "path" in vars(load(DEMO, variant).model.head) else []
    assert run(load(DEMO, *recipe, variant, *TINY_DEMO, *from_scratch), silent).finished


@each("layer", RECOMMENDED)
def test_a_recommendation_runs_to_its_end(layer: Path, tmp_path: Path) -> None:
    (tmp_path / "news.txt").write_text("Ada met an otter .\n" * 3, encoding="utf-8")
    text = [f"scenario.reservoir.path={tmp_path / 'news.txt'}"] if "reservoir" in layer.name else []
    assert run(load(DEMO, layer, *TINY_DEMO, *text), silent).finished


@each("layer", ENCODERS)
def test_an_encoder_is_added_to_any_job(layer: Path) -> None:
    for job in REPOSITORY.glob("jobs/*_fg*_pg*.yaml"):
        plain, larger = load(job), load(job, layer)
        assert isinstance(larger.model.encoder, Pretrained) and larger.optim.lr < OptimConfig().lr
        model = replace(plain.model, encoder=larger.model.encoder)
        assert larger == replace(plain, model=model, optim=replace(plain.optim, lr=larger.optim.lr))


@each("place", PLACES)
def test_paths_do_not_change_what_is_learned(place: Path) -> None:
    job, there = load(DEMO), load(DEMO, place)
    assert replace(there, compute=job.compute, store=job.store) == job


def test_the_demo_differs_from_finetuning_by_its_method_alone() -> None:
    remembers, forgets = load(DEMO), load(DEMO, "method.name=finetuning")
    assert isinstance(remembers.method, DLD) and isinstance(remembers.method.base, ExtendNER)
    assert replace(forgets, method=remembers.method) == remembers


def test_a_longer_list_of_steps_keeps_the_steps_it_had() -> None:
    job = REPOSITORY / "jobs" / "own_steps.yaml"
    steps = plain(load(job))["scenario"]["protocol"]["steps"]
    listed = [*steps, {"types": ["event"], "corpus": {"path": "data/calendar"}}]
    longer = load(job, f"scenario.protocol.steps={json.dumps(listed)}")
    lay_corpora(longer.scenario)
    before = [spec.fingerprint for spec in plan(load(job), prepare(load(job), silent)[1])]
    after = [spec.fingerprint for spec in plan(longer, prepare(longer, silent)[1])]
    assert after[:-1] == before


@pytest.mark.parametrize(
    ("job", "setting", "types", "steps"),
    [
        ("conll_fg1_pg1", "CoNLL2003 FG-1-PG-1", 4, 4),
        ("conll_fg2_pg1", "CoNLL2003 FG-2-PG-1", 4, 3),
        ("i2b2_fg1_pg1", "I2B2 FG-1-PG-1", 16, 16),
        ("i2b2_fg2_pg2", "I2B2 FG-2-PG-2", 16, 8),
        ("i2b2_fg8_pg1", "I2B2 FG-8-PG-1", 16, 9),
        ("i2b2_fg8_pg2", "I2B2 FG-8-PG-2", 16, 5),
        ("ontonotes5_fg1_pg1", "OntoNotes5 FG-1-PG-1", 18, 18),
        ("ontonotes5_fg2_pg2", "OntoNotes5 FG-2-PG-2", 18, 9),
        ("ontonotes5_fg8_pg1", "OntoNotes5 FG-8-PG-1", 18, 11),
        ("ontonotes5_fg8_pg2", "OntoNotes5 FG-8-PG-2", 18, 6),
    ],
)
def test_a_job_is_the_published_setting_of_its_name(job: str, setting: str, types: int, steps: int) -> None:
    config = load(REPOSITORY / "jobs" / f"{job}.yaml")
    lay_corpora(config.scenario)
    _, scenario = prepare(config, silent)
    assert (len(scenario[-1].inventory), len(scenario)) == (types, steps)
    assert setting_of([experience.inventory.new for experience in scenario]) == tuple(setting.split())
    assert config.method == ExtendNER()


def test_jobs_of_two_types_per_step_document_how_to_train_twice_as_long() -> None:
    for job in REPOSITORY.glob("jobs/*_pg2.yaml"):
        if job.stem.startswith(("i2b2", "ontonotes5")):
            text = job.read_text(encoding="utf-8")
            assert "jobs/compat.yaml optim.epochs=20 optim.first.epochs=20" in text
    longer = load(CONLL, COMPAT, "optim.epochs=20", "optim.first.epochs=20").optim
    assert (longer.for_step(0).epochs, longer.for_step(1).epochs) == (20, 20)


def test_compat_is_the_published_recipe() -> None:
    config = load(CONLL, COMPAT)
    first, later = config.optim.for_step(0), config.optim.for_step(1)
    for optim in (first, later):
        assert (optim.optimizer, optim.momentum, optim.weight_decay) == ("sgd", 0.9, 5e-4)
        assert (optim.epochs, optim.batch_size, optim.clip, optim.select) == (10, 8, 0, "new")
        assert optim.order == "corpus"
    assert (first.lr, first.head_lr, first.schedule) == (2e-3, 2e-3, "milestones")
    assert (first.milestones, first.gamma) == ((5,), 0.2)
    assert (later.lr, later.head_lr, later.schedule) == (4e-4, 4e-4, "constant")
    assert later.lr == pytest.approx(first.lr * first.gamma)
    assert config.model.head == Cosine(norm_axis="sequence", scale=1.0, decoding="argmax")
    assert (config.model.growth.freeze_old, config.model.growth.imprint) == (True, "dev")
    assert config.model.encoder == Pretrained(path="bert-base-cased", dropout=0.1, embeddings="full")


def test_compat_never_cuts_a_batch() -> None:
    """Eight sentences a batch, as published, however long they are."""
    config = load(CONLL, COMPAT)
    assert isinstance(config.model.encoder, Pretrained)
    assert config.optim.batch_size * config.model.encoder.max_length <= config.optim.batch_tokens


PUBLISHED = {
    "extend_ner_cfner": ExtendNER(student_temperature=2, teacher_temperature=1, weighting="mean"),
    "extend_ner_paper": ExtendNER(student_temperature=2, teacher_temperature=2, weighting="mean"),
    "extend_ner_spankl": ExtendNER(student_temperature=1, teacher_temperature=1, weighting="mean"),
    "self_training_published": ExtendNER(student_temperature=2, teacher_temperature=0.01, weighting="mean"),
    "dld_paper": DLD(
        base=ExtendNER(student_temperature=2, teacher_temperature=1, weighting="mean"),
        weight_positive=2,
        weight_negative=2,
        decomposition="product",
        form="kl",
        words="outside",
        temperature=1,
        adaptive=False,
    ),
    "add_ner_paper": AddNER(kd_weight=1, temperature=2),
    "gen_cner": GenCNER(keep_ratio=0.5),
    "podnet_published": PODNet(nca="cancelled", spatial_gradient=False),
}


@each("variant", VARIANTS)
def test_a_variant_is_the_published_method(variant: Path) -> None:
    config = load(CONLL, variant)
    assert config.method == PUBLISHED[variant.stem]
    method = config.method.base if isinstance(config.method, DLD) else config.method
    if isinstance(method, ExtendNER):
        assert (method.kd_weight, method.adaptive) == (1.0, False)


def test_the_heads_of_the_paper_and_of_spankl_are_linear() -> None:
    paper, spankl = (load(CONLL, REPOSITORY / f"jobs/variants/extend_ner_{kind}.yaml") for kind in ("paper", "spankl"))
    assert paper.model.head == Linear(decoding="constrained")
    assert spankl.model.head == Linear(decoding="strict")


def test_the_laptop_needs_no_ray() -> None:
    assert load(REPOSITORY / "clusters/laptop/compute.yaml").compute == ComputeConfig(workers=0)


@pytest.mark.parametrize(
    ("job", "tasks", "first"),
    [
        ("ontonotes_split_all", 6, ("ORG",)),
        ("fewnerd_filter_filter", 8, TYPES[:7]),
        ("gum_split_all", 4, ("city",)),
        ("wnut17_split_all", 4, ("city",)),
    ],
)
def test_a_job_of_tasks_is_spankls_setup(job: str, tasks: int, first: tuple[str, ...]) -> None:
    """Every job of tasks in its first order and in its third, which brings the same tasks."""

    def prepared(*layers: str) -> Scenario:
        return prepare(load(REPOSITORY / "jobs" / f"{job}.yaml", *layers), silent)[1]

    config = load(REPOSITORY / "jobs" / f"{job}.yaml")
    lay_corpora(config.scenario)
    one, other = prepared(), prepared("scenario.protocol.permutation=P3")
    assert (len(one), one[0].inventory.new) == (tasks, first)
    assert [e.inventory.new for e in one] != [e.inventory.new for e in other]
    assert {e.inventory.new for e in one} == {e.inventory.new for e in other}
    assert config.scenario.protocol.name.capitalize() == job.split("_")[1].capitalize()
    assert plain(config)["scenario"]["protocol"]["test"] == job.split("_")[2]


@pytest.mark.parametrize(
    ("job", "epochs", "batch_size", "clip"),
    [("ontonotes_split_all", 10, 32, 1.0), ("fewnerd_filter_filter", 5, 24, 5.0)],
)
def test_a_job_of_spankl_is_its_published_recipe(job: str, epochs: int, batch_size: int, clip: float) -> None:
    config = load(REPOSITORY / "jobs" / f"{job}.yaml")
    assert config.model.encoder == Pretrained(
        path="bert-large-cased", dropout=0.1, output_dropout=0.1, embeddings="full"
    )
    assert config.model.head == Spans(vector=50, threshold=0.5)
    for optim in (config.optim.for_step(0), config.optim.for_step(1)):
        assert (optim.epochs, optim.batch_size, optim.clip, optim.schedule) == (epochs, batch_size, clip, "cosine")
        assert (optim.optimizer, optim.lr, optim.head_lr, optim.weight_decay) == ("adamw", 5e-5, 1e-3, 0.01)
        assert (optim.order, optim.decay, optim.select, optim.select_by) == ("shuffle", "weights", "new", "macro")
        assert optim.batch_tokens >= 512 * batch_size, "no batch is ever cut"
    generative = load(REPOSITORY / "jobs" / f"{job}.yaml", REPOSITORY / "jobs" / "variants" / "gen_cner.yaml")
    assert generative.model.encoder == Pretrained(path="facebook/bart-large", dropout=0.1, embeddings="full")


def test_the_progressive_job_learns_the_target_last() -> None:
    job = REPOSITORY / "jobs" / "conll_progressive.yaml"
    lay_corpora(load(job).scenario)
    _, scenario = prepare(load(job), silent)
    assert [e.inventory.new for e in scenario] == [("misc", "organisation", "person"), ("location",)]
    assert run(load(job, "scenario.protocol.scratch=true", *QUICK), silent).finished
    assert run(load(job, "model.head.name=seq2seq", "scenario.protocol.target=person", *QUICK), silent).finished
