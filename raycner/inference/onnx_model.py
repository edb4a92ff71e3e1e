"""ONNX: an exported token classifier as one graph, for runtimes that have neither torch nor transformers.

    model.onnx    input_ids, attention_mask [batch, sequence] -> logits [batch, sequence, labels]

It lies next to the files that transformers loads, where `optimum` looks for it too. It needs the extra `onnx`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raycner.errors import InputError

FILE = "model.onnx"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "logits"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra installs."""
HINT = "pip install 'raycner[onnx]'"
LARGEST = 1 << 30
"""Bytes of weights in the graph itself; more are in a file next to it, as protobuf ends at two GiB."""
TOLERANCE = 1e-3
"""The most by which a logit may differ, of the largest one or of 1."""
SHAPES = ((1, 1), (2, 9), (3, 5))
"""Sentences and pieces of the batches that are compared, next to a long one; the graph is traced on another shape."""
LONGEST = 1024
"""The most pieces that are compared: beyond a few hundred, some networks attend to neighbours alone."""


def missing_packages() -> list[str]:
    """The packages of the extra that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def require_packages() -> None:
    """Raise `InputError` unless the extra is installed."""
    if missing := missing_packages():
        raise InputError(f"ONNX needs {' and '.join(missing)}", location="--onnx", hint=HINT)


def write_onnx(classifier: Any, folder: Path, reach: int) -> None:
    """Write a token classifier of transformers as `model.onnx`, and compare both on random pieces. It reads `reach`
    pieces at once.

    Raises `InputError` where torch has no graph of it, and where the logits of the two differ.
    """
    network = _Logits(classifier.cpu()).eval()
    name = type(classifier).__name__
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                _inputs(classifier.config, 2, 7),
                input_names=INPUTS,
                output_names=[OUTPUT],
                dynamic_shapes=tuple({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for _ in INPUTS),
                dynamo=True,
                verbose=False,
            )
            size = sum(tensor.nbytes for tensor in network.state_dict().values())
            program.save(folder / FILE, external_data=size > LARGEST)  # type: ignore[union-attr]
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        what = f"torch has no ONNX graph of {name} ({str(error).strip().partition(chr(10))[0][:100]})"
        raise InputError(what, location="--onnx", hint="export without --onnx") from error
    difference = _difference(network, folder / FILE, reach)
    if not difference <= TOLERANCE:
        what = f"the ONNX graph of {name} has other logits, by {difference:.1e} of the largest"
        raise InputError(what, location="--onnx", hint="export without --onnx")


class _Logits(nn.Module):
    """A token classifier whose output is the logits alone."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.classifier(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def _inputs(config: Any, sentences: int, pieces: int) -> tuple[Tensor, Tensor]:
    """Random pieces; the last sentence is padded, if it has more than one piece."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (sentences, pieces), generator=generator)
    padding = config.pad_token_id or 0
    ids[ids == padding] = (padding + 1) % config.vocab_size
    attend = torch.ones_like(ids)
    ids[-1, 1 + pieces // 2 :], attend[-1, 1 + pieces // 2 :] = padding, 0
    return ids, attend


def _difference(network: _Logits, file: Path, reach: int) -> float:
    """The largest difference of a logit of a piece, of the largest logit or of 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    differences = []
    for shape in (*SHAPES, (1, min(reach, LONGEST))):
        ids, attend = _inputs(network.classifier.config, *shape)
        with torch.no_grad():
            expected = network(ids, attend).numpy()
        (actual,) = session.run([OUTPUT], {"input_ids": ids.numpy(), "attention_mask": attend.numpy()})
        is_piece = attend.numpy().astype(bool)
        difference = np.abs(actual - expected)[is_piece].max()
        differences.append(float(difference / max(1.0, np.abs(expected)[is_piece].max())))
    return float(np.max(differences))  # NaN where one is


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of torch's exporter, which concern torch alone."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
