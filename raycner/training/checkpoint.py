"""Step checkpoints: what a finished step leaves in the store."""

import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from raycner.data.entities import TypeInventory
from raycner.hashing import plain
from raycner.networks.network import ModelConfig, Network
from raycner.settings import build
from raycner.storage.ledger import StepRecord
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
    record: StepRecord

    @classmethod
    def find(cls, store: ObjectStore, fingerprint: str) -> "StepCheckpoint | None":
        """The step of this name, if every byte of it is as it was committed. Damage is said aloud and not believed.

        All ranks ask together: rank 0 reads those bytes, and the others are told.
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
        said = json.loads(store.read(f"{key}/step.json"))
        inventory = build(TypeInventory, said["inventory"], key)
        return cls(store, fingerprint, inventory, build(StepRecord, said["record"], key))

    @classmethod
    def commit(cls, store: ObjectStore, spec: StepSpec, network: Network, record: StepRecord) -> "StepCheckpoint":
        """Write what the step left; until the manifest is there, the step does not exist."""
        with tempfile.TemporaryDirectory(prefix="raycner-") as scratch:
            folder = Path(scratch)
            save_file(
                {k: v.contiguous().cpu() for k, v in network.state_dict().items()}, folder / "weights.safetensors"
            )
            said = {
                "spec": plain(spec),
                "inventory": plain(network.inventory),
                "memory": network.encoder.memory(),
                "record": plain(record),
            }
            (folder / "step.json").write_text(json.dumps(said, sort_keys=True, indent=1), encoding="utf-8")
            store.push(folder, f"steps/{spec.fingerprint}")
        return cls(store, spec.fingerprint, network.inventory, record)

    def network(self, config: ModelConfig) -> Network:
        """The network as it stood when the step ended; `config` says where its encoder's shape and tokenizer lie."""
        folder = self.store.local(f"steps/{self.fingerprint}")
        memory = json.loads((folder / "step.json").read_text(encoding="utf-8"))["memory"]
        return Network.restore(config, self.inventory, memory, load_file(folder / "weights.safetensors"))
