"""A complete small store, damaged in one file at a time, and the commands that read it.

`build` makes a world once: two runs, a search, an alias with a history, memories, evaluations, snapshots, a lock,
exported folders, jobs. `World.try_one(number)` damages one file of a copy, as `number` draws it, reads it in this
process, and returns what is wrong with how that ended: "" if it ended well or with one line.

    python tests/hostile_store.py FOLDER FIRST NUMBER SHARE

tries so many numbers over the world in FOLDER, prints a line before each one, and one for each fault. SHARE of them are
read by whole commands, the others by the functions with which commands read.
"""

import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Self

import matplotlib.font_manager  # noqa: F401  (it lists the fonts of the machine once, with a process of its own)
import optuna
import pytest
import yaml

from damage import DAMAGES, NUMBERS, TEXTS, any_value, damage_json, damage_text, damage_yaml
from fixtures_tiny import write_columns
from raycner.analysis.scores import scores
from raycner.cli import main
from raycner.config import RunConfig
from raycner.console import TextConsole
from raycner.data.corpora import Corpus
from raycner.data.entities import Sentence
from raycner.data.scenarios.memory import open_memory
from raycner.errors import InputError
from raycner.hashing import plain
from raycner.inference.export import export
from raycner.inference.predictor import Predictor
from raycner.inference.token_classifier import TokenClassifier
from raycner.networks.encoders.pretrained import Pretrained
from raycner.orchestration.runner import run
from raycner.orchestration.table_rows import read_rows
from raycner.settings import flat
from raycner.storage import locks
from raycner.storage.aliases import find_alias, history, promote
from raycner.storage.evaluations import find_evaluation
from raycner.storage.ledger import RunLedger
from raycner.storage.memories import MemoryRecord
from raycner.storage.scratch import scratch_folder
from raycner.storage.searches import RoundRecord, SearchRecord, TrialRecord, WinnerRecord
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.snapshot import Snapshot
from raycner.tuning.optuna_searcher import Journal
from runs import silent

SECONDS = 5
"""The most processor time of a command."""
GROWTH = 1 << 30
"""The most bytes that commands may add to a process."""
SEARCH = "self_training-1"
TEXT = "Ada met an otter in Oslo .\nBo Finch eats plum cake .\n"
SHARED = (
    *("scenario.corpus.name=columns", "scenario.corpus.path=source", "store=store", "method.name=self_training"),
    *("scenario.protocol.first=2", "scenario.protocol.per_step=2"),
    *("scenario.memory.size=2", "scenario.memory.until=2999-12-31", "eval.threshold=dev"),
    *("optim.epochs=1", "optim.first.epochs=1", "optim.batch_size=16"),
)
BILSTM = (
    *("model.encoder.name=bilstm", "model.encoder.word_width=4", "model.encoder.char_width=2"),
    *("model.encoder.width=4", "model.encoder.min_count=1", "optim.lr=0.02", "optim.head_lr=0.02"),
)
BERT = ("model.encoder.path=encoder", "model.head.name=linear", "seed=1")


@dataclass(frozen=True)
class Target:
    """Files that a stranger may have written, and the commands that read them."""

    weight: int
    files: str
    """A pattern below the world's folder."""
    commands: tuple[str, ...]
    forged: bool = False
    """Whether the manifest next to the file is written again, so that every checksum agrees."""


