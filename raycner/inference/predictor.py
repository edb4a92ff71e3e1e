"""Predictor: the entities that a trained step finds in words or text.

    predictor = Predictor.of("demo-fg_pg-dld")
    predictor.text(["Anna flew to Oslo."])
    # [[PredictedEntity(start=0, end=4, type='person', confidence=0.98, text='Anna'), ...]]

Offsets count characters of a text, or words of a sentence.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from torch import Tensor

from raycner.data.entities import Sentence, TypeInventory
from raycner.data.passages import Passage
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.inference.trained_step import TrainedStep, load_record, load_step
from raycner.networks.batch import Batch
from raycner.networks.devices import device, does_bf16
from raycner.networks.encoders.encoder import States, Words
from raycner.networks.heads.head import Prediction
from raycner.networks.network import ModelConfig, Network
from raycner.networks.weights import load_weights
from raycner.settings import build
from raycner.storage.aliases import AliasRecord
from raycner.storage.durable_files import draft_of, remove_abandoned_drafts
from raycner.storage.ledger import RunLedger, ThresholdRecord
from raycner.storage.manifests import is_key
from raycner.storage.store import ObjectStore
from raycner.training.loader import batches_without_gradient

T = TypeVar("T")
PASSAGES_AT_A_TIME = 4096
"""Passages in memory at a time, sorted by length together."""
DESCRIPTION, WEIGHTS, ENCODER = "raycner.json", "weights.safetensors", "encoder"
"""The files of an exported folder: the description of the network, its weights, and its encoder without weights."""


@dataclass(frozen=True, slots=True, order=True)
class PredictedEntity:
    """An entity: offsets in characters of a text or in words of a sentence, end exclusive."""

    start: int
    end: int
    type: str
    confidence: float
    """In (0, 1]; of a tag head, the lowest probability of its words."""
    text: str


class SentenceReading(NamedTuple):
    """What a network computes of a sentence of T words."""

    prediction: Prediction
    """Its entities, with offsets in words."""
    states: NDArray[np.float32]
    """[T, H] the encoder's state of each word."""
    probabilities: NDArray[np.float32]
    """[T, E] the probability of each type at each word; the rest to 1 is that of no entity."""


