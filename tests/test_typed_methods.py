"""A typo in a method is an error of mypy, and a wrapper delegates every hook."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import raycner
from raycner.methods.dld import DLD
from raycner.methods.method import Method
from raycner.methods.wrapper import Wrapper

CONFIG = Path(raycner.__file__).parents[1] / "pyproject.toml"
SOURCE = '''
"""A method that distils logits."""

from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import LossSum


@METHODS.register("made_up")
class MadeUp(Method[TagOutput]):
    """KD on O."""

    heads = (TagHead,)

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        return {"logits": lambda output: output.logits}

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        z, z_old = student(batch).logits, teacher(batch).logits
        return {"kd": losses.distillation(z, z_old, where=batch.targets == O)}
'''
TYPOS = {
    "student(batch).logits, ": "student(batch).logitz, ",
    "where=batch.targets": "where=batch.colums",
    "teacher(batch).logits": "teacher(batch).nothing",
}


def errors(source: str, file: Path) -> list[str]:
    """The errors of mypy --strict in a file. Sources need names of their own: mypy's cache compares whole seconds."""
    file.write_text(source, encoding="utf-8")
    line = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(CONFIG), str(file)]
    checked = subprocess.run(line, cwd=CONFIG.parent, capture_output=True, text=True, timeout=240, check=False)
    return [message for message in checked.stdout.splitlines() if ": error: " in message]


def test_mypy_finds_every_typo_in_a_method(tmp_path: Path) -> None:
    assert errors(SOURCE, tmp_path / "sound.py") == []
    misspelt = SOURCE
    for right, wrong in TYPOS.items():
        misspelt = misspelt.replace(right, wrong)
    messages = errors(misspelt, tmp_path / "typos.py")
    assert len(messages) == 3, messages
    for word, message in zip(('"logitz"', '"nothing"', '"colums"'), messages, strict=True):
        assert f"has no attribute {word}" in message


def hooks(kind: type[Any]) -> dict[str, Any]:
    """The public properties and functions of a class."""
    members = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
    return {name: member for name, member in members.items() if isinstance(member, property) or callable(member)}


def test_there_are_hooks_to_delegate() -> None:
    assert {"annotate", "collate", "losses", "on_epoch_start", "teacher_outputs", "types"} <= hooks(Method).keys()


class Bare(Wrapper[Any]):
    """A wrapper that adds nothing."""

    name = "bare"


@pytest.mark.parametrize("hook", sorted(hooks(Method)))
def test_a_wrapper_delegates_every_hook_of_a_method(hook: str) -> None:
    """A hook that is added to `Method` and forgotten in `Wrapper` fails here."""
    base = Mock(spec=Method, label="base")
    member, delegated = hooks(Method)[hook], getattr(Bare(base=base), hook)
    if isinstance(member, property):
        assert delegated == "bare(base)" if hook == "label" else delegated is getattr(base, hook)
        return
    arguments = [Mock() for _ in list(inspect.signature(member).parameters)[1:]]
    assert delegated(*arguments) is getattr(base, hook).return_value
    getattr(base, hook).assert_called_once_with(*arguments)


def test_dld_extends_three_hooks_and_delegates_the_others() -> None:
    assert issubclass(DLD, Wrapper)
    assert vars(DLD).keys() & hooks(Method).keys() == {"teacher_outputs", "losses", "learns_partly"}
