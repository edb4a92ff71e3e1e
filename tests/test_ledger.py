"""A ledger says what was put into it: exactly, once, and in one spelling."""

import json
import logging
import math
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycner.errors import InputError
from raycner.storage.ledger import CorpusNote, EpochRecord, PlannedStep, RunLedger, StepRecord
from raycner.storage.store import ObjectStore

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.lists(text, max_size=3).map(tuple)
numbers = st.floats(allow_nan=False)
counts = st.dictionaries(text, st.tuples(*[st.integers(0, 10**9)] * 3), max_size=3)
epochs = st.builds(
    EpochRecord,
    epoch=st.integers(0, 99),
    losses=st.dictionaries(text, numbers, max_size=3),
    dev_score=numbers,
    seconds=numbers,
)
steps = st.builds(
    StepRecord,
    index=st.integers(0, 9),
    fingerprint=text,
    new=names,
    seen=names,
    sentences=st.integers(0, 10**9),
    dev=counts,
    test=counts,
    epochs=st.lists(epochs, max_size=2).map(tuple),
    best_epoch=st.integers(0, 99),
    seconds=numbers,
    workers=st.integers(0, 99),
)
planned = st.lists(st.builds(PlannedStep, index=st.integers(0, 9), fingerprint=text, new=names), max_size=3)
corpora = st.lists(st.builds(CorpusNote, fingerprint=text, types=names, notes=names, source=text), max_size=2)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=5,
)
settings_of_a_run = st.dictionaries(text, plain, max_size=3)

RECORD = StepRecord(
    index=0,
    fingerprint="00ff",
    new=("LOC",),
    seen=("LOC",),
    sentences=7,
    dev={"LOC": (3, 1, 2)},
    test={"LOC": (0, 0, 0)},
    epochs=(EpochRecord(epoch=0, losses={"ce": 0.5}, dev_score=0.66, seconds=1.5),),
    best_epoch=0,
    seconds=2.0,
    workers=2,
)
PLAN = [PlannedStep(index=0, fingerprint="00ff", new=("LOC",)), PlannedStep(index=1, fingerprint="11ff", new=("PER",))]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "store"))


def begin(store: ObjectStore, run: str = "a-run") -> RunLedger:
    return RunLedger.create(store, run, label="a label", config={"method": {"name": "dld"}}, corpora=[], planned=PLAN)


@given(st.lists(steps, max_size=4), planned, corpora, settings_of_a_run, text)
@settings(max_examples=60, deadline=None)
def test_a_ledger_is_read_as_it_was_written(records, plan, learned_from, config, label) -> None:
    with TemporaryDirectory() as folder:
        store = ObjectStore(folder)
        ledger = RunLedger.create(store, "r", label=label, config=config, corpora=learned_from, planned=plan)
        for record in records:
            ledger.append(record)
        again = RunLedger.open(store, "r")
        last = {record.index: record for record in records}
        assert again.records() == ledger.records() == tuple(last[index] for index in sorted(last))
        assert (again.run, again.label, again.config) == ("r", label, config)
        assert (again.corpora, again.planned) == (tuple(learned_from), tuple(plan))

        before = store.read(RunLedger.key("r"))
        for record in again.records():
            again.append(record)
        assert store.read(RunLedger.key("r")) == before


def test_the_file_is_the_documented_json(store: ObjectStore) -> None:
    begin(store).append(RECORD)
    document = json.loads(store.read("runs/a-run/ledger.json"))
    assert document["schema"] == 1
    assert document["run"] == "a-run"
    assert document["config"] == {"method": {"name": "dld"}}
    assert document["planned"][1] == {"index": 1, "fingerprint": "11ff", "new": ["PER"]}
    assert document["records"] == [json.loads(json.dumps(asdict(RECORD)))]


def test_equal_records_are_spelt_alike(store: ObjectStore) -> None:
    one = replace(RECORD, dev={"LOC": (1, 2, 3), "PER": (4, 5, 6)})
    other = replace(RECORD, dev={"PER": (4, 5, 6), "LOC": (1, 2, 3)})
    ledger = begin(store)
    ledger.append(one)
    before = store.read(RunLedger.key("a-run"))
    ledger.append(other)
    assert store.read(RunLedger.key("a-run")) == before


def test_a_loss_that_is_no_number_stays_legible(store: ObjectStore) -> None:
    epoch = EpochRecord(epoch=0, losses={"ce": math.nan, "kd": math.inf}, dev_score=0.0, seconds=1.0)
    begin(store).append(replace(RECORD, epochs=(epoch,)))
    losses = RunLedger.open(store, "a-run").records()[0].epochs[0].losses
    assert math.isnan(losses["ce"])
    assert losses["kd"] == math.inf
    json.loads(store.read("runs/a-run/ledger.json"), parse_constant=pytest.fail)


def test_a_run_is_finished_when_every_planned_step_is_on_record(store: ObjectStore) -> None:
    ledger = begin(store)
    assert not ledger.finished
    ledger.append(RECORD)
    assert not ledger.finished
    ledger.append(replace(RECORD, index=1, fingerprint="of another plan"))
    assert not ledger.finished
    ledger.append(replace(RECORD, index=1, fingerprint="11ff"))
    assert ledger.finished
    assert RunLedger.open(store, "a-run").finished


def test_create_starts_an_empty_ledger(store: ObjectStore) -> None:
    begin(store).append(RECORD)
    assert begin(store).records() == RunLedger.open(store, "a-run").records() == ()


def test_keys_of_newer_versions_are_ignored(store: ObjectStore) -> None:
    begin(store).append(RECORD)
    key = RunLedger.key("a-run")
    document = json.loads(store.read(key))
    document["future"] = document["planned"][0]["future"] = document["records"][0]["future"] = {"a": 1}
    store.write(key, json.dumps(document).encode())
    assert RunLedger.open(store, "a-run").records() == (RECORD,)


def test_a_run_without_a_ledger(store: ObjectStore) -> None:
    assert RunLedger.all(store) == []
    with pytest.raises(FileNotFoundError, match="a-run"):
        RunLedger.open(store, "a-run")


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"[]", b"{}", b'{"schema": 2}', b'{"schema": 1, "run": "a'])
def test_a_broken_ledger_is_rejected_by_name_and_skipped_with_a_note(
    store: ObjectStore, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for run in ("b-run", "a-run", "broken"):
        begin(store, run)
    store.write("runs/broken/ledger.json", garbage)
    store.write("runs/a-run/checkpoints/ledger.json", b"somebody else's")
    with pytest.raises(InputError) as error:
        RunLedger.open(store, "broken")
    assert f"{store.uri}/runs/broken/ledger.json: not a ledger" in str(error.value)
    assert "\n" not in str(error.value)
    with caplog.at_level(logging.WARNING):
        assert [ledger.run for ledger in RunLedger.all(store)] == ["a-run", "b-run"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "runs/broken/ledger.json" in caplog.text


@pytest.mark.parametrize(("field", "value"), [("dev", {"LOC": [1, 2]}), ("index", "one"), ("new", 3)])
def test_a_record_of_another_shape_is_rejected(store: ObjectStore, field: str, value: object) -> None:
    begin(store).append(RECORD)
    key = RunLedger.key("a-run")
    document = json.loads(store.read(key))
    document["records"][0][field] = value
    store.write(key, json.dumps(document).encode())
    with pytest.raises(InputError, match=rf"records\.0\.{field}"):
        RunLedger.open(store, "a-run")
