"""What a step was computed with: versions of Python and of the packages that decide the last digits, and the commit."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "ray", "transformers", "numpy")
CHECKOUT = Path(__file__).parents[2]


@cache
def environment() -> dict[str, str]:
    """Name -> version; `commit` where raycner is used from a checkout with git."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = _commit()
    return versions | ({"commit": commit} if commit else {})


def _commit() -> str:
    """The commit of the checkout, with a plus sign if files differ from it; empty outside of one."""
    if not (CHECKOUT / ".git").exists():
        return ""
    try:
        head = _git("rev-parse", "HEAD")
        return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no", "--", "raycner") else head
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*words: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