REPORTS = ("report", "report --json", "report --markdown", "report --details")
STORE = ("store ls", "store verify", "store gc")
STEP = ("predict {run} text.txt", "evaluate {run} --test --bootstrap 0", "export {run} out")
BERT_STEP = ("predict {bert} text.txt", "evaluate {bert} --test --bootstrap 0", "export {bert} out")
EXPORTED = ("predict exported text.txt", "evaluate exported source/test.txt --bootstrap 0")
CLASSIFIER = ("evaluate classifier source/test.txt --bootstrap 0", "adopt classifier --name other --sentences 2")
ALIASES = ("aliases", "history production", "rollback production", "promote {run}:1 production")
ADOPT, GATE = "adopt {run}:1 --name other", "gate {run}:2 --against {run}:1"
AGAIN = ("plan {job}", "run {job}")
TARGETS = {
    "ledger": Target(24, "store/runs/*/ledger.json", (*REPORTS, *STORE, *STEP, *BERT_STEP, *AGAIN, ADOPT, GATE)),
    "manifest": Target(8, "store/*/*/MANIFEST", (*STORE, *STEP, *AGAIN, "prepare {job}")),
    "source": Target(6, "store/corpora/sources/*.json", (*AGAIN, "prepare {job}", *STORE)),
    "description": Target(4, "store/corpora/*/corpus.json", (*AGAIN, *STEP, *STORE), forged=True),
    "sentences": Target(7, "store/corpora/*/*.arrow", (*STEP, "plan {job}", "run {job} seed=1"), forged=True),
    "step": Target(8, "store/steps/*/step.json", (*STEP, *BERT_STEP, "resume {job}", "plan {job}", ADOPT), forged=True),
    "weights": Target(8, "store/steps/*/weights.safetensors", (*STEP, *BERT_STEP, "resume {job}"), forged=True),
    "evaluation": Target(5, "store/evaluations/*/*.json", ("run {job}", *STORE, "report")),
    "search": Target(6, "store/searches/*/search.json", (*STORE, "searches", "report --html page.html", "report")),
    "journal": Target(4, "store/searches/*/journal.log", ("journal",)),
    "alias": Target(8, "store/aliases/*/*.json", (*ALIASES, *STORE, "predict production text.txt")),
    "memory": Target(3, "store/memories/*/memory.json", ("store gc", "resume {job}", "store verify"), forged=True),
    "remembered": Target(3, "store/memories/*/*.arrow", ("resume {job}", "store verify"), forged=True),
    "snapshot": Target(4, "store/snapshots/*/*/*", ("resume {job}", "store gc"), forged=True),
    "lock": Target(2, "store/locks/*/*", ("run {job}", "store gc", "resume {job}")),
    "export": Target(6, "exported/raycner.json", EXPORTED),
    "exported weights": Target(4, "exported/weights.safetensors", EXPORTED),
    "classifier": Target(6, "classifier/*.json", CLASSIFIER),
    "classifier weights": Target(3, "classifier/model.safetensors", CLASSIFIER),
    "encoder": Target(4, "encoder/*.json", ("plan {bert_job}", *BERT_STEP)),
    "encoder weights": Target(2, "encoder/model.safetensors", ("plan {bert_job}", "run {bert_job} seed=2")),
    "job": Target(20, "jobs/*.yaml", ("plan {job}", "plan {job}", "prepare {job}")),
    "rows": Target(3, "rows.yaml", ("report --rows rows.yaml",)),
    "override": Target(14, "jobs/*.yaml", ("plan {job}",)),
}
"""By name."""
NAMES, WEIGHTS = tuple(TARGETS), tuple(target.weight for target in TARGETS.values())
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "pickle.find_class")
"""Events of Python that no command which reads a store may cause."""


class Overdue(BaseException):
    """The time of a command is over."""


@dataclass(frozen=True)
class Trial:
    """One hostile input, and what reads it."""

    target: str
    file: str
    content: bytes
    command: str
    override: str = ""

    @property
    def folder(self) -> str:
        """The key of its folder in the store."""
        return self.file.removeprefix("store/").rpartition("/")[0]

    @property
    def name(self) -> str:
        """Of the run, the step or the corpus in the store."""
        return self.file.split("/")[2]


