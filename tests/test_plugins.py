"""A stranger's method, head, layout, protocol and search space: one file each, named in `plugins` or installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runs
from raycner.errors import InputError
from raycner.plugins import load_plugins
from raycner.registry import Registry

FILES = {
    "gentle": '''
"""Finetuning with a gentler loss."""
from raycner.methods.method import METHODS, Method


@METHODS.register("gentle")
class Gentle(Method):
    share: float = 0.5

    def losses(self, student, teacher, batch):
        return {"ce": self.share * student.head.loss(student(batch), batch)}
''',
    "narrow": '''
"""A linear head that draws its rows closer to zero."""
from raycner.networks.heads.head import HEADS
from raycner.networks.heads.linear import Linear


@HEADS.register("narrow")
class Narrow(Linear):
    init_std: float = 0.001
''',
    "slashed": '''
"""A sentence a line, its words as word/TYPE."""
from raycner.data.entities import Entity
from raycner.data.layouts.layout import LAYOUTS, FileLayout, Row


@LAYOUTS.register("slashed")
class Slashed(FileLayout):
    mark: str = "/"

    def rows(self, files, notes):
        for file in files:
            for _, line in file.lines():
                words, kinds = zip(*(cell.split(self.mark) for cell in line.split()))
                yield Row(file.part, words, [Entity(i, i + 1, kind) for i, kind in enumerate(kinds) if kind != "O"])
''',
    "waves": '''
"""All sentences at every step; `size` more types each time."""
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.experience import Experience, whole, whole_dev_and_test
from raycner.data.scenarios.protocol import PROTOCOLS, OneCorpusProtocol


@PROTOCOLS.register("waves")
class Waves(OneCorpusProtocol):
    size: int = 1

    def experiences(self, corpus, types):
        inventory = TypeInventory()
        for index, start in enumerate(range(0, len(types), self.size)):
            inventory = inventory.grow(types[start : start + self.size])
            train = whole(corpus, "train", inventory.new)
            yield Experience(index, inventory, train, *whole_dev_and_test(corpus, inventory))
''',
}
GROUPS = {"gentle": "methods", "narrow": "heads", "slashed": "layouts", "waves": "protocols"}
SPACE = """
from raycner import Study


def space(trial):
    trial.suggest_float("method.share", 0.1, 1.0)


