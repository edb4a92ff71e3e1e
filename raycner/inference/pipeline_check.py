"""Pipeline check: whether an adopted step predicts what `transformers.pipeline` predicts, entity by entity.

Both read sentences in words. Of the pipeline, the label of the first piece of each word counts, and labels become
entities as in `raycner.data.entities.decode`. On BIO labels and words without punctuation this is its
`aggregation_strategy="first"`.
"""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from raycner.data.entities import OUTSIDE, Entity, decode
from raycner.evaluation.agreement import Agreement
from raycner.inference.predictor import Predictor
from raycner.networks.adopted_tagger import AdoptedTagger
from raycner.networks.encoders.encoder import Words

MARKS = "\u0120\u2581"
"""What tokenizers write for a space before a piece."""
WORDS = range(3, 19)
"""How many words a made sentence has."""


def compare_with_pipeline(tagger: AdoptedTagger, sentences: Sequence[Words]) -> Agreement:
    """Compare the network of a tagger with the token classifier that it was made from."""
    readable = [
        tuple(words)
        for words, tokens in zip(sentences, tagger.network.tokenize(sentences), strict=True)
        if len(words) and (tokens.starts >= 0).all()
    ]
    theirs = _by_pipeline(tagger, readable) if readable else []
    ours = Predictor(tagger.network).words(readable) if readable else []
    entities = [tuple(Entity(e.start, e.end, e.type) for e in predicted) for predicted in ours]
    return Agreement.of(readable, theirs, entities, too_long=len(sentences) - len(readable))


def made_sentences(tokenizer: Any, number: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Sentences of words that are one or two pieces of the vocabulary, drawn at random."""
    pieces = sorted({piece.strip(MARKS) for piece in tokenizer.get_vocab()})
    letters = [piece for piece in pieces if piece.isalpha()] or ["a"]
    draw = random.Random(seed)
    lengths = [draw.choice(WORDS) for _ in range(number)]
    return [
        tuple("".join(draw.choices(letters, k=draw.choice((1, 1, 2)))) for _ in range(length)) for length in lengths
    ]


def _by_pipeline(tagger: AdoptedTagger, sentences: Sequence[Words]) -> list[tuple[Entity, ...]]:
    from transformers import pipeline

    model = tagger.classifier
    model.config.id2label = dict(enumerate(tagger.labels))
    find = pipeline("token-classification", model=model, tokenizer=tagger.tokenizer, ignore_labels=[], device="cpu")
    labelled = find([[*words] for words in sentences], is_split_into_words=True, delimiter=" ")
    return [_entities(words, pieces) for words, pieces in zip(sentences, labelled, strict=True)]


def _entities(words: Words, pieces: Sequence[Any]) -> tuple[Entity, ...]:
    """The entities of labelled pieces, by the first piece of each word."""
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    labels = [OUTSIDE] * len(words)
    word = len(words)
    for piece in reversed(pieces):
        while starts[word] > piece["start"]:
            word -= 1
        labels[word] = piece["entity"]
    return tuple(decode(labels))