class Predictor:
    """A trained network for inference, in batches of similar length, on the GPU if there is one."""

    def __init__(
        self,
        network: Network,
        *,
        name: str = "",
        new_type_bias: float = 0.0,
        thresholds: ThresholdRecord | None = None,
    ) -> None:
        self._name = name
        self._new_type_bias = new_type_bias
        self.thresholds = thresholds
        """The least confidence of an entity, by type; None where the head's own decides."""
        self._network = network.eval().to(device())
        self._network.bf16 = does_bf16(device())

    @classmethod
    def of(cls, address: str, store: str = "store", encoder: str | None = None) -> Self:
        """The step RUN or RUN:STEP of a store, or a folder that `raycner export` wrote for a Predictor.

        `encoder` is the path of the pretrained encoder, if it has moved since training. Raises `InputError` when there
        is no such step, or when it is incomplete.
        """
        if Path(address, DESCRIPTION).is_file():
            return cls.load(address)
        return cls.of_step(load_step(address, ObjectStore(store), encoder))

    @classmethod
    def promoted(cls, alias: AliasRecord, store: ObjectStore, encoder: str | None = None) -> Self:
        """The step that a record of an alias names, whatever the alias names now. Raises `InputError` as `of` does."""
        return cls.of_step(load_record(store, RunLedger(store, alias.ledger), alias.record, encoder))

    @classmethod
    def of_step(cls, step: TrainedStep) -> Self:
        """A step as its run's evaluation reads it, or as it was loaded to be read."""
        return cls(step.network, name=step.name, new_type_bias=step.new_type_bias, thresholds=step.thresholds)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The network of a folder that `raycner export` wrote for a Predictor. Raises `InputError` for any other."""
        exported, weights = read_description(Path(folder))
        network = Network.restore(exported.model, exported.inventory, exported.memory, weights)
        return cls(network, name=str(folder), new_type_bias=exported.new_type_bias, thresholds=exported.thresholds)

    @property
    def types(self) -> tuple[str, ...]:
        """The types that it predicts, in the order they were learned."""
        return self._network.inventory.types

    @property
    def decoder(self) -> str | None:
        """How the output of its head is decoded; None for a head with one decoder."""
        return getattr(self._network.config.head, "decoding", None)

    @overload
    def words(self, sentences: Words) -> list[PredictedEntity]: ...  # type: ignore[overload-overlap]

    @overload
    def words(self, sentences: Sequence[Words]) -> list[list[PredictedEntity]]: ...

    def words(self, sentences: Words | Sequence[Words]) -> list[PredictedEntity] | list[list[PredictedEntity]]:
        """The entities of sentences in words, with offsets in words; one sentence, a list of strings, gets one list.

        Raises `InputError` for a sentence that is a single string.
        """
        if isinstance(sentences, str):
            raise InputError("a sentence in words is a list of strings", hint="use text() for a string")
        if len(sentences) and all(isinstance(word, str) for word in sentences):
            return self.words([cast(Words, sentences)])[0]
        if any(isinstance(sentence, str) for sentence in sentences):
            raise InputError("strings and sentences are mixed", hint="write each sentence as a list of strings")
        return [entities for _, entities in self.read(map(Passage.of_words, sentences))]

    @overload
    def text(self, texts: str) -> list[PredictedEntity]: ...  # type: ignore[overload-overlap]

    @overload
    def text(self, texts: Sequence[str]) -> list[list[PredictedEntity]]: ...

    def text(self, texts: str | Sequence[str]) -> list[PredictedEntity] | list[list[PredictedEntity]]:
        """The entities of texts, with offsets in characters; one text, a string, gets one list.

        Raises `InputError` for a text that is not a string.
        """
        if isinstance(texts, str):
            return self.text([texts])[0]
        if any(not isinstance(text, str) for text in texts):
            raise InputError("a text is a string", hint="use words() for sentences in words")
        return [entities for _, entities in self.read(map(Passage.of_text, texts))]

    def __repr__(self) -> str:
        types = ", ".join(self.types)
        return f"<Predictor {self._name or self._network.config.head.name}: {types}; on {self._network.device}>"

    def read(self, passages: Iterable[Passage]) -> Iterator[tuple[Passage, list[PredictedEntity]]]:
        """Every passage, in the order given, with its entities in reading order."""
        remaining = iter(passages)
        while chunk := list(islice(remaining, PASSAGES_AT_A_TIME)):
            predictions = iter(self._predict([words for passage in chunk for words in passage.sentences]))
            for passage in chunk:
                yield passage, _entities(passage, [next(predictions) for _ in passage.sentences])

    def readings(self, sentences: Sequence[Words]) -> list[SentenceReading]:
        """What the network computes of sentences in words; all of them are in memory."""
        readings: list[SentenceReading | None] = [None] * len(sentences)
        with self._network.eval_mode():
            for places, batch in self._batches(sentences):
                states = self._network.states(batch)
                probabilities = self._network.head.type_probabilities(states, batch, new_type_bias=self._new_type_bias)
                words, of_types = states.words.cpu().numpy(), probabilities.float().cpu().numpy()
                for row, (place, prediction) in enumerate(zip(places, self._read_out(states, batch), strict=True)):
                    length = len(sentences[place])
                    readings[place] = SentenceReading(prediction, words[row, :length], of_types[row, :length])
        nothing = SentenceReading({}, np.zeros((0, 0), np.float32), np.zeros((0, len(self.types)), np.float32))
        return [reading or nothing for reading in readings]

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """[texts, H] the mean embedding of the pieces of each text; None if the encoder has none of its width."""
        with self._network.eval_mode():
            vectors = self._network.encoder.vectors(texts)
        return None if vectors is None else vectors.float().cpu().numpy()

    def _predict(self, sentences: Sequence[Words]) -> list[Prediction]:
        """One prediction per sentence."""
        predictions: list[Prediction] = [{} for _ in sentences]
        with self._network.eval_mode():
            for places, batch in self._batches(sentences):
                outputs = self._read_out(self._network.states(batch), batch)
                for place, prediction in zip(places, outputs, strict=True):
                    predictions[place] = prediction
        return predictions

    def _batches(self, sentences: Sequence[Words]) -> Iterator[tuple[list[int], Batch]]:
        """The sentences that have words, in batches with their places in the list."""
        tokens = self._network.tokenize(sentences)
        lengths = np.asarray([len(of_sentence) for of_sentence in tokens], dtype=np.int64)
        filled = np.flatnonzero([len(words) > 0 for words in sentences])
        for positions in batches_without_gradient(self._network, filled, lengths):
            places = positions.tolist()
            inputs = [Sentence(place, tuple(sentences[place]), frozenset()) for place in places]
            batch = self._network.collate(inputs, [tokens[place] for place in places], places)
            yield places, batch.to(self._network.device)

    def _read_out(self, states: States, batch: Batch) -> list[Prediction]:
        """The entities of a batch as the step's evaluation reads them."""
        thresholds = self.thresholds.values if self.thresholds else None
        return self._network.read_out(states, batch, new_type_bias=self._new_type_bias, thresholds=thresholds)


