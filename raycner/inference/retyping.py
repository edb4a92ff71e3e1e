"""retype: a run with other types, made from a finished step of any run. Nothing is trained.

The new run has one step, which is named by the old step and by what was done to its types. It is scored on the test
sentences of the old step, whose annotations are retyped alike, and `extend` continues it by the old run's recipe.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from raycner.config import RunConfig
from raycner.data.corpora import Corpus, prepare
from raycner.data.layouts.layout import Layout
from raycner.data.layouts.scored_only import ScoredOnly
from raycner.data.retyping import Retyping
from raycner.data.scenarios.experience import Split
from raycner.data.scenarios.scenario import Scenario, recorded
from raycner.data.scenarios.steps import ScoredCorpus
from raycner.errors import InputError
from raycner.events import EventHandler, Message
from raycner.hashing import Plain, plain
from raycner.inference.adoption import Model, commit, model_of_step, with_types
from raycner.orchestration.runner import drive
from raycner.storage.ledger import RunLedger, StepRecord
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan

LONGEST_NAME = 160
"""Longer names of runs say only that types were changed."""


def retype(
    address: str, retyping: Retyping, store: ObjectStore, emit: EventHandler, *, encoder: str | None = None
) -> RunLedger:
    """The run that a step of a run becomes by other types: the run's name, and what was done.

    Args:
        address: RUN or RUN:STEP of the store, or an alias.
        retyping: how its types change.
        encoder: where the pretrained encoder lies, if it has moved.

    Raises `InputError` for a type that the step does not have, and for a head that cannot be retyped.
    """
    ledger, record = find_step(address, store)
    model = with_types(model_of_step(address, store, encoder), retyping)
    before = RunConfig.recorded(ledger.config)
    learned = Scenario.of_run(before.scenario, store, [note.fingerprint for note in ledger.corpora])
    layouts = before.scenario.protocol.corpora(before.scenario.corpus)
    read = {corpus.fingerprint: layout for corpus, layout in zip(learned.corpora, layouts, strict=True)}
    scored = [*_scored(learned[record.index].test, read, retyping.names(record.seen))]
    settings = _settings(ledger, record, model, retyping, [one for one, _ in scored], store)
    config = RunConfig.from_settings(settings, {})
    empty = prepare(ScoredOnly(), store, lambda line: emit(Message(line)))
    scenario = Scenario(config.scenario, [empty, *(corpus for _, corpus in scored)])
    note = f"made from {ledger.run}:{record.index + 1} without training: {'; '.join(retyping.lines)}"
    commit(store, plan(config, scenario)[0], model.network, [note])
    return drive(config, store, scenario, {}, emit)


def _scored(
    test: Sequence[Split], layouts: Mapping[str, Layout], names: Mapping[str, str]
) -> Iterator[tuple[ScoredCorpus, Corpus]]:
    """What the new step is scored on. A merged type counts where all of its parts are annotated."""
    for split in test:
        here = split.names or {kind: kind for kind in split.corpus.types if kind in split.visible}
        missing = {new for old, new in names.items() if old not in here.values()}
        renamed = {kind: names[now] for kind, now in here.items() if now in names and names[now] not in missing}
        if renamed:
            yield ScoredCorpus(corpus=plain(layouts[split.corpus.fingerprint]), names=renamed), split.corpus


def _settings(
    ledger: RunLedger,
    record: StepRecord,
    model: Model,
    retyping: Retyping,
    scored: list[ScoredCorpus],
    store: ObjectStore,
) -> dict[str, Plain]:
    """The settings of the new run: those of the old one, with the retyped step in place of its scenario."""
    settings = recorded(ledger.config)
    origin = f"{ledger.run}:{record.index + 1}"
    step = {
        "types": list(model.network.inventory.types),
        "adopted": model.digest,
        "corpus": plain(ScoredOnly()),
        "origin": origin,
        "retyping": plain(retyping),
        "scored": plain(scored),
    }
    is_last = record.index == ledger.records()[-1].index
    name = "-".join([ledger.run if is_last else origin.replace(":", "-step"), *map(_as_key, _marks(retyping))])
    if len(name) > LONGEST_NAME:
        name = f"{ledger.run}-retyped-{model.digest[:8]}"
    scenario = settings["scenario"]
    corpus = {key: scenario[key] for key in ("corpus", "memory") if key in scenario}
    config = model.network.config
    return {
        **{key: value for key, value in settings.items() if key not in ("plugins", "at")},
        "store": store.uri,
        "scenario": {**corpus, "protocol": {"name": "steps", "run_name": name, "steps": [step]}},
        "model": {**settings["model"], "head": plain(config.head)},
        "eval": _evaluation(settings.get("eval") or {}, ledger),
    }


def _evaluation(settings: Mapping[str, Plain], ledger: RunLedger) -> dict[str, Plain]:
    """How the old run is scored. A calibration is part of the new weights; test sets have the old types."""
    if str(settings.get("threshold") or "").startswith("dev"):
        hint = "set eval.threshold to a number or to prior, and run it again; its steps are not trained again"
        raise InputError("its thresholds are chosen on dev, which no retyped step has", location=ledger.run, hint=hint)
    return {key: value for key, value in settings.items() if key not in ("calibration", "test")}


def _marks(retyping: Retyping) -> Iterator[str]:
    """What was done, as parts of the run's name."""
    if retyping.drop:
        yield "-".join(["drop", *retyping.drop])
    for old, new in retyping.rename.items():
        yield f"rename-{old}-{new}"
    for new, parts in retyping.merge.items():
        yield "-".join(["merge", *parts, new])


def _as_key(mark: str) -> str:
    """A mark as a part of a key of the store."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", mark)
