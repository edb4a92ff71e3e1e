"""The tutorials: every command of docs/tutorial_*.md is run, in order, on a tiny tagger."""

import random
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import raycner
from fixtures_tiny import spoken
from raycner.__main__ import main
from raycner.data.entities import Entity
from test_whole_way import OLD, tagger, write

DOCS = Path(__file__).parents[1] / "docs"
RATES = ("optim.epochs=6", "optim.batch_size=8", "optim.lr=3e-3", "optim.head_lr=3e-3")
"""Of every `extend` that trains."""
NOTES = ("{name} of {city} has insurance {insurance} .", "{name} was seen in {city} .", "It rained all day .")
FORMS = {"name": ["Ada Stone", "Bo Finch", "Eve"], "city": ["Oslo", "New Rome"]}
Notes = list[tuple[list[str], list[Entity]]]


def notes(number: int, seed: int) -> Notes:
    """Clinical notes of a small world, with insurance numbers."""
    draw, sentences = random.Random(seed), []
    for _ in range(number):
        words: list[str] = []
        entities = []
        for token in draw.choice(NOTES).split():
            kind = token.strip("{}")
            forms = FORMS.get(kind, [str(draw.randrange(1000000, 9999999))])
            spelt = draw.choice(forms).split() if token != kind else [token]
            if token != kind:
                entities.append(Entity(len(words), len(words) + len(spelt), kind))
            words += spelt
        sentences.append((words, entities))
    return sentences


@pytest.fixture(scope="module")
def classifiers(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the taggers of the tutorials, trained with transformers alone."""
    folder = tmp_path_factory.mktemp("taggers")
    tagger(folder / "my_classifier", tiny_bert, 12)
    tagger(folder / "deid", tiny_bert, 12, notes(200, 1), ("city", "name"))
    return folder


@pytest.fixture
def place(classifiers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a tutorial is followed."""
    for model in ("my_classifier", "deid"):
        (tmp_path / model).symlink_to(classifiers / model)
    for seed, (part, number) in enumerate({"train": 100, "dev": 20, "test": 20}.items()):
        write(tmp_path / "reviews" / f"{part}.conll", spoken(number, 20 + seed), ("food",))
        write(tmp_path / "new_notes" / f"{part}.conll", notes(number, 30 + seed), ("insurance",))
    write(tmp_path / "test.conll", spoken(150, 30), (*OLD, "food"))
    write(tmp_path / "audit.conll", notes(150, 40), ("city", "insurance", "name"))
    (tmp_path / "review.txt").write_text("Ada gave the otter some soup in Oslo .\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def follow(capsys: pytest.CaptureFixture[str]) -> Callable[[str], Iterator[tuple[str, int, str]]]:
    """Runs the blocks of a page in order: what each command is, its exit status, and what it prints."""

    def run(page: str) -> Iterator[tuple[str, int, str]]:
        names: dict[str, str] = {}
        scope: dict[str, object] = {}
        for language, block in blocks(page):
            if language == "python":
                exec(block, scope)
                yield block, 0, capsys.readouterr().out
            for line in commands(block) if language == "sh" else ():
                assigned = re.fullmatch(r"(\w+)=\$\((.+?) \| sed -n 1p\)", line)
                command = re.sub(r" 2> \S+", "", assigned[2] if assigned else line)
                words = [re.sub(r"\$(\w+)", lambda name: names[name[1]], word) for word in shlex.split(command)]
                assert words.pop(0) == "raycner", line
                status = main([*words, *adapted(words)])
                printed = capsys.readouterr()
                if assigned:
                    names[assigned[1]] = printed.out.splitlines()[0]
                yield command, status, printed.out + printed.err

    return run


def adapted(words: list[str]) -> list[str]:
    """What is added to a command, as a random encoder of width 32 learns at other rates, and forgets more."""
    trains, compares = words[0] == "extend" and "--source" in words, "--may-lose" in words
    allowed = ["--may-lose", "30", "--per-type", "name=30"] if "--per-type" in words else ["--may-lose", "30"]
    return [*(RATES if trains else ()), *(allowed if compares else ())]


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the text of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)


def commands(block: str) -> list[str]:
    """The commands of a block of shell."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "set "))]


Follow = Callable[[str], Iterator[tuple[str, int, str]]]


def test_a_hugging_face_tagger_gets_a_type(place: Path, follow: Follow) -> None:
    steps = list(follow("tutorial_new_type.md"))
    assert len(steps) == 9 and [status for _, status, _ in steps] == [0] * 9, steps
    assert "predicts what transformers.pipeline predicts" in steps[0][2]
    assert (place / "gate.xml").is_file() and '"entities"' in steps[5][2]
    assert raycner.aliases()["production"].address == "base:1"
    renamed = raycner.load_run("base-food*-rename-*")
    assert renamed.types == ("other", "person", "product")


def test_a_deidentification_tagger_learns_one_more_identifier(place: Path, follow: Follow) -> None:
    steps = list(follow("tutorial_deidentification.md"))
    assert [status for _, status, _ in steps] == [0] * len(steps), steps
    redacted = next(printed for block, _, printed in steps if block.startswith("from raycner"))
    assert redacted.startswith("[name] of [city] has insurance "), "what was redacted before still is"
    assert [run.name for run in raycner.load_runs()] == ["deid-base"]
    assert place.joinpath("store").is_dir()


def test_a_job_trains_gates_and_promotes(place: Path, follow: Follow) -> None:
    steps = list(follow("tutorial_ci.md"))
    assert [status for _, status, _ in steps] == [0] * len(steps), steps
    verbs = [command.split()[1] for command, *_ in steps]
    assert verbs == ["adopt", "promote", "extend", "gate", "promote", "history", "rollback"]
    (workflow,) = [yaml.safe_load(block) for language, block in blocks("tutorial_ci.md") if language == "yaml"]
    assert any(step.get("run") == "bash nightly.sh" for step in workflow["jobs"]["train"]["steps"])
    before = len(raycner.history("production").records)
    write(place / "test.conll", spoken(150, 30), ("animal",))  # a night on which the test file lost annotations
    assert main(["gate", "base-food", "--against", "base", "--test", "test.conll", "--may-lose", "5"]) == 3
    assert main(["promote", "base-food", "production", "--test", "test.conll"]) == 3
    assert len(raycner.history("production").records) == before