def build(folder: Path, encoder: str) -> None:
    """Make the world in a folder; `encoder` is that of a tiny BERT."""
    world = folder / "original"
    shutil.copytree(encoder, world / "encoder")
    for name in ("source", "victim", "cache", "tmp", "jobs"):
        (world / name).mkdir()
    write_columns(world / "source", 40)
    (world / "text.txt").write_text(TEXT)
    (world / "victim" / "MANIFEST").write_text("{}")
    with _inside(world):
        store = ObjectStore("store")
        config, bert_config = RunConfig.load([*SHARED, *BILSTM]), RunConfig.load([*SHARED, *BERT])
        with pytest.MonkeyPatch.context() as patch:
            remove = ObjectStore.remove
            patch.setattr(ObjectStore, "remove", lambda s, key: None if "snapshots" in key else remove(s, key))
            ledger = run(config, silent)
        bert = run(bert_config, silent)
        for record in (*ledger.records(), ledger.records()[0]):
            promote(store, "production", ledger, record, silent, why="a reason", gate={"passes": True})
        export(ledger.run, world / "exported", store)
        export(bert.run, world / "classifier", store)
        _write_search(store, ledger.run)
        holder = locks.Process("elsewhere", "1", "boot", "namespace", "5")
        store.write(f"locks/runs/{ledger.run}", f"{holder} {'0' * 32} 3\n".encode())
        for name, one in (("bilstm", config), ("bert", bert_config)):
            settings: dict[str, Any] = {**plain(one), "scenario": {**plain(one.scenario)}}
            (world / "jobs" / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        control = {"overrides": ["seed=1"], "control_of": "one", "isolates": "the encoder"}
        (world / "rows.yaml").write_text(yaml.safe_dump({"one": ["seed=0"], "two": control}))
    facts = {"run": ledger.run, "bert": bert.run, "last": ledger.records()[-1].fingerprint}
    (folder / "facts.json").write_text(json.dumps(facts))


def _write_search(store: ObjectStore, of_run: str) -> None:
    """A search of three trials, with its journal."""
    setting = "method.threshold"
    trials = tuple(
        TrialRecord(
            number=number,
            state="complete",
            settings={setting: 0.1 * number},
            values=(0.1 * number,),
            scores=(0.1, 0.1 * number),
            trained=1,
            shared=1,
            seconds=2.0,
        )
        for number in range(3)
    )
    SearchRecord(
        name=SEARCH,
        space="space.py",
        job=("jobs/bilstm.yaml",),
        metric="mean_f1",
        objectives=("score",),
        seeds=1,
        strategy="whole_run",
        steps=2,
        rounds=(RoundRecord(name="one", steps=2, trials=trials, importances={setting: 1.0}),),
        winner=WinnerRecord(settings={setting: 0.2}, command="raycner run", runs=(of_run,), baseline=(of_run,)),
    ).write(store)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with scratch_folder() as scratch:
        journal = Journal(store, SEARCH, None, scratch)
        study = optuna.create_study(storage=journal.storage, study_name="one", direction="maximize")
        study.optimize(lambda trial: trial.suggest_float(setting, 0, 1), n_trials=3)
        journal.close()


class World:
    """A folder with everything that commands read. They run in a copy of it, of this process alone, with the
    environment of a user whose home is the copy."""

    def __init__(self, folder: Path, share: float = 1.0) -> None:
        """`share` of the inputs are read by a command; the others by the function that commands read them with."""
        self.original, self.copy, self.share = folder / "original", folder / f"copy-{os.getpid()}", share
        self.facts: dict[str, str] = json.loads((folder / "facts.json").read_text())
        self.settings = tuple(flat(plain(RunConfig.load([]))))
        self.before: dict[str, tuple[int, int]] = {}
        self.planted: list[Path] | None = None
        self.environment = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        for name, value in (("HOME", self.copy), ("RAYCNER_CACHE", self.copy / "cache"), ("HF_HUB_OFFLINE", "1")):
            self.environment.setenv(name, str(value))
        return self

    def __exit__(self, *_: object) -> None:
        self.environment.undo()
        shutil.rmtree(self.copy, ignore_errors=True)

    def warm_up(self) -> None:
        """Read every target undamaged: what is imported or compiled once belongs to no input."""
        for name, target in TARGETS.items():
            file = min(path for path in self.original.glob(target.files) if path.is_file())
            trial = Trial(name, file.relative_to(self.original).as_posix(), file.read_bytes(), "read")
            self._restore()
            self._plant(trial)
            errors = io.StringIO()
            with _inside(self.copy), _patient(), redirect_stdout(errors), redirect_stderr(errors):
                status = self._command(trial)()
            assert status == 0, (name, errors.getvalue())

    def draw(self, number: int) -> Trial:
        """The input of a number."""
        random = Random(number)
        target = random.choices(NAMES, WEIGHTS)[0]
        chosen = TARGETS[target]
        file = random.choice(sorted(path for path in self.original.glob(chosen.files) if path.is_file()))
        command = random.choice(chosen.commands) if random.random() < self.share else "read"
        content, override = file.read_bytes(), ""
        if target == "override":
            override = self._override(random)
        elif target == "lock":
            content = damage_text(content, random)
        else:
            with _deep_recursion():
                content = DAMAGES.get(file.suffix, damage_json)(content, random)
        return Trial(target, file.relative_to(self.original).as_posix(), content, command, override)

    def _override(self, random: Random) -> str:
        key = random.choice(self.settings)
        if random.random() < 0.3:
            key = random.choice([key.rpartition(".")[0], f"{key}.more", f"at.1.{key}", "eval.test.x.path", *TEXTS])
        value = random.choice([*TEXTS, *map(str, NUMBERS)])
        if random.random() < 0.5:
            value = json.dumps(any_value(random))[:5000]
        if random.random() < 0.3:
            value = damage_yaml(value.encode("utf-8", "replace"), random).decode("utf-8", "surrogateescape")
        return f"{key}={value}".replace("\0", "")

    def try_one(self, number: int) -> str:
        """What is wrong with how the reading ended, in one text; "" if nothing is."""
        trial = self.draw(number)
        self._restore()
        self._plant(trial)
        fault = self._run(trial)
        changed = self._changed_outside() if self.before else []
        if changed and not fault:
            fault = f"written outside the store: {changed}"
        name = f"number {number}, {trial.target}: {trial.file} {trial.override!r}, {trial.command}"
        return f"{name}: {fault}" if fault else ""

    def after(self, files: str, change: Callable[[bytes], bytes], line: str, target: str = "job") -> tuple[int, str]:
        """The exit status and the printed lines of a command, after a change of the first of these files."""
        file = min(self.original.glob(files.format(**self.facts)))
        self.planted = None
        self._restore()
        trial = Trial(target, file.relative_to(self.original).as_posix(), change(file.read_bytes()), line)
        self._plant(trial)
        printed = io.StringIO()
        with _inside(self.copy), redirect_stdout(printed), redirect_stderr(printed), _patient():
            status = main(line.format(**self.facts).replace("resume", "run").split())
        return status, printed.getvalue()

    def _restore(self) -> None:
        """The copy as it was. Its files are hard links of the original: every writer replaces files."""
        if self.planted is not None:  # nothing but these files has changed
            for file in self.planted:
                file.unlink(missing_ok=True)
                os.link(self.original / file.relative_to(self.copy), file)
            return
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.original, self.copy, copy_function=os.link)
        (self.copy / "linked").symlink_to(self.copy / "victim")

    def _plant(self, trial: Trial) -> None:
        file = self.copy / trial.file
        file.unlink()
        file.write_bytes(trial.content)
        manifest = file.with_name("MANIFEST")
        is_forged = TARGETS[trial.target].forged and file != manifest and manifest.exists()
        if is_forged:
            entries = json.loads(manifest.read_bytes())
            digest = hashlib.sha256(trial.content).hexdigest()
            entries["files"][file.name] = {"size": len(trial.content), "sha256": digest}
            manifest.unlink()
            manifest.write_text(json.dumps(entries))
        only_read = trial.command == "read" and trial.target not in ("source", "lock")
        self.planted = [file, *([manifest] if is_forged else [])] if only_read else None
        if trial.command.startswith("resume"):
            shutil.rmtree(self.copy / "store" / "steps" / self.facts["last"], ignore_errors=True)
        self.before = {} if only_read else self._listing()

    def _command(self, trial: Trial) -> Callable[[], int]:
        """What reads the input: it returns an exit status."""
        if trial.command == "read":
            return lambda: _status(lambda: READERS[trial.target](trial))
        if trial.command in FUNCTIONS:
            return lambda: _status(FUNCTIONS[trial.command])
        job = trial.file if trial.target == "job" else "jobs/bilstm.yaml"
        line = trial.command.format(**self.facts, job=job, bert_job="jobs/bert.yaml").replace("resume", "run")
        words = line.split()
        if words[0] in ("plan", "run", "prepare"):
            return lambda: main([*words, *([trial.override] if trial.override else []), "store=store"])
        return lambda: main([*words, "--store", "store"])

    def _run(self, trial: Trial) -> str:
        out, err = io.StringIO(), io.StringIO()
        with _inside(self.copy), redirect_stdout(out), redirect_stderr(err), _patient(), AUDIT.of(self.copy) as events:
            try:
                with _limited():
                    status = self._command(trial)()
            except Overdue:
                return f"more than {SECONDS} seconds"
            except (Exception, SystemExit):
                return traceback.format_exc()
        printed = out.getvalue() + err.getvalue()
        if events:
            return f"not allowed: {events}"
        if any(ord(character) < 32 and character not in "\n\t\r" for character in printed):
            return f"a control character is printed: {printed!r}"
        if "Traceback (most" in printed:
            return printed
        if status == 2 and "raycner: " not in err.getvalue():
            return f"status 2 without a line: {printed!r}"
        return "" if status in (0, 1, 2, 3) else f"status {status}: {printed}"

    def _listing(self) -> dict[str, tuple[int, int]]:
        """The files that no command may change."""
        listing = {}
        for place, folders, files in os.walk(self.copy):
            if Path(place) == self.copy:
                folders[:] = [name for name in folders if name not in ("store", "cache", "tmp", "out")]
            for name in files:
                status = os.lstat(Path(place, name))
                listing[str(Path(place, name).relative_to(self.copy))] = (status.st_size, status.st_mtime_ns)
        listing.pop("page.html", None)
        return listing

    def _changed_outside(self) -> list[str]:
        after = self._listing()
        return sorted(name for name in after.keys() | self.before.keys() if after.get(name) != self.before.get(name))


