"""Token classifiers of Hugging Face as predictors: a checkpoint that transformers loads, with its labels as entities.

Sentences come in words. The label of a word is the most probable one of its first piece, and labels become entities as
in `raycner.data.entities.decode`: BIO, IOB1, BIOES, BILOU, bare types, in any order of rows. On BIO labels this is what
`transformers.pipeline("token-classification", aggregation_strategy="first")` answers for the same words.

Nothing of a checkpoint is executed: code of its own is refused, and weights are safetensors unless pickled ones are
allowed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from raycner.data.entities import OUTSIDE, decode, split_tag
from raycner.errors import InputError
from raycner.inference.predictor import PredictedEntity
from raycner.networks.devices import device
from raycner.networks.encoders.encoder import Words
from raycner.networks.hugging_face import HuggingFaceCheckpoint
from raycner.training.loader import eval_batches

LONGEST = 1 << 16
"""Pieces that an input may have where neither model nor tokenizer sets a limit."""
HINT = "name an exported step, or a folder or hub id of a Hugging Face token classifier"


class TokenClassifier:
    """A Hugging Face token classifier that finds entities in sentences of words."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model.eval().to(device())
        self._tokenizer = tokenizer
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        self._labels = [model.config.id2label[row] for row in range(model.config.num_labels)]
        self._reach = _reach(model, tokenizer)
        self.unread = 0
        """Words so far that lie beyond the model's longest input; nothing is predicted there."""

    @classmethod
    def load(cls, path: str, *, allow_pickle: bool = False) -> Self:
        """The classifier of a local folder or a hub id.

        `allow_pickle` also loads weights that are pickled (pytorch_model.bin). Raises `InputError` for what is no token
        classifier, lacks weights, or needs code of its own.
        """
        from transformers import AutoModelForTokenClassification

        checkpoint = HuggingFaceCheckpoint(
            path, location=path, problem="cannot load a token classifier", hint=HINT, allow_pickle=allow_pickle
        )
        refuse_other_checkpoints(checkpoint.settings(), path)
        model = checkpoint.model(AutoModelForTokenClassification, dtype=torch.float32)
        tokenizer = checkpoint.tokenizer()
        if not tokenizer.is_fast:
            hint = "convert the tokenizer to a fast one (tokenizer.json)"
            raise InputError("its tokenizer does not tell which pieces a word has", location=path, hint=hint)
        return checkpoint.read(lambda: cls(model, tokenizer))

    def __repr__(self) -> str:
        return f"TokenClassifier({type(self._model).__name__}, {len(self.types)} types: {', '.join(self.types)})"

    @property
    def types(self) -> tuple[str, ...]:
        """The types of its labels, in the order of their rows."""
        return tuple(dict.fromkeys(split_tag(label)[1] for label in self._labels if label != OUTSIDE))

    @property
    def decoder(self) -> str:
        """How its logits are decoded."""
        return "argmax"

    def words(self, sentences: Sequence[Words]) -> list[list[PredictedEntity]]:
        """The entities of sentences in words, with word offsets, in reading order.

        Raises `InputError` for a sentence that is a single string.
        """
        if any(isinstance(words, str) for words in sentences):
            raise InputError("a sentence in words is a list of strings", hint="pass a list of such lists")
        if not sentences:
            return []
        encoded = self._tokenizer(
            [list(words) for words in sentences],
            is_split_into_words=True,
            truncation=True,
            max_length=self._reach,
        )
        starts = [_starts(encoded.word_ids(i), len(words)) for i, words in enumerate(sentences)]
        self.unread += sum(_beyond(row) for row in starts)
        lengths = np.asarray([len(ids) for ids in encoded["input_ids"]], dtype=np.int64)
        entities: list[list[PredictedEntity]] = [[] for _ in sentences]
        for positions in eval_batches(np.arange(len(sentences)), lengths, device()):
            rows = positions.tolist()
            batch = {name: [values[i] for i in rows] for name, values in encoded.items()}
            inputs = self._tokenizer.pad(batch, return_tensors="pt").to(device())
            with torch.inference_mode():
                probabilities = self._model(**inputs).logits.float().softmax(-1).cpu().numpy()
            for i, scores in zip(rows, probabilities, strict=True):
                entities[i] = self._entities(sentences[i], starts[i], scores)
        return entities

    def _entities(
        self, words: Words, starts: NDArray[np.int64], probabilities: NDArray[np.float32]
    ) -> list[PredictedEntity]:
        """Entities from the label probabilities [L, C] of a sentence's pieces."""
        of_words = probabilities[starts.clip(min=0)]
        labels = [
            self._labels[row] if start >= 0 else OUTSIDE
            for row, start in zip(of_words.argmax(-1).tolist(), starts.tolist(), strict=True)
        ]
        certainty = of_words.max(-1)
        return [
            PredictedEntity(
                e.start, e.end, e.type, float(certainty[e.start : e.end].min()), " ".join(words[e.start : e.end])
            )
            for e in decode(labels)
        ]


def refuse_other_checkpoints(config: Mapping[str, Any], path: str) -> None:
    """Refuse a checkpoint that was saved for another task."""
    architectures = config.get("architectures")
    architectures = architectures if isinstance(architectures, list) else []
    if not any(str(name).endswith("ForTokenClassification") for name in architectures):
        what = f"no token classifier (architectures: {', '.join(map(str, architectures)) or 'none'})"
        raise InputError(what, location=path, hint=HINT)


def _reach(model: Any, tokenizer: Any) -> int:
    """The longest input in pieces, special ones included.

    A table of positions with a padding row (RoBERTa) counts positions from the row after it.
    """
    limits = [tokenizer.model_max_length, LONGEST]
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        embeddings = getattr(model.base_model, "embeddings", None)
        padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
        limits.append(positions - (0 if padding is None else padding + 1))
    return int(min(limits))


def _starts(word_ids: Sequence[int | None], length: int) -> NDArray[np.int64]:
    """[T] the first piece of each word; -1 of a word without one."""
    starts = np.full(length, -1, np.int64)
    for piece, word in reversed([*enumerate(word_ids)]):
        if word is not None:
            starts[word] = piece
    return starts


def _beyond(starts: NDArray[np.int64]) -> int:
    """How many words follow the last one that was read."""
    read = np.flatnonzero(starts >= 0)
    return len(starts) - (int(read[-1]) + 1 if len(read) else 0)
