"""The folder of a drill: what lies there, and what must be the same after every kill."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from raycner.storage.aliases import find_alias
from raycner.storage.housekeeping import damages, leftovers
from raycner.storage.store import ObjectStore

AGE = 2 * 3600.0
"""Seconds by which a drill ages what a kill left: old enough to count as abandoned."""
BY_THE_CLOCK = ("seconds", "numerics", "version")
"""Fields of records that may differ between two runs of one line."""
OF_OTHERS = re.compile(r"pymp-|torchinductor_|[a-z0-9_]{8}\Z")
"""Names of temporary files that are not raycner's: of a cluster's head, which a drill ends by SIGKILL, and the file by
which Python's tempfile tries a folder."""


def copy(template: Path, place: Path) -> None:
    """Make a place that is like the template, times included."""
    shutil.rmtree(place, ignore_errors=True)
    if template.exists():
        shutil.copytree(template, place)
    for folder in ("out", "tmp", "cache"):
        (place / folder).mkdir(parents=True, exist_ok=True)


def age(place: Path) -> None:
    """Make everything look older than the time after which it counts as abandoned."""
    before = time.time() - AGE
    for folder, _, names in os.walk(place, topdown=False):
        for name in names:
            os.utime(Path(folder, name), (before, before), follow_symlinks=False)
        os.utime(folder, (before, before))


def committed(place: Path) -> dict[str, int]:
    """Each committed step that is whole, and when it was committed."""
    store = ObjectStore(str(place / "store"))
    manifests = place.glob("store/steps/*/MANIFEST")
    return {
        path.parent.name: path.stat().st_mtime_ns for path in manifests if not store.damage(f"steps/{path.parent.name}")
    }


def state(place: Path) -> dict[str, Any]:
    """Everything that a drill compares: each file of the store and of the outputs, without times.

    What `store gc` removes is removed first.
    """
    store = ObjectStore(str(place / "store"))
    for leftover in leftovers(store, unused_days=1e6):
        leftover.remove()
    facts: dict[str, Any] = dict(_contents(place))
    facts["damages"] = [str(damage) for damage in damages(store, lambda _: None)]
    facts["temporary"] = sorted(p.name for p in (place / "tmp").iterdir() if not OF_OTHERS.match(p.name))
    return facts


def _contents(place: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(p for folder in ("store", "out") for p in (place / folder).rglob("*") if p.is_file()):
        name = path.relative_to(place).as_posix()
        kind = name.split("/")[1]
        match path.suffix:
            case _ if path.name == "MANIFEST" or path.name == "journal.log":
                yield name, "exists"
            case ".html" | ".md":
                yield name, path.read_text(encoding="utf-8").rstrip().endswith(("</html>", "```")) or path.suffix
            case ".json" if kind == "aliases":
                alias = find_alias(ObjectStore(str(place / "store")), name.split("/")[2])
                yield f"alias {name.split('/')[2]}", alias and (alias.address, alias.fingerprint)
            case ".json" if path.name == "search.json":
                yield name, _search(json.loads(path.read_bytes()))
            case ".json":
                yield name, _timeless(json.loads(path.read_bytes()), str(place))
            case _:
                yield name, hashlib.sha256(path.read_bytes()).hexdigest()


def _search(record: dict[str, Any]) -> Any:
    """A search without the numbers of its trials, and without what a killed one has to do again."""
    for one in record["rounds"]:
        for trial in one["trials"]:
            trial.update(dict.fromkeys(("number", "trained", "shared")))
        one["trials"].sort(key=lambda trial: json.dumps(trial["settings"]))
    return _timeless(record, "")


def _timeless(value: Any, place: str) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item, place) for key, item in value.items() if key not in BY_THE_CLOCK}
    if isinstance(value, list):
        return [_timeless(item, place) for item in value]
    return value.replace(place, "PLACE") if isinstance(value, str) and place else value
