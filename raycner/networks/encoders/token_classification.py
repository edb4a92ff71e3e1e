"""A token classifier of transformers, filled with an encoder and a linear layer over its states.

Most are an encoder and a linear layer, whatever its name (`classifier`, `score`). Poolers play no part in their logits.
ModernBERT has a head between the two, norm(act(dense(h))), which is made the identity: its encoder ends with a layer
norm, h = w * x for x of mean 0 and variance 1, so that with dense = diag(1 / w), no activation and the weight w in the
head's own norm it returns h, up to rounding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

IDENTITY = {"classifier_activation": "linear"}
"""Settings of a configuration under which ModernBERT's head can be the identity."""


class Parts(NamedTuple):
    """What a token classifier consists of."""

    encoder: nn.Module
    rows: nn.Linear
    """A row a label."""
    dense: nn.Linear | None = None
    norm: nn.LayerNorm | None = None
    """ModernBERT's head."""

    @classmethod
    def of(cls, classifier: nn.Module, encoder: nn.Module) -> "Parts | None":
        """The parts of a classifier around an encoder of this kind; None if there are others."""
        inner = next((module for module in classifier.modules() if type(module) is type(encoder)), None)
        if inner is None:
            return None
        outer = list(_outside(classifier, inner))
        rows = outer[-1] if outer else None
        if not isinstance(rows, nn.Linear) or rows.bias is None:
            return None
        if len(outer) == 1:
            return cls(inner, rows)
        final = getattr(inner, "final_norm", None)
        match outer[:-1]:
            case [nn.Linear() as dense, nn.LayerNorm() as norm] if isinstance(final, nn.LayerNorm):
                is_plain = dense.bias is None and norm.bias is None and final.bias is None
                return cls(inner, rows, dense, norm) if is_plain else None
        return None

    @torch.no_grad()
    def fill(self, encoder: nn.Module, weight: Tensor, bias: Tensor) -> bool:
        """Give the parts these weights, weight [C, H] and bias [C]; False if they cannot have them."""
        missing, unexpected = self.encoder.load_state_dict(encoder.state_dict(), strict=False)
        if unexpected or any(not name.startswith("pooler.") for name in missing):
            return False
        for name in missing:
            self.encoder.get_parameter(name).zero_()
        self.rows.weight.copy_(weight)
        self.rows.bias.copy_(bias)
        if self.dense is not None and self.norm is not None:
            scale = self.encoder.get_parameter("final_norm.weight")
            if (scale == 0).any():
                return False
            self.dense.weight.copy_(torch.diag(1 / scale))
            self.norm.weight.copy_(scale)
        return True


def _outside(classifier: nn.Module, inner: nn.Module) -> Iterator[nn.Module]:
    """The modules of a classifier with parameters of their own that its encoder does not have, in order. An embedding
    outside the encoder, as T5 has one, is that of the encoder."""
    inside = {id(parameter) for parameter in inner.parameters()}
    for module in classifier.modules():
        own = any(id(parameter) not in inside for parameter in module.parameters(recurse=False))
        if own and not isinstance(module, nn.Embedding):
            yield module
