"""Extra test sets: sources that a run is scored on next to its scenario's own test sentences."""

from collections.abc import Mapping

from raycner.config import RunConfig
from raycner.data.corpora import PARTS, Corpus, prepare
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.experience import Split, whole
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.events import EventHandler, Message
from raycner.storage.store import ObjectStore


def prepare_test_sets(config: RunConfig, scenario: Scenario, store: ObjectStore, emit: EventHandler) -> dict[str, str]:
    """Name -> fingerprint of every extra test set, all of which the store then holds.

    Raises `InputError` for a source that cannot be read, or that annotates no type of the run.
    """
    return {name: _prepare(name, config, scenario, store, emit).fingerprint for name in config.eval.test}


def open_test_sets(store: ObjectStore, fingerprints: Mapping[str, str]) -> dict[str, Corpus]:
    """The extra test sets that the store holds."""
    return {name: Corpus.open(store, fingerprint) for name, fingerprint in fingerprints.items()}


def every_sentence(corpus: Corpus, inventory: TypeInventory) -> tuple[Split, ...]:
    """All sentences of a test set, with those types visible that it annotates and the step knows."""
    visible = [kind for kind in inventory.types if kind in corpus.types]
    return tuple(whole(corpus, part, visible) for part in PARTS if len(corpus[part]))


def _prepare(name: str, config: RunConfig, scenario: Scenario, store: ObjectStore, emit: EventHandler) -> Corpus:
    location = f"eval.test.{name}"
    try:
        corpus = prepare(config.test_layouts()[name], store, lambda line: emit(Message(line)))
    except InputError as error:
        moved = error.location.replace("scenario.corpus", location)
        raise InputError(error.what, location=moved, hint=error.hint) from None
    learned = scenario[-1].inventory.types
    if not set(learned) & set(corpus.types):
        annotated = ", ".join(corpus.types)
        raise InputError(f"annotates {annotated}: no type of the run", location=location, hint="choose another source")
    return corpus
