"""Tables of strangers: damaged Arrow and parquet, metadata and values of the wrong kind get one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from raycner.data.layouts import LAYOUTS
from raycner.errors import InputError

FUZZ = """
import random, sys
from pathlib import Path
from raycner.data.layouts import LAYOUTS
from raycner.errors import InputError
kind, file, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
layout = LAYOUTS[kind](path=str(file.parent))
whole, outcomes = file.read_bytes(), {"read": 0, "refused": 0}
for seed in range(number):
    draw, damaged = random.Random(seed), bytearray(whole)
    for _ in range(draw.choice((1, 2, 8, 32))):
        damaged[draw.randrange(len(damaged))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    if not seed % 9:
        del damaged[draw.randrange(len(damaged)):]
    file.write_bytes(bytes(damaged))
    try:
        notes = []
        list(layout.rows(layout.files(notes), notes))
        outcomes["read"] += 1
    except InputError as error:
        assert "\\n" not in str(error)
        outcomes["refused"] += 1
print(outcomes["read"], outcomes["refused"])
"""


def words_and_tags() -> pa.Table:
    words = [["Ada", "saw", "Oslo"], ["Bo", "slept", "\u00e9t\u00e9"]] * 20
    features = {"ner_tags": {"feature": {"names": ["O", "B-x"], "_type": "ClassLabel"}, "_type": "List"}}
    table = pa.table({"tokens": words, "ner_tags": [[1, 0, 1]] * len(words)})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_stream(table: pa.Table, file: Path) -> Path:
    with ipc.new_stream(str(file), table.schema) as stream:
        stream.write_table(table)
    return file


@pytest.mark.parametrize("kind", ["datasets", "parquet"])
def test_damaged_tables_neither_crash_nor_leave_a_traceback(kind: str, tmp_path: Path) -> None:
    table = words_and_tags()
    if kind == "parquet":
        file = tmp_path / "train.parquet"
        pq.write_table(table, file)
    else:
        file = write_stream(table, tmp_path / "data-00000-of-00001.arrow")
    command = [sys.executable, "-c", FUZZ, kind, str(file), "300"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    read, refused = map(int, process.stdout.split())
    assert read + refused == 300 and read and refused


def without_json(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata({"huggingface": "{"})


def with_features(value: object) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.replace_schema_metadata({"huggingface": json.dumps(value)})


@pytest.mark.parametrize(
    "change",
    [
        without_json,
        with_features([]),
        with_features({}),
        with_features({"info": {"features": []}}),
        with_features({"info": {"features": {"ner_tags": {"feature": {"names": 3}}}}}),
        with_features({"info": {"features": {"ner_tags": {"feature": "names"}}}}),
    ],
)
def test_features_of_the_wrong_kind_are_refused(change: Callable[[pa.Table], pa.Table], tmp_path: Path) -> None:
    pq.write_table(change(words_and_tags()), tmp_path / "train.parquet")
    assert "its Hugging Face features do not name the tags" in refused(tmp_path)


def refused(path: Path) -> str:
    notes: list[str] = []
    layout = LAYOUTS["parquet"](path=str(path))
    with pytest.raises(InputError) as error:
        list(layout.rows(layout.files(notes), notes))
    line = str(error.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"tokens": [["a"]], "ner_tags": [[True]]}, "tags are [true]"),
        ({"tokens": [["a"]], "entities": [3]}, "entities are 3"),
        ({"tokens": [["a"]], "entities": [{"start": 0}]}, "entities are {"),
        ({"tokens": [["a"]], "entities": ["x"]}, "entities are"),
        ({"tokens": [[b"a"]], "ner_tags": [["O"]]}, "tokens are"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(columns: dict[str, object], expected: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    assert expected in refused(tmp_path)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    words = pa.array([["a"]])
    table = pa.Table.from_arrays([words, words, pa.array([["O"]])], names=["tokens", "tokens", "ner_tags"])
    pq.write_table(table, tmp_path / "train.parquet")
    refused(tmp_path)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe")]
    )
    words = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), broken)
    pq.write_table(pa.table({"tokens": words, "ner_tags": [["O"]]}), tmp_path / "train.parquet")
    assert "cannot be read" in refused(tmp_path)