class Audit:
    """What Python does that no command which reads a store may do. A hook cannot be removed, so it is switched."""

    def __init__(self) -> None:
        self.allowed: str | None = None
        self.events: list[str] = []
        sys.addaudithook(self._note)

    @contextmanager
    def of(self, folder: Path) -> Iterator[list[str]]:
        """The events of the block; files below the folder may be written."""
        self.allowed, self.events = str(folder), []
        try:
            yield self.events
        finally:
            self.allowed = None

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in FORBIDDEN and arguments[0] != "git":  # which tells the commit that a run is of
            self.events.append(f"{event} {arguments[:1]}")
        path = written_path(event, arguments)
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = str(Path(os.fsdecode(path)).absolute())
        if not place.startswith((self.allowed, "/dev/", "/proc/")) and "__pycache__" not in place:
            self.events.append(f"{event} {place}")


def written_path(event: str, arguments: tuple[Any, ...]) -> object:
    """The path that an audited event changes; None where it changes none."""
    if event == "open":
        flags = arguments[2]
        return arguments[0] if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else None
    if event in ("os.rename", "os.link", "os.symlink"):
        return arguments[1]
    if event in ("os.mkdir", "os.truncate", "os.chmod", "shutil.rmtree"):
        return arguments[0]
    return None


AUDIT = Audit()


