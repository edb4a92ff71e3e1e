"""Rounds: trials that compete with each other. A search of whole runs has one, a step-wise search one for each step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from raycner.config import RunConfig
from raycner.hashing import canonical
from raycner.tuning.objective import Objective
from raycner.tuning.study import SearchPlan, Settings

PREFIX = "prefix"
"""The name under which a trial chooses the run that it continues."""


@dataclass(frozen=True)
class Rung:
    """One pass of a trial over its steps, on a share of the training sentences of each."""

    share: float
    objective: Objective
    """Against trial 0 on the same share."""


@dataclass(frozen=True)
class Round:
    """What all trials of a round have in common. Picklable: it travels to the trials."""

    name: str
    """Of its Optuna study."""
    plan: SearchPlan
    step: int | None
    """The step whose settings are searched, from 1; None for all steps."""
    steps: int
    """How many steps each trial trains at each rung."""
    prefixes: Sequence[Settings]
    """The runs that a trial can continue, by their settings; a trial chooses one if there are several."""
    corpora: Sequence[str]
    """Fingerprints."""
    rungs: Sequence[Rung]
    """The last is on all sentences."""
    warm_start: Sequence[Settings] = ()
    """Settings of an earlier search to try first, as far as this space has them."""

    @property
    def reports(self) -> int:
        """How many steps a trial reports until it is complete, over all rungs."""
        return self.steps * len(self.rungs)

    @property
    def prunes(self) -> bool:
        """Whether trials may end before they are complete."""
        study = self.plan.study
        return study.pruning != "none" and study.metric != "old_new" and study.strategy == "whole_run"

    @property
    def rung_ends(self) -> tuple[int, ...]:
        """The reports after which trials are compared: the last of each share, then grace * reduction^k steps."""
        study = self.plan.study
        before = self.reports - self.steps
        shares = range(self.steps, before + 1, self.steps)
        powers = (study.grace * study.reduction**k for k in range(self.steps))
        return (*shares, *(before + steps for steps in powers if steps < self.steps))

    def suggest(self, trial: Any) -> None:
        """The space of the round: that of the study, after the choice of a prefix."""
        if len(self.prefixes) > 1:
            trial.suggest_categorical(PREFIX, list(range(len(self.prefixes))))
        self.plan.study.space(trial)

    def first(self) -> list[Settings]:
        """What is tried before Optuna proposes any: the study's first settings after every prefix, then the settings
        that won the step before, each after the run that they made."""
        choices: list[Settings] = [{PREFIX: i} for i in range(len(self.prefixes))] if len(self.prefixes) > 1 else [{}]
        published = [{**settings, **choice} for settings in self.plan.study.first for choice in choices]
        winners = [
            {**won, **choice} for won, choice in zip(map(self._won, self.prefixes), choices, strict=False) if won
        ]
        return list({canonical(settings): settings for settings in (*published, *winners)}.values())

    def _won(self, prefix: Settings) -> Settings:
        """What a run so far has at the step before, under the names of the space."""
        before = f"at.{(self.step or 1) - 1}."
        return {key.removeprefix(before): value for key, value in prefix.items() if key.startswith(before)}

    def settings(self, suggested: Settings) -> dict[str, Any]:
        """The settings of the job that a trial stands for."""
        own = {key: value for key, value in suggested.items() if key != PREFIX}
        own = {f"at.{self.step}.{key}": value for key, value in own.items()} if self.step else own
        return {**self.prefixes[suggested.get(PREFIX, 0)], **own}

    def configs(self, suggested: Settings, share: float) -> list[RunConfig]:
        """The runs of a trial, one per seed. A trial is scored on dev, so it reads no extra test sets."""
        configs = self.plan.configs_of(self.settings(suggested), self.plan.study.seeds, share)
        return [replace(config, eval=replace(config.eval, test={})) for config in configs]
