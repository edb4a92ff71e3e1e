"""Step checkpoints: what a finished step leaves in the store."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from safetensors.torch import save_file

from raycner.data.entities import TypeInventory
from raycner.errors import InputError
from raycner.hashing import Plain, plain
from raycner.networks.network import ModelConfig, Network
from raycner.networks.weights import load_weights
from raycner.settings import build
from raycner.storage.documents import Document
from raycner.storage.ledger import EvaluationRecord, TrainingRecord
from raycner.storage.scratch import scratch_folder
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.plan import StepSpec

log = logging.getLogger(__name__)
HEX = re.compile(r"[0-9a-f]{64}")
"""A digest of files; hub ids stand for themselves."""


@dataclass(frozen=True)
class _Optim:
    calibration: str


@dataclass(frozen=True)
class _Adapters:
    rank: int = 0


@dataclass(frozen=True)
class _Encoder:
    adapters: _Adapters | None = None


@dataclass(frozen=True)
class _Model:
    encoder: _Encoder


@dataclass(frozen=True)
class _Spec:
    optim: _Optim
    model: _Model
    encoder: str = ""


@dataclass(frozen=True)
class _Facts:
    """What is read of step.json."""

    spec: _Spec
    inventory: Mapping[str, Any]
    record: Mapping[str, Any]
    memory: Any = None


_FACTS = Document(_Facts, "step", "remove the step's folder, and run again: it is trained again")


@dataclass(frozen=True)
class StepCheckpoint:
    """A committed step: steps/<fingerprint>/{weights.safetensors, step.json, MANIFEST}, the manifest written last."""

    store: ObjectStore
    fingerprint: str
    inventory: TypeInventory
    record: TrainingRecord
    default_evaluation: EvaluationRecord | None = None
    """What version 0.1 stored with the step: its evaluation as `EvalConfig()` asks for it."""

    @classmethod
    def find(cls, store: ObjectStore, fingerprint: str) -> "StepCheckpoint | None":
        """The step of this name, if it is as it was committed; damage is logged.

        A collective call: rank 0 looks and broadcasts the result. It reads every byte of a folder's step; of an object
        store's the sizes, since the node that needs the weights checks them when it fetches them.
        """
        return ranks.broadcast_from_rank0(lambda: cls._look(store, fingerprint))

    @classmethod
    def _look(cls, store: ObjectStore, fingerprint: str) -> "StepCheckpoint | None":
        key = f"steps/{fingerprint}"
        manifest = store.manifest(key)
        if manifest is None:
            return None
        damage = store.quick_damage(key, manifest)
        if damage:
            log.warning("step %s is damaged and will be trained again: %s", fingerprint, damage)
            return None
        try:
            facts = _FACTS.parse(store, f"{key}/step.json", store.read_file(key, "step.json", manifest))
            record, evaluation = _split(dict(facts.record), carries=facts.spec.optim.calibration == "carried")
            return cls(
                store,
                fingerprint,
                build(TypeInventory, facts.inventory, key),
                build(TrainingRecord, record, key),
                build(EvaluationRecord, evaluation, key) if evaluation else None,
            )
        except InputError as error:
            log.warning("step %s is damaged and will be trained again: %s", fingerprint, error)
            return None

    @classmethod
    def commit(cls, store: ObjectStore, spec: StepSpec, network: Network, record: TrainingRecord) -> "StepCheckpoint":
        """Write a trained step; until the manifest is there, the step does not exist.

        A step that is committed and undamaged is not replaced, but returned.
        """
        committed = cls._look(store, spec.fingerprint)
        if committed is not None:
            return committed
        with scratch_folder() as folder:
            weights = network.state_dict() | network.statistics.weights()
            save_file({k: v.contiguous().cpu() for k, v in weights.items()}, folder / "weights.safetensors")
            facts = {
                "spec": plain(spec),
                "inventory": plain(network.inventory),
                "memory": network.encoder.memory(),
                "record": plain(record),
            }
            (folder / "step.json").write_text(json.dumps(facts, sort_keys=True, indent=1), encoding="utf-8")
            store.push(folder, f"steps/{spec.fingerprint}")
        return cls(store, spec.fingerprint, network.inventory, record)

    def network(self, config: ModelConfig) -> Network:
        """The network when the step ended; `config` says where its encoder's shape and tokenizer lie.

        Raises `InputError` for weights that are not those of such a network, and where the checkpoint holds adapters
        and the encoder there is not the one that they adapt.
        """
        key = f"steps/{self.fingerprint}"
        folder = self.store.local(key)
        facts = _FACTS.read(self.store, f"{key}/step.json")
        _require_base(config, facts.spec, self.fingerprint)
        weights = load_weights(folder / "weights.safetensors")
        return Network.restore(config, self.inventory, facts.memory, weights, f"{self.store}/{key}")


def _require_base(config: ModelConfig, spec: _Spec, step: str) -> None:
    """Raise `InputError` unless the weights that a step leaves out are those that `config` names."""
    adapters = spec.model.encoder.adapters
    rank = adapters.rank if adapters else 0
    if (rank > 0) != config.encoder.keeps_base:
        what = f"step {step} was trained {'with' if rank else 'without'} adapters"
        hint = f"set model.encoder.adapters.rank={rank}"
        raise InputError(what, location="model.encoder.adapters", hint=hint)
    if rank and HEX.match(spec.encoder) and spec.encoder != config.identity():
        what = f"step {step} adapts the weights of another encoder"
        raise InputError(what, location="model.encoder.path", hint="name the folder that it was trained with")


def _split(record: dict[str, Plain], *, carries: bool) -> tuple[dict[str, Plain], dict[str, Plain]]:
    """The record of a step as training facts and counts; only version 0.1 stored counts with the step."""
    scored = {field.name for field in fields(EvaluationRecord)}
    counts = {key: value for key, value in record.items() if key in scored}
    training = {key: value for key, value in record.items() if key not in scored}
    calibration = counts.get("calibration")
    if carries and isinstance(calibration, Mapping):
        training["carried"] = calibration.get("delta")
    return training, counts
