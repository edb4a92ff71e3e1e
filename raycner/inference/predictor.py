"""Predictor: a trained step in use. Words or text in, entities out:

    predictor = Predictor.of("demo-fg_pg-dld")
    predictor.text(["Anna flew to Oslo."])
    # [[Found(start=0, end=4, type='person', confidence=0.98, text='Anna'), ...]]

Offsets are told in characters of a text, or in words of a sentence.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self, TextIO, TypeVar, cast, overload
from uuid import uuid4

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from raycner.data.entities import Entity, Sentence, TypeInventory
from raycner.data.passages import Passage
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.networks.devices import device, does_bf16
from raycner.networks.encoders.encoder import Tokens, Words
from raycner.networks.heads.head import Prediction
from raycner.networks.network import ModelConfig, Network
from raycner.settings import build
from raycner.storage.ledger import RunLedger, StepRecord
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.loader import eval_batches

T = TypeVar("T")
TOGETHER = 4096
"""Passages that are sorted by length together, and in memory at a time."""
TOLD, WEIGHTS, FRAME = "raycner.json", "weights.safetensors", "encoder"
"""What an exported folder holds: what is told of the network, its weights, and what its encoder is built from."""
FULL_STOPS = frozenset(".!?\u3002\uff01\uff1f")


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """An entity that was found: offsets in characters of a text or in words of a sentence, end exclusive."""

    start: int
    end: int
    type: str
    confidence: float
    """In (0, 1]; of a tag head, the lowest of its words' probabilities."""
    text: str


