"""Credentials lie in the environment, and in no file of a run, its report, its predictions, its export or its card."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures_tiny import write_columns
from raycner.__main__ import main
from raycner.errors import InputError
from raycner.networks.encoders.pretrained import Pretrained
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore

ADDRESS = "s3://hUsH:hIsT@bucket/folder"
CREDENTIALS = {
    name: f"hIdDeN-{name.lower()}-{'0123456789abcdef' * 2}"
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "WANDB_API_KEY"),
        *("MLFLOW_TRACKING_PASSWORD", "AZURE_STORAGE_KEY", "RAYCNER_TOKEN"),
    )
}
LINES = [
    ("report", "--store", ADDRESS),
    ("report", f"--store={ADDRESS}"),
    ("report", "--html", ADDRESS),
    ("report", "--rows", ADDRESS),
    ("report", "--plots", ADDRESS),
    *(("store", task, "--store", ADDRESS) for task in ("ls", "verify", "gc")),
    ("predict", "run", ADDRESS),
    ("predict", "run", "-", "--output", ADDRESS),
    ("predict", "run", "-", "--encoder", ADDRESS),
    ("export", "run", ADDRESS),
    ("export", "run", "out", "--encoder", ADDRESS),
    ("evaluate", "run", ADDRESS),
    ("evaluate", ADDRESS, "--test"),
    ("adopt", ADDRESS, "--name", "x"),
    ("adopt", "x", "--name", "x", "--test", ADDRESS),
    ("extend", "run", "--types", "a", "--source", ADDRESS),
    ("inspect", ADDRESS),
    ("init", ADDRESS),
    ("search", "search_spaces/dld.py", "--database", "postgresql://me:hIsT@host/db"),
    ("search", "search_spaces/dld.py", "--base", ADDRESS),
    ("promote", "production", "run", "--store", ADDRESS),
    ("serve", "production", "--store", ADDRESS),
    ("plan", f"store={ADDRESS}"),
    ("plan", f"compute.tracker_path={ADDRESS}"),
    ("plan", f"scenario.reservoir.path={ADDRESS}"),
    ("plan", f"plugins=[{ADDRESS}]"),
    ("plan", ADDRESS),
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_secret_in_any_address_is_refused_at_the_door(
    line: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "a secret in a URI" in printed.err and "hUsH" not in printed.err and "hIsT" not in printed.err
    assert not list(tmp_path.iterdir())


def test_a_secret_in_the_address_of_a_checkpoint_is_refused() -> None:
    with pytest.raises(InputError, match="a secret in a URI"):
        Pretrained(path="https://me:hIsT@host/model").build(fresh=True)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def holders(*folders: Path) -> Iterator[str]:
    """The files below these folders that hold a credential, and its name."""
    for folder in folders:
        for place, _, names in os.walk(folder):
            for file in (Path(place, name) for name in names):
                content = file.read_bytes() if file.is_file() else b""
                yield from (f"{file} holds {key}" for key, value in CREDENTIALS.items() if value.encode() in content)


@pytest.mark.usefixtures("credentials")
def test_no_file_of_a_run_holds_a_credential(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").mkdir()
    write_columns(tmp_path / "source", 40)
    store = f"{tmp_path}/store"
    job = (
        *("scenario.corpus.name=columns", f"scenario.corpus.path={tmp_path}/source", f"store={store}"),
        *("scenario.protocol.first=4", "model.encoder.name=bilstm", "model.encoder.width=4", "optim.first.epochs=1"),
        *("compute.tracker=jsonl", f"compute.tracker_path={tmp_path}/tracking"),
    )
    assert main(["run", *job, "--log", "json"]) == 0
    (ledger,) = RunLedger.all(ObjectStore(store))
    (tmp_path / "text.txt").write_text("Ada met an otter in Oslo .\n")

    def of_store(*words: str) -> int:
        return main([*words, "--store", store])

    assert of_store("predict", ledger.run, f"{tmp_path}/text.txt", "--output", f"{tmp_path}/entities.jsonl") == 0
    assert of_store("export", ledger.run, f"{tmp_path}/exported") == 0
    assert of_store("report", "--html", f"{tmp_path}/page.html") == 0
    assert of_store("evaluate", ledger.run, "--test", "--html", f"{tmp_path}/evaluation.html") == 0
    assert of_store("promote", ledger.run, "production", "--why", "a reason") == 0
    assert (tmp_path / "exported" / "README.md").exists() and (tmp_path / "page.html").exists()
    assert not list(holders(tmp_path))
    printed = capfd.readouterr()
    assert not [name for name, value in CREDENTIALS.items() if value in printed.out + printed.err]
