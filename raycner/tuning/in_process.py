"""The trials of a search in this process, one at a time, without Ray."""

import os
from collections.abc import Sequence
from contextlib import closing

from raycner.config import ComputeConfig, RunConfig
from raycner.events import ignore_events
from raycner.orchestration.runner import run
from raycner.storage.ledger import RunLedger
from raycner.tuning.optuna_searcher import OptunaSearcher
from raycner.tuning.round import Round
from raycner.tuning.trial import Trial


def fits_in_process(compute: ComputeConfig) -> bool:
    """Whether trials run in this process: one at a time, without workers, and no cluster is there."""
    return not (
        compute.workers or compute.gpus_per_worker or compute.max_concurrent_trials > 1 or os.environ.get("RAY_ADDRESS")
    )


class InProcess:
    """Runs trials one after another."""

    parallel = 1

    def run_trials(self, round_: Round, searcher: OptunaSearcher, number: int) -> None:
        for _ in range(number):
            proposal = searcher.ask()
            with closing(Trial(round_, proposal.params)) as trial:
                while not searcher.report(proposal, trial.advance()):
                    pass

    def run_all(self, configs: Sequence[RunConfig]) -> list[RunLedger]:
        """The ledgers of complete runs."""
        return [run(config, ignore_events) for config in configs]
