"""Adopted taggers: a Hugging Face token classifier as a network, its one linear layer as a linear head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raycner.errors import InputError
from raycner.hashing import fingerprint, plain
from raycner.networks.encoders.pretrained import PROJECTION, identity
from raycner.networks.heads.label_rows import LabelRows
from raycner.networks.hugging_face import HuggingFaceCheckpoint, on_this_machine
from raycner.networks.network import ModelConfig, Network
from raycner.registry import suggest
from raycner.settings import build

OTHER_HEAD = "add --by-predictions --text FOLDER: a first step then learns what it predicts in text of yours"
"""What can be done with a model whose head is not one linear layer."""


@dataclass(frozen=True)
class AdoptedTagger:
    """A token classifier, and the network that computes the same."""

    network: Network
    digest: str
    """Of the model's files, its labels and its architecture."""
    classifier: Any
    """The model as transformers has it."""
    tokenizer: Any
    labels: tuple[str, ...]
    """By row."""

    @classmethod
    def of(
        cls, checkpoint: HuggingFaceCheckpoint, labels: Sequence[str] = (), rename: Mapping[str, str] | None = None
    ) -> "AdoptedTagger":
        """The tagger of a checkpoint. `labels` are those of the rows, if not the checkpoint's own.

        Raises `InputError` for labels that are no scheme, and for more than one linear layer over the encoder.
        """
        classifier = checkpoint.token_classifier(hint=OTHER_HEAD)
        weight, bias = _linear_layer(classifier, checkpoint.path)
        projection = PROJECTION in dict(classifier.named_children())
        labels = _labels(classifier, labels, rename or {}, checkpoint.path)
        rows = LabelRows.of(labels, checkpoint.path)
        folder = Path(checkpoint.path).expanduser()
        path = str(folder.absolute()) if folder.is_dir() else checkpoint.path
        settings = {
            "encoder": {
                "name": "pretrained",
                "path": path,
                "projection": projection,
                "allow_pickle": checkpoint.allow_pickle,
            },
            "head": {"name": "linear", "scheme": rows.tag_set.scheme, "decoding": "argmax"},
        }
        config = build(ModelConfig, settings, "model")
        network = Network(config)
        network.head.load_shape(rows.tag_set.inventory)
        network.head.load_state_dict({**network.head.state_dict(), "rows": rows.arranged(weight, bias)})
        files = identity(on_this_machine(path) or path)
        digest = fingerprint({"adopted": 1, "files": files, "labels": labels, "model": plain(config, hashed=True)})
        return cls(network, digest, classifier, checkpoint.tokenizer(), tuple(labels))


def _linear_layer(classifier: Any, path: str) -> tuple[Tensor, Tensor]:
    """The weight [labels, H] and bias [labels] of the last layer, over the encoder and its projection, if any."""
    before = (classifier.base_model_prefix, PROJECTION)
    layers = {
        name: layer
        for name, layer in classifier.named_children()
        if name not in before and not isinstance(layer, nn.Dropout)
    }
    last = next(reversed(layers.values()), None)
    if len(layers) != 1 or not isinstance(last, nn.Linear):
        head = ", ".join(f"{name}: {type(layer).__name__}" for name, layer in layers.items()) or "none"
        what = f"the head of {type(classifier).__name__} is not one linear layer ({head})"
        raise InputError(what, location=path, hint=OTHER_HEAD)
    weight = last.weight.detach().cpu()
    return weight, torch.zeros(len(weight)) if last.bias is None else last.bias.detach().cpu()


def _labels(classifier: Any, labels: Sequence[str], rename: Mapping[str, str], path: str) -> list[str]:
    """The labels by row, with renamed types."""
    number = classifier.config.num_labels
    if labels and len(labels) != number:
        what = f"{len(labels)} labels for the {number} rows of the classifier"
        raise InputError(what, location="--labels", hint="give one label for each row, in order")
    named = list(labels) or [str(classifier.config.id2label[row]) for row in range(number)]
    types = LabelRows.of(named, path).types
    for name in rename:
        if name not in types:
            raise InputError(f"the model has no type {name!r}", location="--rename", hint=suggest(name, types))
    return [_renamed(label, types, rename) for label in named]


def _renamed(label: str, types: Sequence[str], rename: Mapping[str, str]) -> str:
    """A label with the new name of its type.

    >>> _renamed("B-PER", ["PER"], {"PER": "person"}), _renamed("O", ["PER"], {})
    ('B-person', 'O')
    """
    if label in types:
        return rename.get(label, label)
    prefix, dash, kind = label.partition("-")
    return f"{prefix}{dash}{rename.get(kind, kind)}"
