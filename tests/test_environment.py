"""A step records what it was computed with, outside of its name."""

import platform
from pathlib import Path

import pytest
import torch

from raycner.training import environment as module
from raycner.training.environment import environment


def test_versions_are_those_of_this_process() -> None:
    versions = environment()
    assert versions["python"] == platform.python_version()
    assert versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert {"ray", "transformers", "numpy", "machine"} <= versions.keys()


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    assert module._commit() == ""
    (tmp_path / ".git").mkdir()  # broken
    assert module._commit() == ""
