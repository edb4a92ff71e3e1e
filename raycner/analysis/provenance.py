"""How the scores of a table were obtained: decoder, calibration, threshold, seeds, orders, workers, device, version."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from raycner.analysis.formatting import listed
from raycner.analysis.scores import Run, Step, learns_tasks
from raycner.storage.ledger import ThresholdRecord

UNRECORDED = "not recorded"
"""The numerics of a run whose ledger and steps do not say them."""
CPU = "cpu"
MOST_TYPES = 6
"""Of an order that is written in full."""
MOST_ORDERS = 3


def provenance(runs: Sequence[Run]) -> str:
    """One sentence; several values are all named, and what no ledger records is left out; so are devices without a GPU.

    As in "Decoder argmax; calibration none; seeds 0 and 1; order P1; 2 workers; bf16; numerics 3; raycner 0.2.0."
    """
    devices = dict.fromkeys(device for run in runs for device in run.devices)
    facts = [
        *(_fact(name, (read_out(run).get(name) for run in runs)) for name in READ_OUT),
        _fact("seed", sorted({run.seed for run in runs}), plural="seeds"),
        _orders(runs),
        _workers(sorted({workers for run in runs for workers in run.workers})),
        _fact("", (dtype for run in runs for dtype in run.dtypes)),
        _fact("", devices if devices.keys() - {CPU} else ()),
        _fact("numerics", (numerics(run) for run in runs)),
        _fact("raycner", (version for run in runs for version in run.versions)),
    ]
    sentence = "; ".join(filter(None, facts))
    return f"{sentence[:1].upper()}{sentence[1:]}."


def step_provenance(run: Run, step: Step) -> str:
    """The same sentence for one step of a run."""
    dtypes, devices, versions = (tuple(filter(None, [value])) for value in (step.dtype, step.device, step.version))
    return provenance([replace(run, workers=(step.workers,), dtypes=dtypes, devices=devices, versions=versions)])


READ_OUT = ("decoder", "calibration", "threshold")


def read_out(run: Run) -> dict[str, str]:
    """How the predictions of a run were read from its networks."""
    facts = {name: getattr(run, name) for name in READ_OUT}
    return {name: value for name, value in facts.items() if value is not None}


def numerics(run: Run) -> str:
    """The numerics of a run, in words."""
    return UNRECORDED if run.numerics is None else str(run.numerics)


def differing(runs: Mapping[str, Run]) -> dict[str, dict[str, str]]:
    """By key, the read-out and the numerics of a run, as far as they differ among the runs that have them."""
    facts = {key: {**read_out(run), "numerics": numerics(run)} for key, run in runs.items()}
    names = dict.fromkeys(name for of_run in facts.values() for name in of_run)
    several = [name for name in names if len({of_run[name] for of_run in facts.values() if name in of_run}) > 1]
    return {key: {name: of_run[name] for name in several if name in of_run} for key, of_run in facts.items()}


def threshold_note(thresholds: ThresholdRecord) -> str:
    """How confident an entity must be, of each type.

    As in "least confidence of an entity, chosen on dev: person 0.12 (by 41 entities), place 0.05 (by all types)".
    """
    chosen = ", chosen on dev" if thresholds.source else ""
    values = {kind: f"{value:.3g}" for kind, value in thresholds.values.items()}
    reasons = {kind: _reason(thresholds, kind) for kind in values}
    if len({*zip(values.values(), reasons.values(), strict=True)}) == 1:
        (listing,) = {f"{value}{reasons[kind]}" for kind, value in values.items()}
    else:
        listing = ", ".join(f"{kind} {value}{reasons[kind]}" for kind, value in values.items())
    return f"least confidence of an entity{chosen}: {listing}"


def _reason(thresholds: ThresholdRecord, kind: str) -> str:
    """By what dev chose the threshold of a type."""
    reasons = {
        "type": f" (by {thresholds.support.get(kind, 0)} entities)",
        "all": f" (by the {sum(thresholds.support.values())} entities of all types)",
        "prior": " (the prior: dev shows too few entities)",
    }
    return reasons.get(thresholds.source.get(kind, ""), "")


def _fact(noun: str, values: Iterable[object], plural: str = "") -> str:
    distinct = list(dict.fromkeys(str(value) for value in values if value is not None))
    return f"{plural if plural and len(distinct) > 1 else noun} {listed(distinct)}".strip() if distinct else ""


def _orders(runs: Sequence[Run]) -> str:
    orders = sorted({run.order for run in runs})
    if len(orders) > MOST_ORDERS and not all(learns_tasks(run.config["scenario"]) for run in runs):
        return f"{len(orders)} orders"
    noun = "" if all(order.startswith("draw ") for order in orders) else "order"
    return _fact(noun, map(brief, orders), plural=noun and "orders")


def brief(order: str) -> str:
    """An order of many types by its first and last ones."""
    names = order.split(", ")
    return order if len(names) <= MOST_TYPES else ", ".join([*names[: MOST_TYPES - 2], "...", names[-1]])


def _workers(numbers: Sequence[int]) -> str:
    return f"{listed([str(number) for number in numbers])} worker{'s' * (list(numbers) != [1])}" if numbers else ""
