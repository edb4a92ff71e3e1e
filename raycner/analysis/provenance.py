"""How the scores of a table were obtained: the decoder, calibration, seeds, workers, arithmetic and version."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from raycner.analysis.formatting import listed
from raycner.analysis.scores import Run, Step


def provenance(runs: Sequence[Run]) -> str:
    """One sentence; several values are all named, and what no ledger records is left out.

    As in "Decoder argmax; calibration none; seeds 0 and 1; 2 workers; bf16; raycner 0.2.0."
    """
    facts = [
        _fact("decoder", (run.decoder for run in runs)),
        _fact("calibration", (run.calibration for run in runs)),
        _fact("seed", sorted({run.seed for run in runs}), plural="seeds"),
        _workers(sorted({workers for run in runs for workers in run.workers})),
        _fact("", (dtype for run in runs for dtype in run.dtypes)),
        _fact("raycner", (version for run in runs for version in run.versions)),
    ]
    sentence = "; ".join(filter(None, facts))
    return f"{sentence[:1].upper()}{sentence[1:]}."


def step_provenance(run: Run, step: Step) -> str:
    """The same sentence for one step of a run."""
    dtypes, versions = (tuple(filter(None, [value])) for value in (step.dtype, step.version))
    return provenance([replace(run, workers=(step.workers,), dtypes=dtypes, versions=versions)])


def _fact(noun: str, values: Iterable[object], plural: str = "") -> str:
    distinct = list(dict.fromkeys(str(value) for value in values if value is not None))
    return f"{plural if plural and len(distinct) > 1 else noun} {listed(distinct)}".strip() if distinct else ""


def _workers(numbers: Sequence[int]) -> str:
    return f"{listed([str(number) for number in numbers])} worker{'s' * (list(numbers) != [1])}" if numbers else ""
