"""Selection: an epoch is selected by dev where dev can judge what the step learns; else the last one is kept."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from raycner.analysis.summary import summary
from raycner.config import OptimConfig, RunConfig
from raycner.data.corpora import Corpus, prepare
from raycner.data.layouts import LAYOUTS
from raycner.data.scenarios.protocol import PROTOCOLS
from raycner.data.scenarios.scenario import Scenario, ScenarioConfig
from raycner.data.scenarios.steps import StepConfig
from raycner.events import Event, Message
from raycner.orchestration.runner import run
from raycner.reporting.html.page import contents, html
from raycner.reporting.report import show
from raycner.storage.store import ObjectStore
from raycner.training.selection import applicable

LINES = {"PER": "Anna B-PER\nran O\n\n", "LOC": "Rome B-LOC\nis O\nbig O\n\n", "ORG": "Acme B-ORG\nsells O\n\n"}
NOTE = "dev has no entity of PER, the new type of the step, and cannot select an epoch: the last one is kept"


def write(folder: Path, dev: str = "LOC ORG", times: int = 8) -> str:
    """A corpus of PER, LOC and ORG whose dev part has only the types named."""
    folder.mkdir(exist_ok=True)
    for part, kinds in (("train", LINES), ("dev", dev.split()), ("test", LINES)):
        (folder / f"{part}.conll").write_text("".join(LINES[kind] for kind in kinds) * times)
    return str(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("selection")
    return prepare(LAYOUTS["columns"](path=write(folder)), ObjectStore(str(folder / "store")), str)


ORDER = ("LOC", "PER", "ORG")
STEPS = {
    "fg_pg": ({}, [True, False, True]),
    "split": ({}, [True, False, True]),
    "progressive": ({"target": "PER"}, [True, False]),
    "steps": ({"steps": tuple(StepConfig(types=(kind,)) for kind in ORDER)}, [True, False, True]),
}
"""Settings of a protocol, and whether dev judges each step. `filter` refuses a dev part without a task's types."""


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("protocol", STEPS)
def test_dev_judges_the_steps_whose_new_types_it_has(protocol: str, joint: bool, corpus: Corpus) -> None:
    settings, judged = STEPS[protocol]
    if protocol == "steps" and joint:
        pytest.skip("a list of corpora has no upper bound")
    order = () if protocol == "steps" else ORDER
    config = ScenarioConfig(protocol=PROTOCOLS[protocol](**settings), order=order, joint=joint)
    scenario = Scenario(config, [corpus] * (3 if protocol == "steps" else 1))
    optim = OptimConfig(select="new", patience=2)
    for experience, dev_can in zip(scenario, judged, strict=True):
        selection, notes = applicable(optim, experience)
        assert selection == (optim if dev_can else replace(optim, select="last", patience=0))
        assert list(notes) == ([] if dev_can else [NOTE])
        assert applicable(replace(optim, select="last", patience=0), experience)[1] == ()


def test_one_new_type_that_dev_has_is_enough(corpus: Corpus) -> None:
    (both, _) = Scenario(ScenarioConfig(protocol=PROTOCOLS["fg_pg"](first=2), order=("PER", "LOC", "ORG")), [corpus])
    assert applicable(OptimConfig(), both) == (OptimConfig(), ())


def test_dev_chooses_what_is_replayed_where_it_has_an_old_type(corpus: Corpus) -> None:
    order, replayed = ("PER", "LOC", "ORG"), OptimConfig(feature_replay="dev", select="last")
    _, without, has = Scenario(ScenarioConfig(protocol=PROTOCOLS["fg_pg"](), order=order), [corpus])
    note = "dev has no entity of an old type, and cannot choose the weight of replayed features: it is 0.5"
    assert applicable(replayed, without) == (replace(replayed, feature_replay=0.5), (note,))
    assert applicable(replayed, has) == (replayed, ())


@pytest.mark.parametrize("kinds", ["LOC", "LOC LOC ORG"])
def test_the_last_epoch_is_kept_and_everybody_reads_why(kinds: str, tmp_path: Path, tiny_layers: list[str]) -> None:
    config = RunConfig.load(
        [
            *tiny_layers,
            f"store={tmp_path / 'store'}",
            f"scenario.corpus.path={write(tmp_path / 'data', kinds)}",
            "scenario.order=[LOC, PER]",
            "method.name=extend_ner",
            "optim.epochs=4",
            "optim.patience=1",
        ]
    )
    events: list[Event] = []
    ledger = run(config, events.append)
    first, second = ledger.records()
    assert (first.notes, second.notes) == ((), (NOTE,))
    assert (len(second.epochs), second.best_epoch) == (4, 3)
    assert [event for event in events if isinstance(event, Message) and "dev has" in event.text] == [Message(NOTE)]
    shown = StringIO()
    show(summary([ledger]), Console(file=shown, width=200))
    assert f"step 2 {NOTE}" in " ".join(shown.getvalue().split())
    page = html(contents(summary([ledger])))
    assert f"Seed 0, step 2: {NOTE}." in page