class Predictor:
    """A trained network that only reads: in batches of like length, on the GPU if there is one."""

    def __init__(self, network: Network, *, name: str = "", new_type_bias: float = 0.0) -> None:
        self._name = name
        self._new_type_bias = new_type_bias
        self._network = network.eval().to(device())
        self._network.bf16 = does_bf16(device())

    @classmethod
    def of(cls, address: str, store: str = "store", encoder: str | None = None) -> Self:
        """The step RUN or RUN:STEP of a store, or of a folder that `raycner export` made for a Predictor. `encoder` is
        where a run's pretrained encoder lies, if not where the run found it. Raises `InputError` when there is no such
        step, or no whole one."""
        if Path(address, TOLD).is_file():
            return cls.load(address)
        ledger, record = find_step(address, ObjectStore(store))
        network = restore(ObjectStore(store), ledger, record, encoder)
        new_type_bias = record.calibration.delta if record.calibration else 0.0
        return cls(network, name=f"{ledger.run}:{record.index + 1}", new_type_bias=new_type_bias)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The network of a folder that `raycner export` made for a Predictor."""
        place = Path(folder)
        try:
            said = json.loads((place / TOLD).read_bytes())
            weights = load_file(place / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            hint = "name a folder of `raycner export`; what transformers.pipeline loads, it loads alone"
            raise InputError(f"no exported network ({error})", location=str(folder), hint=hint) from None
        for part in ("encoder", "head"):
            if said["model"][part].get("path") is not None:
                said["model"][part]["path"] = str(place / said["model"][part]["path"])
        inventory = build(TypeInventory, said["inventory"], f"{folder}/{TOLD}")
        network = Network.restore(build(ModelConfig, said["model"], "model"), inventory, said["memory"], weights)
        return cls(network, name=str(folder), new_type_bias=said.get("new_type_bias", _shift(weights)))

    @property
    def types(self) -> tuple[str, ...]:
        """What it can find, in the order it was learned."""
        return self._network.inventory.types

    @overload
    def words(self, sentences: Words) -> list[Found]: ...  # type: ignore[overload-overlap]

    @overload
    def words(self, sentences: Sequence[Words]) -> list[list[Found]]: ...

    def words(self, sentences: Words | Sequence[Words]) -> list[Found] | list[list[Found]]:
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
    def text(self, texts: str) -> list[Found]: ...  # type: ignore[overload-overlap]

    @overload
    def text(self, texts: Sequence[str]) -> list[list[Found]]: ...

    def text(self, texts: str | Sequence[str]) -> list[Found] | list[list[Found]]:
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

    def read(self, passages: Iterable[Passage]) -> Iterator[tuple[Passage, list[Found]]]:
        """Passages as they come, each with its entities in reading order."""
        coming = iter(passages)
        while some := list(islice(coming, TOGETHER)):
            said = iter(self._predict([words for passage in some for words in passage.sentences]))
            for passage in some:
                yield passage, _told(passage, [next(said) for _ in passage.sentences])

    def _predict(self, sentences: Sequence[Words]) -> list[Prediction]:
        """One prediction per sentence; one too long for the encoder is read in parts."""
        parts: list[tuple[int, int, Sentence, Tokens]] = []  # which sentence, and from which word on
        for i, tokens in enumerate(self._network.tokenize(sentences)):
            for begin, words, read in self._in_reach(sentences[i], tokens):
                parts.append((i, begin, Sentence(len(parts), tuple(words), frozenset()), read))
        said: list[Prediction] = [{} for _ in sentences]
        lengths = np.asarray([len(read) for *_, read in parts], dtype=np.int64)
        with self._network.eval_mode():
            for positions in eval_batches(np.arange(len(parts)), lengths, self._network.device):
                at = positions.tolist()
                some = [parts[i] for i in at]
                batch = self._network.collate([part for *_, part, _ in some], [read for *_, read in some], at)
                predictions = self._network.predict(batch.to(self._network.device), new_type_bias=self._new_type_bias)
                for (i, begin, *_), found in zip(some, predictions, strict=True):
                    said[i] |= {_moved(entity, begin): sure for entity, sure in found.items()} if begin else found
        return said

    def _in_reach(self, words: Words, tokens: Tokens) -> Iterator[tuple[int, Words, Tokens]]:
        """A sentence in parts that the encoder can read whole: where each begins, its words, and how they are read."""
        reach = _seen(tokens)
        if words and reach == len(words):
            yield 0, words, tokens
            return
        begin = 0
        while begin < len(words):
            part = words[begin : begin + reach]
            (read,) = self._network.tokenize([part])
            if begin + _seen(read) < len(words):
                part = part[: _break(part, _seen(read))]
                (read,) = self._network.tokenize([part])
            yield begin, part, read
            begin += len(part)


def _shift(weights: Mapping[str, Tensor]) -> float:
    """The new-type bias of a folder that version 0.1 exported: it lies among the weights."""
    return float(weights["head.shift"].max()) if "head.shift" in weights else 0.0


def restore(store: ObjectStore, ledger: RunLedger, record: StepRecord, encoder: str | None = None) -> Network:
    """The network that a step left."""
    said = dict(ledger.config["model"])
    if encoder is not None:
        said["encoder"] = {**said["encoder"], "path": encoder}
    step = StepCheckpoint.find(store, record.fingerprint)
    if step is None:
        hint = "run it again: the same line trains what is missing"
        raise InputError(
            f"step {record.index + 1} is no longer in the store, or damaged", location=ledger.run, hint=hint
        )
    return step.network(build(ModelConfig, said, "model"))


def as_plain(passage: Passage, found: Sequence[Found]) -> dict[str, Plain]:
    """What a line of output says: what the passage said, and its entities."""
    entities = [
        {"start": e.start, "end": e.end, "type": e.type, "confidence": round(e.confidence, 4), "text": e.text}
        for e in found
    ]
    return {**passage.fields, "entities": entities}


@contextmanager
def sink(path: str | None) -> Iterator[TextIO]:
    """Where lines of output go: a file that is there once all is written, or standard output."""
    if path is None:
        yield sys.stdout
        return
    draft = Path(f"{path}~{uuid4().hex}")
    try:
        with draft.open("x", encoding="utf-8") as lines:
            yield lines
        draft.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", location=path, hint="name another file") from None
    finally:
        draft.unlink(missing_ok=True)


def counted(items: Iterable[T], console: Console) -> Iterator[T]:
    """The same, with a line in a terminal that says how many there were, and how many a second."""
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} read, {task.fields[rate]:,.0f} a second"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, rate=0.0)
        for item in items:
            yield item
            progress.update(task, advance=1, rate=progress.tasks[0].speed or 0.0)


def _told(passage: Passage, said: Sequence[Prediction]) -> list[Found]:
    """Entities of a passage's sentences, by characters where the passage came as text."""
    found: list[Found] = []
    for i, (words, prediction) in enumerate(zip(passage.sentences, said, strict=True)):
        for entity in sorted(prediction):
            start, end, text = entity.start, entity.end, " ".join(words[entity.start : entity.end])
            if passage.text is not None:
                start, end = passage.places[i][start][0], passage.places[i][end - 1][1]
                text = passage.text[start:end]
            found.append(Found(start, end, entity.type, prediction[entity], text))
    return found


def _seen(tokens: Tokens) -> int:
    """How many words, from the first, the encoder has a state for."""
    return int((tokens.starts >= 0).sum())


def _break(words: Words, reach: int) -> int:
    """Where to part a sentence within reach: after its last full stop there, if that lies in the second half."""
    ends = (end for end in range(reach, reach // 2, -1) if words[end - 1] in FULL_STOPS)
    return next(ends, reach)


def _moved(entity: Entity, begin: int) -> Entity:
    return Entity(entity.start + begin, entity.end + begin, entity.type)
