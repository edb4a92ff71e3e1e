"""The log of texts, where it is asked for: each answered text with its entities, one JSON object a line.

    {"time": "2026-11-26T22:04:05.123456+00:00", "model": RUN:STEP, "text": TEXT, "entities": [...]}

Each replica appends to a file of its own, which only its user can read. Lines begin with the time, so that `sort`
merges the files of replicas.
"""

import json
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from raycner.errors import InputError
from raycner.serving.answer import Answer


class TextLog:
    """A file of a folder, to which one process appends. Raises `InputError` where it cannot."""

    def __init__(self, folder: str) -> None:
        path = Path(folder) / f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}.jsonl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            what = f"cannot be written ({error.strerror})"
            raise InputError(what, location=f"--log-texts {folder}", hint="name a folder of your own") from None
        self._lines = os.fdopen(descriptor, "a", encoding="utf-8")

    def write(self, texts: Sequence[str], answers: Sequence[Answer]) -> None:
        """Append the texts of one request."""
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        for text, answer in zip(texts, answers, strict=True):
            entities = [{"start": e.start, "end": e.end, "type": e.type} for e in answer.entities]
            line = {"time": time, "model": answer.model, "text": text, "entities": entities}
            self._lines.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._lines.flush()
