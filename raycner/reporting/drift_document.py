"""Drift for programs: what `raycner watch --json` prints (schema 1).

    {"schema": 1, "model": TEXT, "source": TEXT, "flagged": BOOL, "notes": [TEXT, ...],
     "reference": {"sentences": N, "words": N, "unknown": SHARE, "confidence": P, "priors": {TYPE: SHARE, ...}},
     "windows": [{"first": N, "sentences": N, "words": N, "unknown": SHARE, "confidence": P or null,
       "confidence_psi": X, "priors": {TYPE: SHARE, ...}, "prior_psi": X, "flags": [TEXT, ...],
       "new_types": [{"name": TEXT, "sentences": N, "before": X, "p_value": P, "words": [TEXT, ...],
                      "examples": [TEXT, ...]}, ...]}, ...]}

Priors are shares of words. Flags are "unknown words", "confidence", "types" and "new type". A key may be added under
the same schema number; a key that changes or goes raises it.
"""

import math
from dataclasses import asdict
from typing import Any

from raycner.analysis.drift import DriftReport
from raycner.hashing import plain

SCHEMA = 1


def document(report: DriftReport) -> dict[str, Any]:
    """A drift report as plain data."""
    return {"schema": SCHEMA, "flagged": report.flagged, **_finite(plain(asdict(report)))}


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
