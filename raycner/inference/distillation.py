"""Distillation: a tagger that cannot become a step itself is adopted by what it predicts in text of the user's.

Its predictions are written as annotations, which can be read and corrected. They are the corpus of step 1, of which a
tenth is held out: there the step is compared with the tagger.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raycner.config import RunConfig
from raycner.data.entities import Entity, flaw
from raycner.data.passages import passages, with_forms
from raycner.data.retyping import Retyping
from raycner.data.scenarios.scenario import Scenario
from raycner.errors import InputError
from raycner.evaluation.agreement import Agreement
from raycner.events import EventHandler
from raycner.hashing import Plain
from raycner.inference.adoption import require_name
from raycner.inference.foreign_taggers import Tagger
from raycner.inference.predictor import Predictor
from raycner.networks.encoders.encoder import Words
from raycner.orchestration import run_steps
from raycner.orchestration.recipe import EXTENSION
from raycner.orchestration.runner import run
from raycner.storage.durable_files import replacing
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore
from raycner.training.plan import plan

TEXT = "--text"
"""Where the user names the text."""


@dataclass(frozen=True)
class Predictions:
    """What a tagger predicts in some text."""

    source: str
    """What ledgers call the tagger."""
    sentences: Sequence[Words]
    entities: Sequence[tuple[Entity, ...]]

    @property
    def counts(self) -> Counter[str]:
        """The number of entities by type."""
        return Counter(entity.type for row in self.entities for entity in row)

    @property
    def types(self) -> tuple[str, ...]:
        """From the most frequent to the rarest."""
        return tuple(sorted(self.counts, key=lambda kind: (-self.counts[kind], kind)))

    def retyped(self, retyping: Retyping) -> "Predictions":
        """The predictions with other types. Raises `InputError` for a type that does not occur."""
        if not retyping:
            return self
        names = retyping.names(self.types)
        entities = [
            tuple(Entity(e.start, e.end, names[e.type]) for e in row if e.type in names) for row in self.entities
        ]
        return Predictions(self.source, self.sentences, entities)

    def write(self, folder: Path) -> None:
        """Write the annotations as FOLDER/train.jsonl. Raises `InputError` for a file that says something else."""
        lines = [
            json.dumps({"tokens": list(words), "entities": [[e.start, e.end, e.type] for e in row]}, ensure_ascii=False)
            for words, row in zip(self.sentences, self.entities, strict=True)
        ]
        content, file = "".join(f"{line}\n" for line in lines).encode(), folder / "train.jsonl"
        if file.is_file() and file.read_bytes() != content:
            hint = "name another folder with --annotations, or train on the file itself: jobs/own_steps.yaml"
            raise InputError("it has other annotations", location=str(file), hint=hint)
        with replacing(file) as stream:
            stream.write(content)


@dataclass(frozen=True)
class Distillation:
    """A run whose step 1 has learned what a tagger predicts."""

    ledger: RunLedger
    predictions: Predictions
    annotations: Path
    """The folder to which they were written."""
    agreement: Agreement
    """With the tagger, on the held-out sentences."""


def predict_text(tagger: Tagger, source: str, text: Sequence[str]) -> Predictions:
    """What a tagger predicts in text: files, folders or patterns of .txt, .jsonl or columns.

    Raises `InputError` for text without a sentence, and for a tagger that finds nothing or entities that overlap.
    """
    files = with_forms(text)
    passage_words = (passage.sentences for file, form in files for passage in passages(file, form))
    sentences = [words for passage in passage_words for words in passage if words]
    if not sentences:
        raise InputError("no sentence in it", location=TEXT, hint="name files with text")
    predicted = [tuple(sorted(row)) for row in tagger.entities(sentences)]
    if len(predicted) != len(sentences):
        what = f"it answers {len(predicted)} of {len(sentences)} sentences"
        raise InputError(what, location=source, hint="`entities` returns one list for each sentence")
    for words, row in zip(sentences, predicted, strict=True):
        if wrong := flaw(row, len(words)):
            raise InputError(f"{wrong}: {' '.join(words)[:60]}", location=source, hint="`entities` are flat")
    if not any(predicted):
        raise InputError(f"it finds no entity in {len(sentences)} sentences", location=source, hint="give other text")
    return Predictions(source, sentences, predicted)


def settings_of(predictions: Predictions, name: str, annotations: Path, store: str) -> dict[str, Plain]:
    """The settings of a run whose step 1 learns the predictions, and of which `extend` makes later steps."""
    step = {"types": list(predictions.types), "origin": f"predictions of {predictions.source}"}
    return {
        "store": store,
        "scenario": {
            "corpus": {"name": "jsonl", "path": str(annotations.expanduser().absolute())},
            "protocol": {"name": "steps", "run_name": name, "steps": [step]},
        },
        **EXTENSION,
    }


def distil(predictions: Predictions, config: RunConfig, annotations: Path, emit: EventHandler) -> Distillation:
    """Write the annotations, train step 1 on them, and compare it with the tagger on the held-out ones.

    Raises `InputError` for a name that another run has.
    """
    store, name = ObjectStore(config.store), config.scenario.protocol.run_name
    require_name(store, name)
    before = RunLedger.find(store, name)
    predictions.write(annotations)
    _, scenario = run_steps.prepare(config, emit)
    if before is not None and before.planned[0].fingerprint != plan(config, scenario)[0].fingerprint:
        raise InputError(f"another model is adopted as {name!r}", location=str(store), hint="choose another --name")
    ledger = run(config, emit)
    return Distillation(ledger, predictions, annotations, _agreement(ledger, scenario, store))


def _agreement(ledger: RunLedger, scenario: Scenario, store: ObjectStore) -> Agreement:
    held_out = [sentence for split in scenario[0].test for sentence in split.sentences()]
    words = [sentence.words for sentence in held_out]
    ours = Predictor.of(f"{ledger.run}:1", store.uri).words(words)
    return Agreement.of(
        words,
        [tuple(sorted(sentence.entities)) for sentence in held_out],
        [tuple(Entity(e.start, e.end, e.type) for e in row) for row in ours],
        too_long=0,
    )
