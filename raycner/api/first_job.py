"""First jobs: a config file for files that nobody has configured yet."""

import math
from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path

from raycner.api.inspections import inspect
from raycner.config import RunConfig
from raycner.data.inspection import CorpusContents
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.orchestration.recipe import LAYERS, Form, recommended
from raycner.settings import spell
from raycner.yaml_text import load

MOST_STEPS = 6
"""Steps of a first job; with more types, a step learns several."""
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def init(
    path: str | PathLike[str] = ".",
    job: str | PathLike[str] = "my_job.yaml",
    *,
    layout: str | None = None,
    reading: Mapping[str, object] | None = None,
    memory: bool = False,
    reservoir: str | PathLike[str] | None = None,
) -> Path:
    """Write a commented job for a file, a folder or a pattern, and return its path.

        raycner.init("data/news")
        raycner.init("data/news.tsv", "jobs/news.yaml", layout="columns", reading={"tag_column": 1})
        raycner.init("data/news", memory=True)

    The job has the layout that `inspect` recognises and its settings, the types from the most frequent to the rarest,
    steps that divide them, and the recommended recipe: with a `memory`, some sentences of each step are learned again
    later; with a `reservoir`, a folder of other text that may be used, sentences of it; else nothing is kept. Raises
    `InputError` for files that cannot be read, and for a job that exists.
    """
    file = Path(job)
    if file.exists():
        raise InputError("this file exists already", location=fspath(job), hint="name another with --job, or remove it")
    settings = {**({} if reading and "train" in reading else {"path": fspath(path)}), **(reading or {})}
    ((contents, _),) = inspect(layout=layout, reading=settings).corpora
    if memory and reservoir is not None:
        raise InputError("a memory and a reservoir are two recipes", location="reservoir", hint="choose one of them")
    form: Form = "memory" if memory else "no_text" if reservoir is None else "reservoir"
    text = "\n".join(_lines(contents, form, {} if reservoir is None else {"path": fspath(reservoir)})) + "\n"
    RunConfig.from_settings(load(text), {})
    try:
        with file.open("x", encoding="utf-8") as output:
            output.write(text)
    except OSError as error:
        raise InputError(f"cannot write it ({error.strerror})", location=fspath(job), hint="name another") from None
    return file


def steps(types: int) -> tuple[int, int]:
    """How many types the first step learns, and how many each later one, so that they use up all types.

    >>> [steps(types) for types in (1, 2, 6, 7, 18)]
    [(1, 1), (1, 1), (1, 1), (3, 2), (3, 3)]
    """
    per_step = math.ceil(types / MOST_STEPS)
    return per_step + types % per_step, per_step


def _lines(contents: CorpusContents, form: Form, reservoir: Mapping[str, Plain]) -> Iterator[str]:
    counts = {name: number for name, number in contents.parts["train"].entities.items() if number}
    if not counts:
        raise InputError("no training sentence has an entity", location=contents.source, hint="see `raycner inspect`")
    types = sorted(counts, key=lambda name: (-counts[name], name))
    first, per_step = steps(len(types))
    nested = bool(contents.settings.get("nested"))
    yield "# A starting point, written by `raycner init` from what it read. `raycner settings` lists all settings."
    yield "# A further config file on the command line is merged over this one:"
    yield f"#   {LAYERS['memory']}       where sentences of earlier steps may be kept: far less is forgotten"
    yield f"#   {LAYERS['reservoir']}    where other text may be used"
    yield f"#   {LAYERS['no_text']}              where neither"
    yield "scenario:"
    yield "  corpus:"
    yield f"    name: {spell(contents.layout)}"
    yield from (f"    {key}: {spell(value)}" for key, value in contents.settings.items())
    yield from (
        f"    # {part}: no file of its own; a share of train is set aside (`{part}_share`)"
        for part in _missing(contents)
    )
    yield "  protocol:"
    yield "    name: fg_pg        # each step sees its own slice of train, annotated with its new types only"
    yield f"    first: {first}           # types that the first step learns"
    yield f"    per_step: {per_step}        # types that each later step adds; together they must use up all types"
    yield "  order:               # as they are learned: the most frequent first; the numbers are mentions in train"
    yield from (f"    - {spell(name)}    # {counts[name]}" for name in types)
    yield from _kept(form, reservoir) if len(types) > first else ()
    yield "model:"
    yield f"  encoder: {{name: pretrained, path: {ENCODER}}}    # a hub id or a folder"
    yield "  # encoder: {name: bilstm}    # small, downloads nothing"
    if nested:
        yield "  head: {name: spans, decoding: nested}    # entities may overlap"
    yield f"method: {spell(_method(form, len(types) > first, nested))}"
    yield from _optim({} if nested or len(types) <= first else recommended(form).get("optim", {}))
    yield "# compute: {workers: 2}                  # Ray Train workers; 0 trains in this process"


def _missing(contents: CorpusContents) -> list[str]:
    return [part for part, held in contents.parts.items() if not held.files]


def _kept(form: Form, reservoir: Mapping[str, Plain]) -> Iterator[str]:
    """What of the recipe later steps learn next to their own sentences."""
    for name, settings in recommended(form).get("scenario", {}).items():
        yield f"  {name}: {spell({**settings, **reservoir})}"
    if form == "memory":
        yield "  # memory.until: 2027-12-31    # the last day on which the sentences may be kept"


def _optim(settings: Mapping[str, Plain]) -> Iterator[str]:
    """What of the recipe is optimisation, and what else may be set there."""
    yield "optim:" if settings else "# optim:"
    yield from (f"  {key}: {spell(value)}" for key, value in settings.items())
    yield "#  updates: 1000     # at least so many in each step, 500 by default: small steps gain; 100 are a first look"
    yield "#  epochs: 10        # by default chosen for the number of sentences of each step, as is the next one"
    yield "#  batch_size: 32"


def _method(form: Form, is_continual: bool, nested: bool) -> Mapping[str, Plain]:
    """The recommended method; one step has nothing to forget."""
    if not is_continual:
        return {"name": "finetuning"}
    if nested:
        return {"name": "span_kl"}
    method: Mapping[str, Plain] = recommended(form)["method"]
    return method