def _status(read: Callable[[], object]) -> int:
    """The exit status of a command that does nothing else."""
    try:
        read()
    except (InputError, FileNotFoundError) as error:
        TextConsole(stderr=True).print(f"raycner: {error}", soft_wrap=True)
        return 2
    return 0


def _read_ledger(trial: Trial) -> None:
    ledger = RunLedger.open(ObjectStore("store"), trial.name)
    scores(ledger)
    RunConfig.recorded(ledger.config)


def _read_corpus(trial: Trial) -> None:
    corpus = Corpus.open(ObjectStore("store"), trial.name)
    for part in corpus.parts.values():
        for row in range(len(part)):
            Sentence(row, part.words(row), frozenset(part.entities(row)))


def _read_step(trial: Trial) -> None:
    store = ObjectStore("store")
    checkpoint = StepCheckpoint.find(store, trial.name)
    if checkpoint is not None:
        ledgers = {record.fingerprint: ledger for ledger in RunLedger.all(store) for record in ledger.records()}
        checkpoint.network(RunConfig.recorded(ledgers[trial.name].config).model)


def _read_journal() -> None:
    with scratch_folder() as scratch:
        Journal(ObjectStore("store"), SEARCH, None, scratch).storage.get_all_studies()


def _read_searches() -> None:
    for record in SearchRecord.all(ObjectStore("store")):
        assert record.name


