"""Lists of settings: what a job may set, with types, defaults and docstrings."""

from difflib import get_close_matches

from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.setting_docs import SettingDoc, setting_docs
from raycner.synonyms import synonym

FAMILIES = ("method", "model.encoder", "model.head", "scenario.corpus", "scenario.protocol")
"""Where a setting `name` chooses what other settings there are."""


def describe_settings(path: str = "") -> tuple[SettingDoc, ...]:
    """The settings at or below a dotted path; of all methods, heads, ... where it leads to them.

        raycner.describe_settings("optim")
        raycner.describe_settings("method.kd_weight")

    Raises `InputError` with the nearest setting where there is none.
    """
    docs = setting_docs(RunConfig, path.removesuffix(".name"))
    docs = tuple(doc for doc in docs if doc.name == path) if path.endswith(".name") else docs
    if not docs:
        raise InputError("no such setting", location=path, hint=_nearest(path))
    return docs


def _nearest(path: str) -> str:
    """The hint for a path that leads nowhere: a synonym, settings of this name elsewhere, or near names."""
    word = path.rpartition(".")[2]
    names = [doc.name for branch in ("", *FAMILIES) for doc in setting_docs(RunConfig, branch)]
    meant = synonym(word)
    same = sorted({name for name in names if name.rpartition(".")[2] == word})
    near = [meant] if meant else same or get_close_matches(path, names, n=1)
    return f"did you mean {' or '.join(near)}?" if near else "see `raycner settings`"
