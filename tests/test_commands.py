"""Every command of README and of the site: its verb, options, settings and files exist, and what can run here runs.

Commands run in a folder in which the files that the pages name exist, small: a corpus, a tagger, texts. Networks are
tiny. What needs a cluster, a bucket, a hub or a paper's corpus is parsed alone.
"""

import json
import os
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from fixtures_tiny import spoken
from raycner.cli.program import main, parse
from raycner.config import RunConfig
from raycner.data.entities import Entity, encode
from raycner.orchestration.table_rows import read_rows
from test_evaluate import classifier

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
RUN = "demo-fg_pg-dld"
"""What RUN stands for: a run that every folder has."""
TINY = (
    *("model.encoder={name: bilstm, word_width: 8, char_width: 4, width: 8}", "compute.workers=0"),
    *("optim.epochs=1", "optim.first.epochs=1", "optim.batch_size=32"),
)
"""Added to every run."""
ELSEWHERE = re.compile(
    r"s3://|owner/name|corrected\.json|en_core_web|wandb|path/to/|jobs/(?!demo|own_)|RAY|--ray|candidate|compute\.workers=2|tracker=mlflow"
    r"|--drop|--rename|--merge|--split"
)
"""What a command needs that is not here: a bucket, a hub, a corpus of a paper, Ray, a second alias, other types."""
RUN_HERE = (
    *(
        "README",
        "first_steps",
        "coming_from",
        "settings",
        "corpus",
        "your_model",
        "results",
        "evaluate",
        "using",
        "search",
    ),
    *("store", "troubleshooting"),
)
"""Pages whose commands run in the folder below; those of other pages are parsed alone, or have tests of their own."""
LONG = {"serve", "search", "annotate", "watch"}
"""Verbs that do not end, start Ray, or continue the work of another page; `search --dry-run` does neither."""
KNOWN = {"cd", "curl", "export", "git", "hf", "kubectl", "optuna-dashboard", "set", "source", "tensorboard"}
"""Programs of others whose options are theirs to check."""
RAY_VERBS = {"up", "down", "start", "dashboard", "job", "get-auth-token", "status"}


class Command(NamedTuple):
    """A line of a page."""

    page: str
    line: str

    @property
    def words(self) -> list[str]:
        """Without its comment, redirections, what is piped into it and what follows `&&`."""
        line = re.sub(r"^.* \| (?=raycner )", "", self.line).replace("[:STEP]", "").partition(" && ")[0]
        words = shlex.split(re.sub(r" > \S+| &$", "", line), comments=True)
        return [re.sub(r"\bRUN\b", RUN, word) for word in words]

    @property
    def runs_here(self) -> bool:
        verb = self.words[1]
        return (
            self.page in RUN_HERE
            and not ELSEWHERE.search(self.line)
            and (verb not in LONG or "--dry-run" in self.words)
        )


def commands(page: Path) -> list[Command]:
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [Command(page.stem, line) for line in lines if line and not line.startswith("#")]


ALL = [command for page in PAGES for command in commands(page)]
OURS = [command for command in ALL if command.words[0] == "raycner"]
SUBMITTED = [command for command in ALL if command.words[0] == "jobs/submit.sh"]


def test_pages_have_commands_and_most_of_them_run() -> None:
    assert len(OURS) > 60
    assert sum(command.runs_here for command in OURS) > 40


