"""The files that come with raycner: jobs, clusters and search spaces, read where the working directory has none.

In a wheel they lie inside the package, in a checkout next to it.
"""

import logging
from pathlib import Path

log = logging.getLogger(__name__)
FOLDERS = ("jobs", "clusters", "search_spaces")
PACKAGE = Path(__file__).parent


def local_or_shipped(path: str) -> str:
    """A path as it is, or that of the shipped file if no file is there: `jobs/demo.yaml` in an empty folder.

    A note says when the shipped file is read.
    """
    file = _shipped(path)
    if file is None or Path(path).exists():
        return path
    log.warning("%s is not in this folder; the one that comes with raycner is read", path)
    return str(file)


def shipped(path: str) -> Path:
    """A file that comes with raycner. Raises `FileNotFoundError`."""
    file = _shipped(path)
    if file is None:
        raise FileNotFoundError(path)
    return file


def _shipped(path: str) -> Path | None:
    parts = Path(path).parts
    if not parts or parts[0] not in FOLDERS or ".." in parts:
        return None
    candidates = (root.joinpath(*parts) for root in (PACKAGE / "shipped_files", PACKAGE.parent))
    return next((file for file in candidates if file.is_file()), None)
