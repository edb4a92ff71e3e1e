"""Settings of earlier versions: they are still read, with a note that gives the new name (`settings.renamed`)."""

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
