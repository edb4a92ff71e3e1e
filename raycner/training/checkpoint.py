"""Step checkpoints: what a finished step leaves in the store."""

import json
import logging
from dataclasses import dataclass, fields

from safetensors.torch import load_file, save_file

from raycner.data.entities import TypeInventory
from raycner.hashing import Plain, plain
from raycner.networks.network import ModelConfig, Network
from raycner.settings import build
from raycner.storage.ledger import EvaluationRecord, TrainingRecord
from raycner.storage.scratch import scratch_folder
from raycner.storage.store import ObjectStore
from raycner.training import ranks
from raycner.training.plan import StepSpec

log = logging.getLogger(__name__)


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
        """The step of this name, if every byte of it is as it was committed; damage is logged.

        A collective call: rank 0 reads the bytes and broadcasts the result.
        """
        return ranks.broadcast_from_rank0(lambda: cls._look(store, fingerprint))

    @classmethod
    def _look(cls, store: ObjectStore, fingerprint: str) -> "StepCheckpoint | None":
        key = f"steps/{fingerprint}"
        if store.manifest(key) is None:
            return None
        damage = store.damage(key)
        if damage:
            log.warning("step %s is damaged and will be trained again: %s", fingerprint, damage)
            return None
        facts = json.loads(store.read(f"{key}/step.json"))
        record, evaluation = _split(facts["record"], carries=facts["spec"]["optim"]["calibration"] == "carried")
        return cls(
            store,
            fingerprint,
            build(TypeInventory, facts["inventory"], key),
            build(TrainingRecord, record, key),
            build(EvaluationRecord, evaluation, key) if evaluation else None,
        )

    @classmethod
    def commit(cls, store: ObjectStore, spec: StepSpec, network: Network, record: TrainingRecord) -> "StepCheckpoint":
        """Write a trained step; until the manifest is there, the step does not exist.

        A step that is committed and undamaged is not replaced, but returned.
        """
        committed = cls._look(store, spec.fingerprint)
        if committed is not None:
            return committed
        with scratch_folder() as folder:
            save_file(
                {k: v.contiguous().cpu() for k, v in network.state_dict().items()}, folder / "weights.safetensors"
            )
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
        """The network when the step ended; `config` says where its encoder's shape and tokenizer lie."""
        folder = self.store.local(f"steps/{self.fingerprint}")
        memory = json.loads((folder / "step.json").read_text(encoding="utf-8"))["memory"]
        return Network.restore(config, self.inventory, memory, load_file(folder / "weights.safetensors"))


def _split(record: dict[str, Plain], *, carries: bool) -> tuple[dict[str, Plain], dict[str, Plain]]:
    """The record of a step as training facts and counts; only version 0.1 stored counts with the step."""
    scored = {field.name for field in fields(EvaluationRecord)}
    counts = {key: value for key, value in record.items() if key in scored}
    training = {key: value for key, value in record.items() if key not in scored}
    if carries and counts.get("calibration"):
        training["carried"] = counts["calibration"]["delta"]
    return training, counts