@dataclass(frozen=True)
class _Description:
    """The file raycner.json of an exported folder."""

    model: Mapping[str, Mapping[str, Any]]
    inventory: Mapping[str, Any]
    memory: Any = None
    new_type_bias: float | None = None
    thresholds: ThresholdRecord | None = None


_DESCRIPTIONS = TypeAdapter(_Description)


@dataclass(frozen=True)
class ExportedNetwork:
    """What raycner.json of an exported folder says."""

    model: ModelConfig
    inventory: TypeInventory
    memory: Plain
    new_type_bias: float
    thresholds: ThresholdRecord | None


def read_description(folder: Path) -> tuple[ExportedNetwork, dict[str, Tensor]]:
    """The description and the weights of a folder that `raycner export` wrote for a Predictor.

    Raises `InputError` for any other folder.
    """
    try:
        description = _DESCRIPTIONS.validate_json((folder / DESCRIPTION).read_bytes())
        weights = load_weights(folder / WEIGHTS)
    except (OSError, ValidationError, InputError) as error:
        reason = error.errors(include_url=False)[0]["msg"].lower() if isinstance(error, ValidationError) else error
        hint = "name a folder of `raycner export`; one for transformers.pipeline is loaded by it alone"
        raise InputError(f"no exported network ({reason})", location=str(folder), hint=hint) from None
    bias = description.new_type_bias
    exported = ExportedNetwork(
        model=build(ModelConfig, _inside(folder, description.model), "model"),
        inventory=build(TypeInventory, description.inventory, f"{folder}/{DESCRIPTION}"),
        memory=description.memory,
        new_type_bias=_shift(weights) if bias is None else bias,
        thresholds=description.thresholds,
    )
    return exported, weights


def _inside(folder: Path, model: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of a network whose encoder and head lie in an exported folder."""
    settings: dict[str, Any] = {part: dict(values) for part, values in model.items()}
    for part in settings.keys() & {"encoder", "head"}:
        path = settings[part].get("path")
        if path is not None and (not isinstance(path, str) or not is_key(path)):
            hint = "export the step again: an exported folder holds all of its files"
            raise InputError(f"model.{part}.path={path!r:.80} is no folder in it", location=str(folder), hint=hint)
        if path is not None:
            settings[part]["path"] = str(folder / path)
    return settings


def _shift(weights: Mapping[str, Tensor]) -> float:
    """The new-type bias of a folder that version 0.1 exported, which had it among the weights."""
    return float(weights["head.shift"].max()) if "head.shift" in weights else 0.0


def confident(predicted: Sequence[PredictedEntity], least: float) -> list[PredictedEntity]:
    """The entities of at least this confidence."""
    return [entity for entity in predicted if entity.confidence >= least]


def as_plain(passage: Passage, predicted: Sequence[PredictedEntity]) -> dict[str, Plain]:
    """A line of output: the fields of the passage and its entities."""
    entities = [
        {"start": e.start, "end": e.end, "type": e.type, "confidence": round(e.confidence, 4), "text": e.text}
        for e in predicted
    ]
    return {**passage.fields, "entities": entities}


@contextmanager
def sink(path: str | None) -> Iterator[TextIO]:
    """The file of the output lines, which appears once all are written; standard output without a path."""
    if path is None:
        yield sys.stdout
        return
    remove_abandoned_drafts(Path(path))
    draft = draft_of(Path(path))
    try:
        with draft.open("x", encoding="utf-8") as lines:
            yield lines
            lines.flush()
            os.fsync(lines.fileno())
        draft.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", location=path, hint="name another file") from None
    finally:
        draft.unlink(missing_ok=True)


def counted(items: Iterable[T], console: Console) -> Iterator[T]:
    """The items; a terminal shows how many there were so far, and how many a second."""
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} read, {task.fields[rate]:,.0f} a second"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, rate=0.0)
        for item in items:
            yield item
            progress.update(task, advance=1, rate=progress.tasks[0].speed or 0.0)


def _entities(passage: Passage, predictions: Sequence[Prediction]) -> list[PredictedEntity]:
    """The entities of the sentences of a passage, by characters if the passage is text."""
    entities: list[PredictedEntity] = []
    for number, (words, prediction) in enumerate(zip(passage.sentences, predictions, strict=True)):
        for entity in sorted(prediction):
            start, end, text = entity.start, entity.end, " ".join(words[entity.start : entity.end])
            if passage.text is not None:
                start, end = passage.places[number][start][0], passage.places[number][end - 1][1]
                text = passage.text[start:end]
            entities.append(PredictedEntity(start, end, entity.type, prediction[entity], text))
    return entities
