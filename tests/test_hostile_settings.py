"""Hostile configuration: secrets in addresses, and YAML that refers to itself, grows, or is no file at all."""

from pathlib import Path

import pytest

from raycner.__main__ import main
from raycner.addresses import refuse_secret, shown
from raycner.config import RunConfig
from raycner.data.sources import every, find, single
from raycner.errors import InputError
from raycner.orchestration.table_rows import read_rows
from raycner.settings import parse
from raycner.yaml_text import MOST_NODES, YamlError, load

SECRET = "s3://hUsH:hIsT@bucket/folder?region=x"
ADDRESSES = [
    "store",
    "scenario.corpus.path",
    "compute.tracker_path",
    "model.encoder.path",
    "eval.test.news.path",
    "at.1.method.path",
]


def line_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a refused command."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("raycner: ") and printed.err.count("\n") == 1
    assert "hUsH" not in printed.err and "hIsT" not in printed.err
    return printed.err


@pytest.mark.parametrize("setting", ADDRESSES)
def test_a_secret_in_an_address_is_refused(
    setting: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = line_of(capsys, "plan", "scenario.corpus.name=columns", f"{setting}={SECRET}")
    assert line.startswith(f"raycner: {setting}: a secret in a URI would end up in logs and ledgers")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "location"),
    [
        (f"plugins=['{SECRET}']", "plugins.0"),
        (
            f"scenario.protocol={{name: steps, steps: [{{types: [a], corpus: {{path: '{SECRET}'}}}}]}}",
            "scenario.protocol.steps.0.corpus.path",
        ),
    ],
)
def test_a_secret_in_a_list_is_refused(setting: str, location: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{location}: a secret in a URI" in line_of(capsys, "plan", "scenario.corpus.name=columns", setting)


def test_a_secret_in_a_setting_of_an_older_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"scenario\.corpus\.path: a secret in a URI"):
        RunConfig.load(["scenario.corpus=columns", f"scenario.source={SECRET}"])


@pytest.mark.parametrize("read", [find, every, single])
def test_a_secret_in_the_address_of_a_file_is_refused(read: object) -> None:
    with pytest.raises(InputError, match="a secret in a URI") as error:
        read(SECRET, []) if read is find else read(SECRET)  # type: ignore[operator]
    assert "hUsH" not in str(error.value) and "hIsT" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://host/x?token=abc",
        "abfs://container/x?sas_token=abc",
        "s3://bucket/x?region=a&secret_key=abc",
        "https://host/x?sv=1&sig=abc",
        "postgresql+psycopg://me:abc@host/db",
    ],
)
def test_what_counts_as_a_secret(address: str) -> None:
    with pytest.raises(InputError):
        refuse_secret(address)


@pytest.mark.parametrize(
    "address",
    [
        "store",
        "a:b@c",
        "s3://bucket/x?region=eu",
        "http://127.0.0.1:5000",
        "sqlite:////folder/x.db",
        "s3://me@bucket/x",
    ],
)
def test_what_does_not(address: str) -> None:
    refuse_secret(address)


def test_a_shown_address_has_neither_user_nor_options() -> None:
    assert shown(SECRET) == "s3://bucket/folder"
    assert shown("a/b?c@d") == "a/b?c@d"


MAPS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}\n" for i in range(1, 9)
)
LISTS = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
HOSTILE = {
    "maps": (MAPS, f"more than {MOST_NODES:,} values"),
    "lists": (LISTS, f"more than {MOST_NODES:,} values"),
    "itself": ("a: &a {b: *a}", "a reference to itself"),
    "nested": ("a: " + "[" * 3000 + "]" * 3000, "nested deeper"),
    "less nested": ("a: " + "[" * 60 + "]" * 60, "nested deeper"),
    "twice": ("optim: {lr: 1}\noptim: {epochs: 2}", "the key 'optim' comes twice, on line 2"),
    "twice below": ("optim:\n  lr: 1\n  lr: 2", "the key 'lr' comes twice, on line 3"),
    "number": ("seed: " + "9" * 5000, "a number of 5,000 characters"),
    "date": ("seed: 2020-13-45", "month must be in 1..12"),
    "tag": ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    "NUL": ("a: 'b\0c'", "special characters are not allowed"),
    "large": ("a: " + "x" * (1 << 20), "more than 1,048,576"),
    "two": ("a: 1\n---\nb: 2", "expected a single document"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, reason = HOSTILE[name]
    with pytest.raises(YamlError, match=reason) as error:
        load(text)
    assert "\n" not in str(error.value)
    file = tmp_path / "job.yaml"
    file.write_text(text, encoding="utf-8")
    assert f"{file}: not YAML: " in line_of(capsys, "plan", str(file))
    with pytest.raises(InputError, match="not YAML"):
        read_rows(str(file))


def test_a_device_is_no_file_of_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert "/dev/zero: not YAML" in line_of(capsys, "plan", "/dev/zero")


@pytest.mark.parametrize(
    "override",
    ["seed=2020-13-45", "seed=" + "9" * 5000, "seed=" + "9" * 50, "seed=" + "[" * 3000, "at=&a {b: *a}"],
)
def test_a_hostile_override_is_refused_in_one_line(override: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(line_of(capsys, "plan", override)) < 1000


def test_a_nul_in_a_path_is_refused() -> None:
    with pytest.raises(InputError, match=r"scenario\.corpus\.path: a NUL character"):
        RunConfig.load(["scenario.corpus.name=columns", 'scenario.corpus.path="a\\0b"'])


def test_ordinary_aliases_and_merges_are_read() -> None:
    assert load("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": [{"x": 1}, {"x": 1}],
    }
    assert load("") is None
    assert parse("a: b: c") == "a: b: c"
