"""Export: a trained step as a folder that transformers loads, or else the Predictor.

    a tag head on a pretrained encoder   transformers.pipeline("token-classification") loads the folder
                                         with onnx, an ONNX graph lies next to it
    anything else                        raycner.json, weights.safetensors and the encoder's files, for Predictor.load

Either folder has a model card. Weights are safetensors, and a folder is complete or absent.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from raycner.analysis.provenance import threshold_note
from raycner.analysis.scores import scores
from raycner.config import EvalConfig, RunConfig
from raycner.data.metrics import micro
from raycner.errors import InputError
from raycner.hashing import plain
from raycner.inference.model_card import Form, Rights, card
from raycner.inference.onnx_model import LONGEST, require_packages, write_onnx
from raycner.inference.predictor import DESCRIPTION, ENCODER, WEIGHTS
from raycner.inference.trained_step import TrainedStep, experience_of, load_step
from raycner.networks.network import ModelConfig, Network
from raycner.storage.durable_files import output_folder
from raycner.storage.store import ObjectStore
from raycner.training.counting import ReadOut, count_read_outs
from raycner.training.loader import SplitLoader


def export_form(model: ModelConfig) -> Form:
    """What will load an export of a network with these settings, as far as they tell: the encoder's files are read,
    and not its weights. Raises `InputError` where they are missing."""
    return "pipeline" if model.head.is_linear and model.encoder.has_classifier() else "predictor"


def export(
    address: str,
    folder: Path,
    store: ObjectStore,
    encoder: str | None = None,
    rights: Rights = Rights(),
    *,
    onnx: bool = False,
) -> Form:
    """Write the step RUN or RUN:STEP to a folder that is new or empty; returns the form of the export.

    `onnx` also writes an ONNX graph. Raises `InputError` when the folder is not empty, when there is no such step, and
    where a graph is asked for and cannot be written.
    """
    if onnx:
        require_packages()
    with output_folder(folder) as draft:
        step = load_step(address, store, encoder)
        step = replace(step, network=step.network.merged())
        network = step.network
        layer = network.head.as_linear(step.new_type_bias)
        classifier = layer and network.encoder.classifier(layer.labels, layer.weight, layer.bias)
        if layer is None or classifier is None:
            if onnx:
                what = "transformers has no such network, so there is no ONNX graph of it"
                raise InputError(what, location=address, hint="export without --onnx")
            form: Form = "predictor"
            differences: Sequence[str] = ()
            _write_description(step, draft)
        else:
            form, differences = "pipeline", (*layer.differences, *_cost_of_a_pipeline(step, store))
            network.encoder.save_frame(draft)
            classifier.save_pretrained(draft)
            if onnx:
                pieces = network.encoder.pieces(())
                write_onnx(classifier, draft, pieces.limit if pieces else LONGEST)
        notes = [*differences, *_threshold_note(step, form)]
        text = card(scores(step.ledger), step.record.index, form, notes, rights, onnx=onnx)
        (draft / "README.md").write_text(text, encoding="utf-8")
    return form


def _cost_of_a_pipeline(step: TrainedStep, store: ObjectStore) -> Iterator[str]:
    """How a pipeline's reading scores on the step's own dev, and how raycner's does: a sentence for the card.

    Nothing where both read alike, or where the store has lost the corpus.
    """
    network, record, argmax = step.network, step.record, EvalConfig(decoding="argmax")
    if not argmax.overrides(network.config.head) and step.thresholds is None:
        return
    config = RunConfig.recorded(step.ledger.config)
    try:
        dev = experience_of(config, store, step.ledger, record).dev
    except InputError:
        return
    read_out = ReadOut(step.new_type_bias)
    model = replace(network.config, head=argmax.head(network.config.head))
    pipeline = Network.restore(model, network.inventory, network.encoder.memory(), network.state_dict())

    def score(reader: Network, thresholds: Mapping[str, float] | None) -> float:
        loaders = [SplitLoader(part, reader) for part in dev]
        (counts,) = count_read_outs(reader, loaders, [read_out], thresholds=thresholds)
        return 100 * micro(counts, record.seen)

    ours, theirs = score(network, step.thresholds.values if step.thresholds else None), score(pipeline, None)
    points = f"{abs(ours - theirs):.1f} points of micro-F1 {'less' if theirs <= ours else 'more'}"
    yield f"On dev of this step a pipeline reads {points}: {theirs:.1f} instead of {ours:.1f}."


def _threshold_note(step: TrainedStep, form: Form) -> Iterator[str]:
    """What a model card says of thresholds, if there are any."""
    if step.thresholds is not None:
        note = f"raycner's {threshold_note(step.thresholds)}."
        yield note if form == "predictor" else f"{note} A pipeline has none, and finds the less confident ones too."


def _write_description(step: TrainedStep, folder: Path) -> None:
    """The folder that `Predictor.load` reads."""
    network = step.network
    description: dict[str, Any] = {
        "schema": 1,
        "model": plain(network.config),
        "inventory": plain(network.inventory),
        "memory": network.encoder.memory(),
        "new_type_bias": step.new_type_bias,
        "thresholds": plain(step.thresholds),
        "run": step.ledger.run,
        "step": step.record.index + 1,
    }
    for part in ("encoder", "head"):
        for key in ("path", "vectors"):
            if description["model"][part].get(key) is not None:
                description["model"][part][key] = ENCODER if key == "path" else None
    (folder / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=1), encoding="utf-8")
    save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, folder / WEIGHTS)
    (folder / ENCODER).mkdir()
    network.encoder.save_frame(folder / ENCODER)
