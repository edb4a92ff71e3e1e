"""Annotation: sentences with the entities that a step suggests, in the order of how much their correction would teach.

A sentence is worth what its best candidate is worth: likely a mention of a new type, and uncertain,

    value(s) = max_w p_w + h(p_w),   h(p) = -p log2 p - (1 - p) log2 (1 - p)

and sentences are chosen one by one, each the best next to those before it:

    score(s) = value(s) (1 - DIVERSITY max_c cos(x_s, x_c)),   x: the direction of the candidate's state

p is of `candidates`. Sources: uncertainty sampling (Lewis and Gale 1994), maximal marginal relevance (Carbonell and
Goldstein 1998).
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raycner.data.annotated import read_annotated
from raycner.data.annotation_tools import SuggestedText, Suggestion
from raycner.data.passages import Passage
from raycner.data.words import spelt, words
from raycner.errors import InputError
from raycner.inference.candidates import Candidates, Floats, Probe, directions, mentions, probe_of
from raycner.inference.predictor import Predictor, SentenceReading

SENTENCES_AT_A_TIME = 1024
BACKGROUND = 300
"""Sentences of the texts, drawn by chance, whose words are negatives of a probe."""
DIVERSITY = 0.5
"""How much of its value a sentence loses next to one with the same candidate."""
CONSIDERED = 20
"""So many times the sentences that are asked for, those of the highest value, are compared with each other."""


@dataclass(frozen=True, slots=True)
class RankedSentence:
    """A sentence, its suggested entities, and how much its correction would teach."""

    text: str
    suggestions: tuple[Suggestion, ...]
    score: float
    candidate: str
    """The word that decided."""
    probability: float
    """How likely it is a mention of a new type."""

    def suggested(self, model: str) -> SuggestedText:
        """The sentence as annotation tools are given it."""
        return SuggestedText(self.text, self.suggestions, self.score, model)


@dataclass(frozen=True)
class Ranking:
    """The best sentences of texts, the best first."""

    sentences: tuple[RankedSentence, ...]
    read: int
    """The number of distinct sentences that were read."""
    examples: int
    """The number of example sentences that a new type was recognised by."""


@dataclass(frozen=True)
class _Valued:
    """A sentence with its best candidate."""

    sentence: "_Text"
    suggestions: tuple[Suggestion, ...]
    value: float
    word: int
    probability: float
    state: NDArray[np.float32]


@dataclass(frozen=True)
class _Text:
    """A sentence as text, and the places of its words there."""

    text: str
    words: tuple[str, ...]
    places: tuple[tuple[int, int], ...]


Marked = tuple[tuple[str, ...], list[bool]]
"""The words of a sentence, and which of them are mentions."""


def rank(
    predictor: Predictor,
    passages: Iterable[Passage],
    types: Sequence[str],
    examples: str | list[list[Marked]],
    top: int,
    seed: int,
) -> Ranking:
    """The `top` sentences of passages that teach most about `types`, with what a step suggests.

    `examples` are an annotated file, mentions with commas between them, or marked sentences of each type that the step
    has not learned; they may be empty. Raises `InputError` for examples without a mention, and for passages without a
    sentence.
    """
    texts = _distinct(passages)
    if not texts:
        raise InputError("no sentence in them", location="annotate", hint="name files with text")
    unlearned = [kind for kind in types if kind not in predictor.types]
    groups = _examples(texts, unlearned, examples) if isinstance(examples, str) else examples
    probes = tuple(_probes(predictor, texts, groups, seed))
    columns = tuple(predictor.types.index(kind) for kind in types if kind in predictor.types)
    valued = list(_valued(predictor, texts, Candidates(columns, probes)))
    return Ranking(tuple(_diverse(valued, top)), len(texts), sum(map(len, groups)))


def value(probability: Floats) -> Floats:
    """p + h(p): what a candidate teaches. Largest at p = 2/3."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(p - p * np.log2(p) - (1 - p) * np.log2(1 - p))


def _distinct(passages: Iterable[Passage]) -> list[_Text]:
    """The sentences of passages, each text once."""
    texts: dict[str, _Text] = {}
    for passage in passages:
        for number, tokens in enumerate(passage.sentences):
            if not tokens:
                continue
            if passage.text is None:
                sentence = " ".join(tokens)
            else:
                places = passage.places[number]
                sentence = passage.text[places[0][0] : places[-1][1]]
            if sentence not in texts:
                of_text = tuple(words(sentence))
                texts[sentence] = _Text(sentence, spelt(sentence, of_text), of_text)
    return [text for text in texts.values() if text.words]


