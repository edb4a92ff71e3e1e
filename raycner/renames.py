"""Settings over the versions: earlier names, still read with a note that gives the new one (`settings.renamed`), and
later additions, which ledgers of earlier versions lack."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from raycner.hashing import Plain


@dataclass(frozen=True)
class Renamed:
    """How a setting of an earlier version is read."""

    now: str
    """What it is called today, for notes and hints."""
    replace: Callable[[Plain], Mapping[str, Plain] | None]
    """From its value to today's settings, dotted; None if the value is in today's form already."""


def moved(now: str) -> Renamed:
    """A setting whose value stays as it is."""
    return Renamed(now, lambda value: {now: value})


def _corpus(value: Plain) -> Mapping[str, Plain] | None:
    return {"scenario.corpus.name": value} if isinstance(value, str) else None


def _path(value: Plain) -> Mapping[str, Plain] | None:
    if isinstance(value, Mapping):
        return None
    return {"scenario.corpus.path": value or ""}


def _protocol(value: Plain) -> Mapping[str, Plain] | None:
    """Upper bounds and the scratch baseline were protocols of their own."""
    if not isinstance(value, str):
        return None
    name, is_joint, is_scratch = value.removeprefix("joint_"), value.startswith("joint"), value == "scratch"
    settings: dict[str, Plain] = {
        "scenario.protocol.name": {"joint": "fg_pg", "scratch": "progressive"}.get(name, name),
        "scenario.joint": is_joint,
    }
    return settings | ({"scenario.protocol.scratch": True} if is_scratch else {})


def _steps(value: Plain) -> Mapping[str, Plain]:
    """The entries of the list had a layout and a path side by side."""
    return {"scenario.protocol.steps": [_step(step) for step in value] if isinstance(value, list) else value}


def _step(step: Plain) -> Plain:
    if not isinstance(step, Mapping) or isinstance(step.get("corpus"), Mapping):
        return step
    corpus = {"name": step.get("corpus"), "path": step.get("source")}
    others = {key: value for key, value in step.items() if key not in ("corpus", "source")}
    return {**others, "corpus": {key: value for key, value in corpus.items() if value is not None}}


RENAMED: dict[str, Renamed] = {
    "optim.conlleval": Renamed(
        "eval.counting=conlleval", lambda value: {"eval.counting": "conlleval" if value else "strict"}
    ),
    "optim.calibration": Renamed(
        "eval.calibration=read_out", lambda value: {"eval.calibration": value} if value == "read_out" else None
    ),
    "scenario.corpus": Renamed("scenario.corpus.name", _corpus),
    "scenario.source": Renamed("scenario.corpus.path", _path),
    **{f"scenario.source.{part}": moved(f"scenario.corpus.{part}") for part in ("train", "dev", "test")},
    "scenario.protocol": Renamed("scenario.protocol.name (an upper bound: scenario.joint=true)", _protocol),
    "scenario.steps": Renamed("scenario.protocol.steps", _steps),
    **{
        f"scenario.{name}": moved(f"scenario.protocol.{name}")
        for name in (
            *("first", "per_step", "sampling", "split_seed"),
            *("tasks", "permutation", "test", "target", "share"),
        )
    },
    **{
        f"scenario.reading.{name}": moved(f"scenario.corpus.{name}")
        for name in (
            *("scheme", "token_column", "tag_column", "repair", "nested", "grain"),
            *("dev_share", "test_share", "seed", "sentences"),
        )
    },
}
"""By the dotted name that a setting had."""

ADDED: dict[str, Plain] = {
    "scenario.protocol.slices": "",
    "scenario.train_share": 1.0,
    "scenario.memory.size": 0,
    "scenario.memory.per": "type",
    "scenario.memory.choose": "random",
    "scenario.memory.keep": "labels",
    "scenario.memory.until": None,
    "scenario.reservoir.path": "",
    "scenario.reservoir.size": 20,
    "scenario.reservoir.confidence": 0.9,
    "encoder.output_dropout": 0.0,
    "encoder.frozen": "never",
    "encoder.projection": False,
    "encoder.checkpointing": False,
    "encoder.adapters.rank": 0,
    "encoder.adapters.alpha": 16.0,
    "encoder.adapters.dropout": 0.0,
    "encoder.adapters.targets": [],
    "head.hidden": 0,
    "head.extra_rows": [],
    "head.zero_outside": False,
    "head.preallocate": 0,
    "growth.align": False,
    "hold": "pseudo",
    "old_row_gradient": 1.0,
    "prototype_weight": 0.0,
    "refresh": "batch",
    "optim.decay": "all",
    "optim.order": "pools",
    "optim.select_by": "micro",
    "optim.patience": 0,
    "optim.fusion": 0.0,
    "optim.fusion_share": 1.0,
    "optim.feature_replay": 0.0,
    "optim.feature_replay_words": 0.0,
    "optim.ema": 0.0,
    "optim.accumulate": 1,
}
"""By the end of its dotted name, a setting added later: the value that means "as before"."""


def as_before(name: str, value: Plain) -> bool:
    """Whether a setting, by its dotted name, was added later and stands at the value that a ledger without it means.

    An override of one step, at.N, never does: the other steps may have another value.
    """
    parts = name.split(".")
    ends = (".".join(parts[place:]) for place in range(len(parts)))
    return parts[0] != "at" and any(end in ADDED and value == ADDED[end] for end in ends)
