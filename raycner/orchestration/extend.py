"""extend: one more step for a run that is in use, with new types and the source they are annotated in."""

from collections.abc import Sequence

from raycner.config import RunConfig, read
from raycner.errors import InputError
from raycner.events import EventHandler
from raycner.hashing import Plain
from raycner.orchestration.run_steps import prepare
from raycner.orchestration.runner import run
from raycner.settings import merge
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan


def extended(
    ledger: RunLedger, store: ObjectStore, types: Sequence[str], source: str, corpus: str | None, layers: Sequence[str]
) -> RunConfig:
    """The settings of a run with a step more. `corpus` is the layout of its source, if not that of the others;
    `layers` are laid over all, and may say where to compute, or `at.N` of the new step."""
    scenario = ledger.config["scenario"]
    if scenario["protocol"] != "steps":
        line = f"its protocol is {scenario['protocol']}, whose steps are fixed"
        hint = "runs of the protocol steps can be extended (jobs/own_steps.yaml)"
        raise InputError(line, location=ledger.run, hint=hint)
    step: dict[str, Plain] = {"types": list(types), "source": source, "corpus": corpus}
    base = merge(ledger.config, {"store": store.uri, "scenario": {"steps": [*scenario["steps"], step]}})
    return RunConfig.from_settings(merge(base, read(layers)), {})


def extend(ledger: RunLedger, config: RunConfig, emit: EventHandler) -> RunLedger:
    """Train the steps that a run lacks of these settings. Raises `InputError` if one that it has would be another."""
    _, scenario = prepare(config, emit)
    for before, now in zip(ledger.planned, plan(config, scenario), strict=False):
        if before.fingerprint != now.fingerprint:
            line = f"step {before.index + 1} would be trained anew: its data, its encoder or its settings have changed"
            hint = "give back what changed, or make a new run of it with `raycner run`"
            raise InputError(line, location=ledger.run, hint=hint)
    return run(config, emit)