def _read_evaluation(trial: Trial) -> None:
    find_evaluation(ObjectStore("store"), trial.name, Path(trial.file).stem)


def _read_alias(_: Trial) -> None:
    store = ObjectStore("store")
    for record in history(store, "production"):
        assert record.record and record.address
    find_alias(store, "production")


def _read_snapshot(trial: Trial) -> None:
    store = ObjectStore("store")
    if not store.damage(trial.folder):
        Snapshot.load(store.local(trial.folder))


def _load_job(trial: Trial) -> None:
    RunConfig.load([trial.file, *([trial.override] if trial.override else [])])


def _read_manifest(trial: Trial) -> None:
    store = ObjectStore("store")
    if not store.damage(trial.folder):
        assert store.manifest(trial.folder)


FUNCTIONS: dict[str, Callable[[], None]] = {"searches": _read_searches, "journal": _read_journal}
READERS: dict[str, Callable[[Trial], object]] = {
    "ledger": _read_ledger,
    "manifest": _read_manifest,
    "source": lambda _: main(["prepare", "jobs/bilstm.yaml", "store=store"]),
    "description": _read_corpus,
    "sentences": _read_corpus,
    "step": _read_step,
    "weights": _read_step,
    "evaluation": _read_evaluation,
    "search": lambda _: _read_searches(),
    "journal": lambda _: _read_journal(),
    "alias": _read_alias,
    "memory": lambda trial: MemoryRecord.read(ObjectStore("store"), trial.folder),
    "remembered": lambda trial: open_memory(Path("store", trial.folder), "memory"),
    "snapshot": _read_snapshot,
    "lock": lambda trial: locks.Lock(ObjectStore("store"), trial.file.removeprefix("store/locks/")).take(),
    "export": lambda _: Predictor.load("exported"),
    "exported weights": lambda _: Predictor.load("exported"),
    "classifier": lambda _: TokenClassifier.load("classifier"),
    "classifier weights": lambda _: TokenClassifier.load("classifier"),
    "encoder": lambda _: Pretrained(path="encoder").build(fresh=True),
    "encoder weights": lambda _: Pretrained(path="encoder").build(fresh=True),
    "job": _load_job,
    "rows": lambda trial: read_rows(trial.file),
    "override": _load_job,
}
"""How commands read each target."""


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """For the copies of deeply nested values that damage makes; what reads them has Python's usual limit."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(20 * usual)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """This folder as the current one, and its tmp for temporary files."""
    before = Path.cwd(), tempfile.tempdir
    os.chdir(folder)
    tempfile.tempdir = str(folder / "tmp")
    try:
        yield
    finally:
        os.chdir(before[0])
        tempfile.tempdir = before[1]


@contextmanager
def _patient() -> Iterator[None]:
    """Locks whose holders are given up within parts of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "PATIENCE", 0.2)
        patch.setattr(locks, "POLL", 0.05)
        yield


@contextmanager
def _limited() -> Iterator[None]:
    """Raise `Overdue` after so much processor time, or twelve times as long."""

    def end(*_: object) -> None:
        raise Overdue

    before = [signal.signal(number, end) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 12 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


def limit_growth() -> None:
    """From now on, this process may take so many more bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    data = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + GROWTH, data + GROWTH))


def tried(world: World, numbers: Iterable[int]) -> list[str]:
    """The faults of these numbers."""
    return [fault for fault in map(world.try_one, numbers) if fault]


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    first, count, stdout = int(sys.argv[2]), int(sys.argv[3]), sys.stdout
    with World(Path(sys.argv[1]), share=float(sys.argv[4])) as world:
        world.warm_up()
        limit_growth()
        for number in range(first, first + count):
            print(f"trying {number}", file=stdout, flush=True)
            cpu = time.process_time()
            if fault := world.try_one(number):
                print("fault " + json.dumps(fault), file=stdout, flush=True)
            if "PROFILE" in os.environ:
                trial = world.draw(number)
                print(f"cpu\t{time.process_time() - cpu:.4f}\t{trial.target}\t{trial.command}", file=stdout)