@pytest.mark.parametrize("command", [*OURS, *SUBMITTED], ids=lambda command: f"{command.page}: {command.line[:60]}")
def test_verbs_options_settings_and_files_exist(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    args = parse(command.words[1:])
    configs = [word for word in getattr(args, "configs", []) if "=" in word or (ROOT / word).is_file()]
    for word in command.words:
        if word.startswith(("jobs/", "search_spaces/", "clusters/")):
            assert (ROOT / word).is_file(), word
    if configs:
        assert RunConfig.load(configs)
    if rows := getattr(args, "rows", None):
        assert read_rows(rows)


def test_commands_of_other_programs_name_what_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in ALL:
        match command.words:
            case ["raycner" | "jobs/submit.sh", *_]:
                continue
            case ["make", target, *_]:
                assert target in targets, command
            case ["pip", "install", package]:
                assert set(re.findall(r"[a-z0-9]+", package.partition("[")[2])) <= extras.keys(), command
            case ["python", script, *_]:
                assert (ROOT / script).is_file(), command
            case ["ray", verb, *files]:
                assert verb in RAY_VERBS, command
                assert all((ROOT / file).is_file() for file in files if file.startswith("clusters/")), command
            case [program, *_]:
                assert program in KNOWN or "=" in program, command


@pytest.fixture(scope="module")
def place(tiny_bert: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name, and a store with one run."""
    folder = tmp_path_factory.mktemp("place")
    tagger = ["O", "B-person", "I-person", "B-location", "I-location"]
    classifier(folder / "my_classifier", tiny_bert, tagger)
    for test in ("test.conll", "news.conll", "gold.conll", "my_test.conll", "data/wnut17/test.conll"):
        write_columns(folder / test, 40, {"person": "person", "city": "location"})
    for source in ("reviews", "my/reviews", "data/reviews"):
        write_columns(folder / source / "train.conll", 30, {"food": "product"})
        write_columns(folder / source / "test.conll", 10, {"food": "product"})
    for source in ("data/own", "data/news"):
        write_columns(
            folder / source / "train.conll", 60, {name: name for name in ("person", "city", "food", "animal")}
        )
        write_columns(folder / source / "test.conll", 20, {name: name for name in ("person", "city", "food", "animal")})
    sentence = json.dumps({"tokens": ["Ada", "slept"], "tags": ["B-person", "O"]})
    (folder / "more.jsonl").write_text(sentence + "\n", encoding="utf-8")
    write_exports(folder)
    for text in ("notes.txt", "notes/a.txt", "more/b.txt", "review.txt"):
        (folder / text).parent.mkdir(exist_ok=True)
        (folder / text).write_text("Ada met an otter in Oslo.\n", encoding="utf-8")
    shutil.copytree(ROOT / "jobs", folder / "jobs")
    demo = (folder / "jobs" / "demo.yaml").read_text().replace("sentences: 4000", "sentences: 60")
    (folder / "jobs" / "demo.yaml").write_text(demo)
    (folder / "jobs" / "rows" / "tag_systems.yaml").write_text("extend_ner: [method.name=extend_ner]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["run", "jobs/demo.yaml", *TINY]) == 0
    return folder


def write_columns(file: Path, number: int, names: dict[str, str]) -> None:
    """Sentences of the small world, in which types of these names are annotated."""
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks = []
    for words, entities in spoken(number, len(file.name)):
        named = [Entity(e.start, e.end, names[e.type]) for e in entities if e.type in names]
        blocks.append("".join(f"{w} {tag}\n" for w, tag in zip(words, encode(named, len(words)), strict=True)))
    file.write_text("\n".join(blocks), encoding="utf-8")


def write_exports(folder: Path) -> None:
    """The small world as spaCy and as GLiNER write it."""
    of_spacy, of_gliner = [], []
    for words, entities in spoken(60, 0):
        starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words) + 1)]
        marked = [[starts[e.start], starts[e.end] - 1, e.type] for e in entities]
        of_spacy.append([" ".join(words), {"entities": marked}])
        of_gliner.append({"tokenized_text": words, "ner": [[e.start, e.end - 1, e.type] for e in entities]})
    (folder / "corpus").mkdir()
    (folder / "corpus" / "train.json").write_text(json.dumps(of_spacy), encoding="utf-8")
    (folder / "gliner.json").write_text(json.dumps(of_gliner), encoding="utf-8")


@pytest.mark.parametrize("page", dict.fromkeys(command.page for command in OURS if command.runs_here))
def test_commands_run(page: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a page, one after another in a folder of their own."""
    shutil.copytree(place, tmp_path / "here", copy_function=os.link)
    monkeypatch.chdir(tmp_path / "here")
    refused = False
    for command in OURS:
        if command.page != page or not command.runs_here:
            continue
        words = command.words[1:]
        if words[0] in ("run", "plan", "compare"):
            words += TINY
        elif words[0] == "extend":
            words += TINY[1:]
        status = main(words)
        if words[0] in ("gate", "promote"):  # a random network passes no gate
            refused = status == 3
            assert status in (0, 3), command
        elif words[0] != "rollback" or not refused:
            assert status == 0, command
