"""The recommended recipe in its three forms, and the line that says what of a recipe is active."""

from pathlib import Path

import pytest

import raycner
import runs
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.events import Message
from raycner.hashing import plain
from raycner.orchestration.recipe import LAYERS, active_parts, recommended
from raycner.orchestration.runner import run
from raycner.settings import flat

BERT = "model.encoder={name: pretrained, frozen: after_first}"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ([], "nothing"),
        (["method.name=self_training"], "self_training"),
        (["scenario.joint=true"], "all sentences of all steps so far (the upper bound)"),
        (["scenario.memory={size: 5, per: step}"], "a memory of 5 sentences per step (random)"),
        (
            [
                "method={name: der, base: {name: extend_ner}}",
                "scenario.memory={size: 20, keep: logits, until: 2090-12-31}",
            ],
            "der(extend_ner), a memory of 20 sentences per type with their logits (random, until 2090-12-31)",
        ),
        (
            [BERT, "scenario.memory={size: 5, keep: states}"],
            "a memory of 5 sentences per type as states of words (random), a frozen encoder",
        ),
        (["scenario.reservoir={path: news, size: 7}"], "7 sentences per old type from a reservoir"),
        ([BERT, "model.growth.freeze_old=true"], "a frozen encoder, frozen old rows"),
        (["optim.ema=0.9"], "averaged weights"),
        (["optim.feature_replay=dev"], "replayed features, their weight chosen on dev"),
        (
            ["model.growth.align=true", "optim={fusion: 0.3, feature_replay: 0.5}", "eval.calibration=read_out"],
            "aligned new rows, 30% of the weights of the step before, replayed features, calibration=read_out",
        ),
    ],
)
def test_the_line_names_each_active_part(settings: list[str], line: str) -> None:
    assert active_parts(RunConfig.load(settings)) == f"against forgetting: {line}"


def test_init_and_adopt_take_the_recipe_from_the_layers(tmp_path: Path, tiny_source: str) -> None:
    job = raycner.init(tiny_source, tmp_path / "job.yaml")
    method = RunConfig.load([str(job)]).method
    for form, layer in LAYERS.items():
        config = RunConfig.load([str(job), layer, *(["scenario.reservoir.path=x"] if form == "reservoir" else [])])
        assert flat(recommended(form)).items() <= flat(plain(config)).items()
        assert layer in job.read_text(), "the job names the other forms"
    assert method == RunConfig.load([str(job), LAYERS["no_text"]]).method


def test_a_first_job_has_the_form_that_is_asked_for(tmp_path: Path, tiny_source: str) -> None:
    memory = RunConfig.load([str(raycner.init(tiny_source, tmp_path / "memory.yaml", memory=True))])
    assert flat(recommended("memory")).items() <= flat(plain(memory)).items()
    text = RunConfig.load([str(raycner.init(tiny_source, tmp_path / "text.yaml", reservoir="more text"))])
    assert flat(recommended("reservoir")).items() <= flat(plain(text)).items()
    assert text.scenario.reservoir.path == "more text"
    with pytest.raises(InputError, match="two recipes"):
        raycner.init(tiny_source, tmp_path / "both.yaml", memory=True, reservoir="x")
    assert not (tmp_path / "both.yaml").exists()


def test_a_run_says_which_parts_are_active(tmp_path: Path) -> None:
    lines: list[str] = []
    config = runs.small(tmp_path, "scenario.order=[location, person]", "optim.epochs=1", "optim.first.epochs=1")
    run(config, lambda event: lines.append(event.text) if isinstance(event, Message) else None)
    assert [line for line in lines if line.startswith("against")] == ["against forgetting: dld(extend_ner)"]