def _valued(predictor: Predictor, texts: Sequence[_Text], candidates: Candidates) -> Iterator[_Valued]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, SENTENCES_AT_A_TIME)):
        for text, reading in zip(chunk, predictor.readings([text.words for text in chunk]), strict=True):
            probabilities = candidates(reading)
            values = value(probabilities)
            word = int(values.argmax())
            yield _Valued(
                text,
                tuple(_suggestions(text, reading)),
                float(values[word]),
                word,
                float(probabilities[word]),
                reading.states[word].copy(),
            )


def _suggestions(text: _Text, reading: SentenceReading) -> Iterator[Suggestion]:
    for entity in sorted(reading.prediction):
        start, end = text.places[entity.start][0], text.places[entity.end - 1][1]
        yield Suggestion(start, end, entity.type, reading.prediction[entity])


def _diverse(valued: Sequence[_Valued], top: int) -> Iterator[RankedSentence]:
    """The best sentences, each next to those chosen before it."""
    valued = sorted(valued, key=lambda one: -one.value)[: CONSIDERED * top]
    if not valued:
        return
    states = np.stack([one.state for one in valued]).astype(np.float64)
    x = directions(states, states.mean(0))
    values = np.asarray([one.value for one in valued])
    nearest = np.zeros(len(valued))
    left = np.ones(len(valued), dtype=bool)
    for _ in range(min(top, len(valued))):
        scores = np.where(left, values * (1 - DIVERSITY * nearest), -np.inf)
        best = int(scores.argmax())
        left[best] = False
        nearest = np.maximum(nearest, x @ x[best])
        one = valued[best]
        word = one.sentence.words[one.word]
        yield RankedSentence(one.sentence.text, one.suggestions, float(scores[best]), word, one.probability)


def _probes(
    predictor: Predictor, texts: Sequence[_Text], groups: Sequence[Sequence[Marked]], seed: int
) -> Iterator[Probe]:
    """A probe for each group of examples."""
    background = random.Random(seed).sample(texts, min(BACKGROUND, len(texts)))
    for group in groups:
        readings = predictor.readings([tokens for tokens, _ in group])
        sentences = {tokens for tokens, _ in group}
        more = predictor.readings([text.words for text in background if text.words not in sentences])
        yield probe_of(zip(readings, (mentioned for _, mentioned in group), strict=True), more)


def _examples(texts: Sequence[_Text], types: Sequence[str], examples: str) -> list[list[Marked]]:
    """The example sentences of each type, where they are annotated; of all types together, where they are mentions."""
    if not examples:
        return []
    if Path(examples).is_file():
        return _annotated_examples(examples, types)
    return [_mentioned(texts, [mention.strip() for mention in examples.split(",")])]


def _annotated_examples(file: str, types: Sequence[str]) -> list[list[Marked]]:
    """The sentences of an annotated file with each type."""
    groups = []
    for kind in types:
        group = []
        for sentence in read_annotated([file]).sentences:
            inside = [False] * len(sentence.words)
            for entity in sentence.entities:
                if entity.type == kind:
                    inside[entity.start : entity.end] = [True] * (entity.end - entity.start)
            if any(inside):
                group.append((sentence.words, inside))
        if not group:
            hint = "annotate some mentions of it there, or write mentions: --examples 'iPhone 15,Walkman'"
            raise InputError(f"no entity of type {kind!r} in it", location=file, hint=hint)
        groups.append(group)
    return groups


def _mentioned(texts: Sequence[_Text], names: Sequence[str]) -> list[Marked]:
    """The sentences of texts in which one of these mentions occurs, whatever its case."""
    sought: dict[str, set[tuple[str, ...]]] = {}
    for name in names:
        mention = tuple(word.lower() for word in spelt(name, words(name)))
        if mention:
            sought.setdefault(mention[0], set()).add(mention)
    marked = [(text.words, mentions(text.words, sought)) for text in texts]
    group = [(tokens, inside) for tokens, inside in marked if any(inside)]
    if not group:
        hint = "write mentions that occur in the texts, or name a file in which some are annotated"
        raise InputError(
            "none of these occurs in the texts, and there is no such file", location="--examples", hint=hint
        )
    return group
