"""Names with brackets, escapes and HTML are text on the terminal, in markdown and in the model card."""

from io import StringIO
from pathlib import Path

import pytest
from rich.table import Table

from raycner.__main__ import main
from raycner.console import TextConsole, printable
from raycner.inference.export import export
from raycner.storage.store import ObjectStore

TYPES = ("[/b]", "[red]", "<script>x</script>")


@pytest.mark.parametrize("text", ["[/b]", "[/]", "[red]x", "[link=http://x]y[/link]"])
def test_a_console_prints_brackets_as_they_are(text: str) -> None:
    output = StringIO()
    console = TextConsole(file=output, width=200)
    table = Table()
    table.add_column(text)
    table.add_row(text)
    console.print(text)
    console.print(table)
    assert output.getvalue().count(text) == 3


@pytest.mark.parametrize("text", ["a\x1b]0;pwn\x07b", "a\x9b31mb", "a\x1b[2Jb", "a\x00b", "a\u202eb"])
def test_no_control_character_reaches_a_terminal(text: str) -> None:
    output = StringIO()
    console = TextConsole(file=output, width=200, force_terminal=True, color_system=None)
    with console.status(text):
        console.print(text)
    written = output.getvalue()
    assert (text not in written and "\N{REPLACEMENT CHARACTER}" in written) or text == "a\x00b"
    assert not any(character in written for character in "\x07\x9b\x00\u202e")
    assert "\x1b]0" not in written and "\x1b[31m" not in written


def test_ordinary_text_is_left_alone() -> None:
    assert printable("Zürich\t漢字\n😀") == "Zürich\t漢字\n😀"


@pytest.fixture
def hostile(tmp_path: Path, tiny_layers: list[str]) -> list[str]:
    """The settings of a run whose folder and types are markup."""
    folder = tmp_path / "br[/x]"
    folder.mkdir(parents=True)
    for part in ("train", "dev", "test"):
        words = "".join(f"w{i} B-{kind}\nsaw O\n\n" for i, kind in enumerate(TYPES))
        (folder / f"{part}.txt").write_text(words * 10, encoding="utf-8")
    own = (f"store={tmp_path / 'store'}", f"scenario.corpus.path={folder}", "optim.epochs=1", "optim.first.epochs=1")
    return [*tiny_layers, *own]


def test_every_verb_prints_markup_as_text(
    hostile: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    store = str(tmp_path / "store")
    for verb in ("prepare", "plan", "run"):
        assert main([verb, *hostile]) == 0
        assert all(kind in capsys.readouterr().out for kind in TYPES[:1])
    for arguments in (["store", "ls"], ["report"], ["report", "--markdown"]):
        assert main([*arguments, "--store", store]) == 0
        assert "\x1b" not in capsys.readouterr().out
    (run,) = (Path(store) / "runs").iterdir()
    export(run.name, tmp_path / "exported", ObjectStore(store))
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    outside = card.partition("## Recipe")[0]
    assert "\\<script>" in outside and outside.count("<script>") == outside.count("\\<script>")
