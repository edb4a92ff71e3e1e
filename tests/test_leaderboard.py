"""Leaderboards: the runs of several tables, which of them a store has, and the page."""

import re
from pathlib import Path

import pytest

import raycner
from raycner.cli.program import main
from raycner.errors import InputError
from raycner.orchestration.leaderboard import read_leaderboard
from test_cli import error_line

ROOT = Path(__file__).parents[1]
JOB = """
scenario: {corpus: {name: demo, sentences: 40}, order: [person, animal]}
model: {encoder: {name: bilstm, width: 8}}
optim: {epochs: 1, first: {epochs: 1}}
"""
ROWS = """
finetuning: [method.name=finetuning]
extend_ner: {overrides: [method.name=extend_ner], against: finetuning}
upper bound: [method.name=finetuning, scenario.joint=true]
"""
BOARD = """
Demo: {job: [job.yaml], rows: rows.yaml, seeds: [0]}
Demo, two orders: {job: [job.yaml], rows: rows.yaml, seeds: [0], orders: [P1, P2]}
Elsewhere: {job: [job.yaml, "scenario.corpus={name: columns, path: nowhere}"], rows: rows.yaml, seeds: [0, 1]}
"""


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for name, text in {"job": JOB, "rows": ROWS, "board": BOARD}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return "board.yaml"


def test_what_is_missing_is_run_and_the_page_says_the_rest(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", board]) == 0
    assert "board.yaml: 0 of 15 runs finished" in capsys.readouterr().out
    first = raycner.leaderboard(board)
    assert first.markdown().count("No run of this table is finished.") == 3
    assert main(["leaderboard", board, "--run"]) == 1
    printed = capsys.readouterr().out
    assert "board.yaml: 9 of 15 runs finished" in printed
    assert "not run: Elsewhere: nowhere: no such file or folder" in " ".join(printed.split())
    assert main(["leaderboard", board, "--markdown"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# Leaderboard\n\nPrinted by `raycner leaderboard board.yaml --markdown`")
    assert "raycner compare job.yaml --rows rows.yaml --seeds 0 --orders P1,P2\n" in page
    assert "3 of 3 runs: 3 systems, 1 seed.\n" in page and "6 of 6 runs: 3 systems, 1 seed, 2 orders.\n" in page
    assert "over 2 orders" in page and "gap to joint" in page
    assert "Not run: finetuning; extend_ner; upper bound." in page
    moved = raycner.leaderboard(board, ["compute.max_failures=1", "store=store"]).status()
    assert moved.title == "board.yaml: 9 of 15 runs finished", "compute does not make another run"
    other = raycner.leaderboard(board, ["optim.lr=0.5"]).status()
    assert other.title == "board.yaml: 0 of 15 runs finished"
    Path("larger.yaml").write_text("model: {encoder: {width: 16}}\n", encoding="utf-8")
    overrides = ["larger.yaml", "optim.lr=0.5", "store=store", "compute.workers=0"]
    assert main(["leaderboard", board, *overrides, "--markdown"]) == 0
    page = capsys.readouterr().out
    assert "0 of 3 runs" in page
    assert "Printed by `raycner leaderboard board.yaml larger.yaml optim.lr=0.5 --markdown`" in page
    assert "raycner compare job.yaml larger.yaml optim.lr=0.5 --rows rows.yaml --seeds 0\n" in page


def test_the_shipped_leaderboards_can_be_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sizes = {}
    for name in ("full", "small"):
        tables = read_leaderboard(f"jobs/leaderboard/{name}.yaml")
        sizes[name] = {table: len(one.entries(["store=none"])) for table, one in tables.items()}
    assert all(number % 9 == 0 for name, number in sizes["full"].items() if name.startswith("GUM"))
    assert sum(sizes["small"].values()) < 30 < 500 < sum(sizes["full"].values())


@pytest.mark.usefixtures("board")
def test_what_is_no_leaderboard_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("none.yaml").write_text("{}\n")
    assert "none.yaml: no tables; write NAME:" in error_line(capsys, "leaderboard", "none.yaml")
    Path("typo.yaml").write_text("A: {job: [job.yaml], row: rows.yaml}\n")
    assert re.search(r"typo\.yaml: A.*rows", error_line(capsys, "leaderboard", "typo.yaml"))
    Path("bad.yaml").write_text("A: {job: [job.yaml, model.head.name=spans], rows: rows.yaml}\n")
    with pytest.raises(InputError, match="row 'extend_ner'"):
        raycner.leaderboard("bad.yaml")
