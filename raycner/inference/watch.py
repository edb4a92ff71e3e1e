"""Watching: what a step computes of new text, window by window, against held-out text of its own corpora.

The reference is dev and test of the corpora of a run: on its training sentences a network is surer than on any other.
Only the vocabulary is of the training sentences.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from raycner.analysis.drift import Candidate, DriftMeasure, DriftReport, TextSample
from raycner.data.corpora import Corpus
from raycner.data.passages import Passage
from raycner.data.sources import Part
from raycner.errors import InputError
from raycner.inference.candidates import Floats, Probe, directions
from raycner.inference.predictor import Predictor, SentenceReading
from raycner.networks.encoders.encoder import Words
from raycner.storage.ledger import RunLedger
from raycner.storage.store import ObjectStore

REFERENCE_SENTENCES = 2000
"""At most so many, drawn by chance."""
HELD_OUT: tuple[Part, ...] = ("dev", "test")
UNSURE = 0.5
"""An entity of less confidence does not keep a word from being a candidate."""
TYPE_NAMES = (
    *("person", "organization", "location", "product", "event", "time", "quantity", "money", "animal", "plant"),
    *("food", "drug", "chemical", "disease", "symptom", "gene", "protein", "cell", "organ", "tissue", "organism"),
    *("vehicle", "weapon", "software", "device", "material", "substance", "book", "film", "song", "game", "sport"),
    *("team", "language", "law", "nationality", "religion", "profession", "politician", "artist", "building"),
    *("country", "city", "river", "mountain", "address", "website", "method", "task", "theory", "award", "field"),
)
"""Names that are proposed for new types."""


@dataclass(frozen=True)
class ReferenceText:
    """Sentences that text is compared with, and the words that are known from training."""

    source: str
    sentences: tuple[tuple[str, ...], ...]
    vocabulary: frozenset[str]
    """In lower case."""


def held_out(ledger: RunLedger, steps: int, store: ObjectStore, seed: int) -> ReferenceText:
    """Dev and test sentences of the corpora of a run's first steps.

    Raises `InputError` where the store has none, as of an adopted model.
    """
    fingerprints = {corpus.fingerprint for corpus in ledger.corpora[:steps]} or {c.fingerprint for c in ledger.corpora}
    vocabulary: set[str] = set()
    places: list[tuple[Corpus, Part, int]] = []
    for fingerprint in sorted(fingerprints):
        try:
            corpus = Corpus.open(store, fingerprint)
        except InputError:
            continue
        for row in range(len(corpus["train"])):
            vocabulary.update(word.lower() for word in corpus["train"].words(row))
        places += [(corpus, part, row) for part in HELD_OUT for row in range(len(corpus[part]))]
    if not (places and vocabulary):
        hint = "name text of the usual kind: --reference FILES"
        raise InputError("the store has no text that it was trained on", location=ledger.run, hint=hint)
    draw = random.Random(seed)
    chosen = sorted(draw.sample(range(len(places)), min(REFERENCE_SENTENCES, len(places))))
    sentences = (places[i][0][places[i][1]].words(places[i][2]) for i in chosen)
    return ReferenceText("dev and test of its corpora", tuple(sentences), frozenset(vocabulary))


def given(passages: Iterable[Passage], seed: int) -> ReferenceText:
    """Sentences of files: one half is the reference, the words of the other half are the known ones."""
    sentences = list(_sentences(passages))
    if len(sentences) < 2:
        raise InputError("fewer than two sentences", location="--reference", hint="name files with more text")
    random.Random(seed).shuffle(sentences)
    half = len(sentences) // 2
    vocabulary = frozenset(word.lower() for sentence in sentences[half:] for word in sentence)
    return ReferenceText("--reference", tuple(sentences[:half][:REFERENCE_SENTENCES]), vocabulary)


def watch(
    predictor: Predictor, model: str, reference: ReferenceText, passages: Iterable[Passage], size: int
) -> DriftReport:
    """The drift of passages in windows of `size` sentences; a rest of less than half a window belongs to the last one.

    Raises `InputError` for passages without a sentence.
    """
    readings = predictor.readings(reference.sentences)
    reader = _Reader(predictor, _entity_probe(readings), reference.vocabulary)
    measure = DriftMeasure(predictor.types, reader.sample(reference.sentences, readings), reader.name)
    windows, first = [], 1
    for sentences in _windows(_sentences(passages), size):
        windows.append(measure.window(first, reader.sample(sentences, predictor.readings(sentences))))
        first += len(sentences)
    if not windows:
        raise InputError("no sentence in them", location="watch", hint="name files with text")
    notes = ["no candidates of new types: the reference has no entity"] if reader.probe is None else []
    return DriftReport(model, reference.source, measure.reference, tuple(windows), tuple(notes))


def _sentences(passages: Iterable[Passage]) -> Iterator[tuple[str, ...]]:
    return (tokens for passage in passages for tokens in passage.sentences if tokens)


def _windows(sentences: Iterator[tuple[str, ...]], size: int) -> Iterator[list[tuple[str, ...]]]:
    window = list(islice(sentences, size))
    while window:
        following = list(islice(sentences, size))
        if following and len(following) < size / 2:
            window, following = window + following, []
        yield window
        window = following


def _entity_probe(readings: Sequence[SentenceReading]) -> Probe | None:
    """What tells words of entities, of whatever type, from others; None where there are none of either."""
    inside = [_covered(reading, UNSURE) for reading in readings]
    entities = [reading.states[mask] for reading, mask in zip(readings, inside, strict=True)]
    others = [reading.states[~mask] for reading, mask in zip(readings, inside, strict=True)]
    positives, negatives = (np.concatenate(states).astype(np.float64) for states in (entities, others))
    return Probe.between(positives, negatives) if len(positives) and len(negatives) else None


def _covered(reading: SentenceReading, least: float) -> NDArray[np.bool_]:
    """[T] the words in entities of at least this confidence."""
    mask = np.zeros(len(reading.states), dtype=np.bool_)
    for entity, confidence in reading.prediction.items():
        if confidence >= least:
            mask[entity.start : entity.end] = True
    return mask


def _rows(lengths: Sequence[int]) -> NDArray[np.int64]:
    """The number of the sentence of each of its items."""
    return np.repeat(np.arange(len(lengths)), lengths)


@dataclass(frozen=True)
class _Reader:
    """Reduces readings to what drift is measured by."""

    predictor: Predictor
    probe: Probe | None
    vocabulary: frozenset[str]

    def sample(self, sentences: Sequence[Words], readings: Sequence[SentenceReading]) -> TextSample:
        types = np.concatenate([reading.probabilities for reading in readings])
        outside = np.clip(1 - types.sum(1, keepdims=True), 0, 1)
        posteriors = np.concatenate([outside, types], axis=1)
        words = [word for sentence in sentences for word in sentence if word.isalpha()]
        return TextSample(
            sentences=len(sentences),
            words=sum(map(len, sentences)),
            unknown=sum(word.lower() not in self.vocabulary for word in words),
            confidences=np.array([p for reading in readings for p in reading.prediction.values()], np.float64),
            confidence_rows=_rows([len(reading.prediction) for reading in readings]),
            posteriors=posteriors / posteriors.sum(1, keepdims=True),
            word_rows=_rows([len(reading.states) for reading in readings]),
            candidates=tuple(
                candidate for pair in zip(sentences, readings, strict=True) for candidate in self._candidates(*pair)
            ),
        )

    def _candidates(self, sentence: Words, reading: SentenceReading) -> Iterator[Candidate]:
        if self.probe is None:
            return
        likely = self.probe.balanced(reading.states) > 0
        states = directions(reading.states.astype(np.float64), self.probe.mean)
        for place in np.flatnonzero(likely & ~_covered(reading, UNSURE)).tolist():
            if any(map(str.isalnum, sentence[place])):
                yield Candidate(sentence[place], tuple(sentence), place, states[place])

    def name(self, words: Sequence[str]) -> str:
        """The nearest of `TYPE_NAMES` by the encoder's embeddings, or the most frequent word."""
        vectors = self.predictor.vectors([*words, *TYPE_NAMES])
        if vectors is None:
            return words[0]
        x: Floats = directions(vectors.astype(np.float64), vectors[len(words) :].mean(0, dtype=np.float64))
        return TYPE_NAMES[int((x[len(words) :] @ x[: len(words)].mean(0)).argmax())]