STUDY = Study(base="job.yaml", space=space, first=[{"method.share": 0.5}])
"""
SETTINGS = (
    *("scenario.protocol={name: waves, size: 2}", "method={name: gentle, share: 0.25}"),
    *(
        "model.head={name: narrow, init_std: 0.01}",
        "model.encoder={name: bilstm, word_width: 8, char_width: 4, width: 8}",
    ),
    *("optim.epochs=1", "optim.first.epochs=1", "optim.batch_size=8"),
)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    line = "Ada+person sold+O Rome+city a+O lynx+animal at+O noon+time\n"
    path = tmp_path / "train.txt"
    path.write_text(line * 30, encoding="utf-8")
    return path


def written(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{name}.py" for name in FILES]
    for path in paths:
        path.write_text(FILES[path.stem], encoding="utf-8")
    return paths


def installed(site: Path, entries: str, package: str = "stranger") -> dict[str, str]:
    """The environment of a process that finds a package in `site`, with these entry points."""
    described = site / f"{package}-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    (described / "entry_points.txt").write_text(entries, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}


def python(folder: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, *arguments]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.parametrize("way", ["files", "package"])
def test_one_file_each_is_all_that_a_stranger_writes(way: str, tmp_path: Path, corpus: Path) -> None:
    paths = written(tmp_path / "stranger")
    if way == "files":
        plugins = [f"plugins=[{', '.join(f'stranger/{path.name}' for path in paths)}]"]
        env = dict(os.environ)
    else:
        (tmp_path / "stranger" / "__init__.py").touch()
        plugins = []
        env = installed(tmp_path, "".join(f"[raycner.{GROUPS[p.stem]}]\n{p.stem} = stranger.{p.stem}\n" for p in paths))
    settings = [*plugins, *SETTINGS, f"scenario.corpus={{name: slashed, path: {corpus}, mark: +}}"]
    done = python(tmp_path, env, "-m", "raycner", "run", *settings, "store=store")
    assert done.returncode == 0, done.stderr
    ledger = runs.ledger(tmp_path / "store")
    assert ledger.finished and ledger.run.startswith("slashed-waves-gentle-seed0-")
    assert [step.new for step in ledger.planned] == [("animal", "city"), ("person", "time")]
    assert ledger.config["scenario"]["corpus"]["mark"] == "+"
    assert ledger.config["scenario"]["protocol"] == {"name": "waves", "size": 2}
    assert ledger.config["method"] == {"name": "gentle", "share": 0.25}

    (tmp_path / "news.txt").write_text("Ada saw a lynx at noon\n", encoding="utf-8")
    named = [f"--plugin=stranger/{path.name}" for path in paths] if way == "files" else []
    for options in ([], ["--ray", "1", "--output", "entities"]):
        done = python(tmp_path, env, "-m", "raycner", "predict", ledger.run, "news.txt", *options, *named)
        assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "entities").rglob("*.jsonl")
    assert file.read_text(encoding="utf-8").count("Ada") == 1
    if way == "files":
        done = python(tmp_path, env, "-m", "raycner", "predict", ledger.run, "news.txt")
        assert done.returncode == 2 and "no head is called 'narrow'" in done.stderr

    (tmp_path / "space.py").write_text(SPACE, encoding="utf-8")
    (tmp_path / "job.yaml").write_text("seed: 0\n", encoding="utf-8")
    done = python(tmp_path, env, "-m", "raycner", "search", "space.py", "--dry-run", *settings, "store=store")
    assert done.returncode == 0, done.stderr

    done = python(tmp_path, env, "-m", "raycner", "plan", *settings, "method.shrae=1")
    assert "method.shrae: no such setting; did you mean share? gentle has share" in done.stderr

    dump = "import sys, pickle; from raycner.config import RunConfig; "
    done = python(tmp_path, env, "-c", dump + "pickle.dump(RunConfig.load(sys.argv[1:]), open('run', 'wb'))", *settings)
    assert done.returncode == 0, done.stderr
    done = python(tmp_path, env, "-c", "import pickle; print(pickle.load(open('run', 'rb')).method)")
    assert done.stdout == "Gentle(share=0.25)\n", "a worker imports the plugins of the configuration that it receives"


def test_a_plugin_of_a_ledger_is_never_imported(tmp_path: Path) -> None:
    from raycner.config import RunConfig
    from raycner.hashing import plain

    (tmp_path / "evil.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    settings = {**plain(RunConfig()), "plugins": [str(tmp_path / "evil.py")]}
    assert RunConfig.recorded(settings) == RunConfig()


def test_a_broken_package_is_one_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "ruin.py").write_text("import nothing_of_this_name", encoding="utf-8")
    (tmp_path / "empty.py").touch()
    entries = "[raycner.methods]\nruined = ruin\nmissing = empty\n"
    env = installed(tmp_path, entries, "broken-package")
    done = python(tmp_path, env, "-m", "raycner", "plan", "method.name=ruined")
    assert done.returncode == 2
    assert "package broken-package: ruin cannot be imported (ModuleNotFoundError" in done.stderr
    done = python(tmp_path, env, "-m", "raycner", "plan", "method.name=missing")
    assert "package broken-package: empty registers no method called 'missing'" in done.stderr
    done = python(tmp_path, env, "-m", "raycner", "plan", "method.name=ruind")
    assert "no method is called 'ruind'; did you mean ruined" in done.stderr
    done = python(tmp_path, env, "-c", "from raycner.methods import METHODS; print(METHODS['lucir'].name)")
    assert done.stdout == "lucir\n", "a package harms only those who use it"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no_such_module", "plugins: no_such_module cannot be imported (ModuleNotFoundError"),
        ("no/such/file.py", "plugins: no/such/file.py cannot be imported (FileNotFoundError"),
    ],
)
def test_a_plugin_that_is_not_there_is_rejected(name: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        load_plugins([name])
    assert line in str(error.value)


def test_a_registry_without_a_group_asks_no_package() -> None:
    assert Registry("fruit").names == []
    with pytest.raises(KeyError):
        Registry("fruit")["apple"]
