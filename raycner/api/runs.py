"""Runs: train one, load what a store holds, and use what was learned."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from raycner.analysis import scores
from raycner.api import frames
from raycner.api.notebook import as_html
from raycner.api.progress import Progress, event_handler
from raycner.errors import InputError
from raycner.reporting.report import render
from raycner.storage.ledger import RunLedger, StepRecord
from raycner.storage.run_names import find_run, find_runs
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from pandas import DataFrame

    from raycner.api.evaluations import EvaluateOptions, Evaluation
    from raycner.api.gates import GateOptions, Judgement
    from raycner.api.jobs import Job, Overrides
    from raycner.config import RunConfig
    from raycner.inference.predictor import Predictor


def run(job: "Job", overrides: "Overrides" = (), /, *, progress: Progress = True, **settings: object) -> "Run":
    """Train the missing steps of a job, and return the finished run; the same call resumes.

        raycner.run("jobs/demo.yaml")
        raycner.run("jobs/demo.yaml", {"method.name": "finetuning"}, seed=3)
        raycner.run(["jobs/demo.yaml", "clusters/laptop/compute.yaml", "seed=3"])

    `overrides` are dotted settings, or a list of config files and KEY=VALUE overrides; `settings` are top-level ones.
    Raises `InputError` when a setting, the data or the store is not usable.
    """
    from raycner.api.jobs import load_config
    from raycner.orchestration.runner import run as run_steps

    config = load_config(job, overrides, settings)
    with event_handler(progress) as handler:
        ledger = run_steps(config, handler)
    return Run(ledger, ObjectStore(config.store))


def load_run(name: str, store: str | PathLike[str] = "store", *, without: Collection[str] = ()) -> "Run":
    """The run of this name; its beginning suffices. Of several with this beginning, the one that learns no type of
    `without`. Raises `InputError` unless exactly one run has it."""
    place = ObjectStore(fspath(store))
    return Run(find_run(name, place, without), place)


def load_runs(*names: str, store: str | PathLike[str] = "store") -> "list[Run]":
    """The runs of these names, beginnings or patterns; all runs of the store without any.

    Raises `InputError` for a name that no run has.
    """
    place = ObjectStore(fspath(store))
    return [Run(ledger, place) for ledger in find_runs(names, place)]


class Run:
    """A run of a store: its settings, its finished steps and their scores. Steps count from 1; -1 is the last one."""

    def __init__(self, ledger: RunLedger, store: ObjectStore) -> None:
        self.ledger, self._store = ledger, store

    @property
    def name(self) -> str:
        return self.ledger.run

    @property
    def label(self) -> str:
        """The short name that tables show: the method's."""
        return self.ledger.label

    @property
    def store(self) -> str:
        """The URI of its store."""
        return self._store.uri

    @property
    def config(self) -> Mapping[str, Any]:
        """All settings, as plain data."""
        return self.ledger.config

    @property
    def job(self) -> "RunConfig":
        """Its configuration; `raycner.run(run.job, seed=1)` repeats it with another seed."""
        from raycner.config import RunConfig

        return RunConfig.recorded(self.ledger.config)

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """The records of the finished steps."""
        return tuple(self.ledger.records())

    @property
    def types(self) -> tuple[str, ...]:
        """The types of the finished steps, in the order they were learned."""
        return self.steps[-1].seen if self.steps else ()

    @property
    def finished(self) -> bool:
        """Whether every planned step is finished."""
        return self.ledger.finished

    @cached_property
    def data(self) -> scores.Run:
        """Everything that `raycner report --json` prints about it."""
        return scores.scores(self.ledger)

    def scores(self, test: str | None = None) -> "DataFrame":
        """One row per finished step and type, on test: precision, recall, F1 (percent), support and counts.

        `test` is the NAME of an extra test set, `eval.test.NAME`, to show its scores instead; micro and macro on it are
        in `data.steps[...].tests`. Raises `InputError` for a name on which no step has scores.
        """
        return frames.scores_by_type(self.data, test)

    def summary(self) -> "DataFrame":
        """One row per finished step, on test: F1 over all types, over tasks, over old and over new types (percent)."""
        return frames.scores_by_step(self.data)

    def epochs(self) -> "DataFrame":
        """One row per epoch: micro-F1 on dev (percent), seconds, and the mean of each loss term."""
        return frames.epochs(self.data)

    def predictor(self, step: int = -1, *, encoder: str | None = None) -> "Predictor":
        """A finished step in use. `encoder` is the pretrained encoder, if it has moved since training.

        Raises `InputError` when the step is not finished, or no longer in the store.
        """
        from raycner.inference.predictor import Predictor

        return Predictor.of(self._address(step), self.store, encoder)

    def evaluate(
        self, *files: str | PathLike[str], step: int = -1, **options: "Unpack[EvaluateOptions]"
    ) -> "Evaluation":
        """Score a finished step on annotated files; without any, on the test part of the run.

        `options` are those of `raycner.evaluate`. Raises `InputError` when a file cannot be read, or the step is not
        finished.
        """
        from raycner.api.evaluations import evaluate

        return evaluate(self._address(step), *files, test=not files, store=self.store, **options)

    def export(
        self,
        folder: str | PathLike[str],
        step: int = -1,
        *,
        encoder: str | None = None,
        license_id: str = "",
        languages: Sequence[str] = (),
        onnx: bool = False,
    ) -> Path:
        """Write a finished step to a new folder, and return it.

        `license_id` (such as apache-2.0) and `languages` (ISO codes) are for its model card. `onnx` also writes an ONNX
        graph, where transformers has such a network; it needs the extra `onnx`.

        A tag head on a pretrained encoder becomes a model that `transformers.pipeline` loads; any other network is
        loaded by `Predictor.load`. Raises `InputError` when the folder is not empty, or the step not finished.
        """
        from raycner.inference.export import export
        from raycner.inference.model_card import Rights

        rights = Rights(license_id, tuple(languages))
        export(self._address(step), Path(folder), self._store, encoder, rights, onnx=onnx)
        return Path(folder)

    def extend(
        self,
        types: Sequence[str],
        source: str | PathLike[str] | None = None,
        overrides: "Overrides" = (),
        /,
        *,
        corpus: str | None = None,
        annotated: Sequence[str] = (),
        partly: Sequence[str] = (),
        allow_similar: bool = False,
        progress: Progress = True,
        **settings: object,
    ) -> "Run":
        """Teach this run, of the protocol `steps`, new types by one more step; returns the longer run.

        `source` is a folder, a file, a pattern or a URI in which the new types are annotated, without it the run's own
        source; `corpus` is its layout, if not the run's own. `annotated` are old types that it annotates too, in every
        sentence. `partly` are types, new or old, of which it marks only some entities: these are learned, and of all
        other words the step before decides. Raises `InputError` when a finished step would change, and
        for a type that is probably a learned one under another name, unless `allow_similar`.
        """
        from raycner.api.jobs import load_config
        from raycner.orchestration.extend import extend, with_step

        place = None if source is None else fspath(source)
        longer = with_step(
            self.ledger,
            self._store,
            types,
            place,
            corpus,
            annotated=annotated,
            partly=partly,
            allow_similar=allow_similar,
        )
        config = load_config(longer, overrides, settings)
        with event_handler(progress) as handler:
            return Run(extend(self.ledger, config, handler), self._store)

    def retype(
        self,
        *,
        drop: Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
        merge: Mapping[str, Sequence[str]] | None = None,
        encoder: str | None = None,
        progress: Progress = True,
    ) -> "Run":
        """This run with other types; returns the new run. Nothing is trained.

            run.retype(drop=["date"], rename={"PER": "person"}, merge={"place": ["city", "country"]})

        A dropped type has no row, so it is never predicted. An entity of any part of a merged type becomes one of that
        type; two that touch remain two. The new run is scored on the test sentences of this one. Raises `InputError`
        for a type that the run does not have, and for a head that cannot be retyped.
        """
        from raycner.data.retyping import Retyping
        from raycner.inference.retyping import retype

        parts = {new: tuple(old) for new, old in (merge or {}).items()}
        retyping = Retyping(drop=tuple(drop), rename=dict(rename or {}), merge=parts)
        with event_handler(progress) as handler:
            return Run(retype(self._address(-1), retyping, self._store, handler, encoder=encoder), self._store)

    def split(
        self,
        name: str,
        into: Sequence[str],
        source: str | PathLike[str],
        overrides: "Overrides" = (),
        /,
        *,
        corpus: str | None = None,
        progress: Progress = True,
    ) -> "Run":
        """Teach this run several types in place of one, by one more step; returns the longer run.

        The type is dropped, and the new ones are learned from `source`, in which they are annotated. Raises
        `InputError` as `retype` and `extend` do.
        """
        smaller = self.retype(drop=[name], progress=progress)
        return smaller.extend(into, source, overrides, corpus=corpus, progress=progress)

    def undo_extension(self) -> None:
        """Remove this run from the store, if it extends another one or has other types; that one stays.

        Its last step is removed by the next garbage collection. Raises `InputError` for a run that was made from no
        other, and for one whose last step an alias names.
        """
        from raycner.orchestration.extend import undo

        undo(self.ledger, self._store)

    def gate(
        self, *files: str | PathLike[str], step: int = -1, against: str = "", **options: "Unpack[GateOptions]"
    ) -> "Judgement":
        """Whether a step may take the place of `against`, by default the step before it, by what each old type loses.

        Without files it is judged on the test part of the run. `options` are those of `raycner.gate`. Raises
        `InputError` where there is no step before it, and where nothing can be compared.
        """
        from raycner.api.gates import gate

        newer = self._address(step)
        number = int(newer.rpartition(":")[2])
        return gate(newer, *files, against=against or self._address(number - 1), store=self.store, **options)

    def _address(self, step: int) -> str:
        """RUN:STEP of a finished step."""
        finished = [record.index + 1 for record in self.steps]
        if step in finished:
            return f"{self.name}:{step}"
        if not -len(finished) <= step < 0:
            hint = f"finished are {', '.join(map(str, finished)) or 'none'}; -1 is the last of them"
            raise InputError(f"no step {step} is finished", location=self.name, hint=hint)
        return f"{self.name}:{finished[step]}"

    def __repr__(self) -> str:
        progress = f"{len(self.steps)} of {len(self.ledger.planned)} steps"
        average = self.data.average
        means = f", average micro-F1 {average.micro:.1f}, macro-F1 {average.macro:.1f}" if average else ""
        return f"<Run {self.name}: {progress}{means}>"

    def _repr_html_(self) -> str:
        return as_html(partial(render, [self.ledger]))
