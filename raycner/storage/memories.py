"""Memories in a store: which step a memory is of, and until when it may be kept."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from raycner.errors import InputError
from raycner.storage.store import ObjectStore

FILE = "memory.json"


@dataclass(frozen=True)
class MemoryRecord:
    """memories/MEMORY/memory.json."""

    step: str
    """Fingerprint of the step whose sentences these are."""
    until: date | None
    """The last day on which they may be kept."""

    def write(self, folder: Path) -> None:
        """Write it into the folder of a memory."""
        facts = {"step": self.step, "until": self.until and self.until.isoformat()}
        (folder / FILE).write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def read(cls, store: ObjectStore, key: str) -> "MemoryRecord":
        """The record of the memory at `key`. Raises `InputError` if it is damaged."""
        try:
            return _RECORDS.validate_json(store.read(f"{key}/{FILE}"))
        except (FileNotFoundError, ValidationError):
            hint = "remove the memory: it is chosen again from the corpus"
            raise InputError("no readable memory.json", location=f"{store}/{key}", hint=hint) from None

    @property
    def is_over(self) -> bool:
        """Whether the last day has passed."""
        return self.until is not None and date.today() > self.until


_RECORDS = TypeAdapter(MemoryRecord)
