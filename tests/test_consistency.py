"""Ledgers are data: a report of one that says anything at all is a report, or a warning in one line."""

import copy
import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raycner
from raycner.console import TextConsole

STORE = Path(__file__).parent / "fixtures" / "store_0_1.zip"
VALUES = (None, "x", -1, [], {}, 10**30, {"a": 1})
Place = tuple[Any, ...]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The file of the only ledger of a store."""
    with zipfile.ZipFile(STORE) as archive:
        archive.extractall(tmp_path)
    file, *others = sorted((tmp_path / "store").glob("runs/*/ledger.json"))
    for other in others:
        other.unlink()
    return file


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*place, key))


def changed(document: Any, place: Place, value: Any) -> Any:
    if not place:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return document


def shown(ledger: Path) -> str:
    report = raycner.report(store=str(ledger.parents[2]))
    text = io.StringIO()
    report.show(TextConsole(file=text, width=100))
    json.dumps(report.data.document())
    return text.getvalue()


def test_any_change_of_a_ledger_is_read_or_left_out(ledger: Path) -> None:
    document = json.loads(ledger.read_text(encoding="utf-8"))
    assert "Decoder argmax" in shown(ledger)
    drawn = random.Random(0).sample([(place, value) for place in places(document) for value in VALUES], 250)
    for place, value in drawn:
        ledger.write_text(json.dumps(changed(document, place, value)), encoding="utf-8")
        shown(ledger)  # raises nothing


@pytest.mark.parametrize(
    ("place", "value", "flaw"),
    [
        (("config", "scenario", "protocol"), None, "config.scenario.protocol.name: "),
        (("config", "seed"), [], "config.seed: "),
        (("records", 0, "test", "person", 0), -1, "step 1: test has a negative count"),
        (("records", 0, "test"), {}, "step 1: test lacks the counts of a type"),
        (("planned",), [], "step 1: its types are not among those"),
    ],
)
def test_the_warning_names_the_flaw(
    ledger: Path, place: Place, value: Any, flaw: str, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads(ledger.read_text(encoding="utf-8"))
    ledger.write_text(json.dumps(changed(document, place, value)), encoding="utf-8")
    shown(ledger)
    assert f"an inconsistent ledger: {flaw}" in caplog.text
