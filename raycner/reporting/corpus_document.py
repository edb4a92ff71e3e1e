"""Inspected corpora for programs: what `raycner inspect --json` and `raycner prepare --json` print (schema 1).

    {"schema": 1, "corpora": [{"source": TEXT, "layout": TEXT, "fields": TEXT, "settings": {KEY: VALUE, ...},
      "fingerprint": TEXT or null, "types": [TEXT, ...], "notes": [TEXT, ...],
      "parts": {PART: {"files": [TEXT, ...], "sentences": N, "words": N, "longest": N, "entities": {TYPE: N, ...}},
                ...},
      "reach": null or {"pieces": N, "long": {PART: {"sentences": N, "words": N}, ...}, "unknown": N,
                        "examples": [TEXT, ...]}}, ...]}

PART is train, dev or test. "longest" counts words. "reach" tells what the encoder cannot read at once, where one was
given: sentences of more than "pieces", their words beyond, and occurrences of words that no piece stands for. A key may
be added under the same schema number; a key that changes or goes raises it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from raycner.data.inspection import CorpusContents, Reach
from raycner.hashing import plain

SCHEMA = 1


def document(corpora: Sequence[tuple[CorpusContents, Reach | None]]) -> dict[str, Any]:
    """Inspected corpora as plain data."""
    described = [asdict(contents) | {"reach": asdict(reach) if reach else None} for contents, reach in corpora]
    return {"schema": SCHEMA, "corpora": plain(described)}
