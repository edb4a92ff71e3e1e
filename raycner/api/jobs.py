"""Jobs: what the functions of the API accept as a job, and how overrides are laid over it.

    "jobs/demo.yaml"                              a config file
    ["jobs/demo.yaml", "clusters/a.yaml", "seed=3"]    config files and KEY=VALUE overrides, as on the command line
    {"scenario": {"order": ["city"]}, "method.name": "finetuning"}    nested or dotted settings
    RunConfig(...)                                a complete configuration

Overrides are dotted settings in a mapping, `{"method.name": "finetuning"}`, or config files and KEY=VALUE overrides in
a list. Settings without a dot may also be keywords: `seed=3`, `store="s3://bucket/store"`, `optim={"epochs": 5}`.
"""

import logging
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TypeAlias

from raycner.config import RunConfig, read
from raycner.hashing import Plain, plain
from raycner.settings import merge, nested, renamed

log = logging.getLogger(__name__)
Configs: TypeAlias = Sequence[str | PathLike[str]]
Job: TypeAlias = str | PathLike[str] | Configs | Mapping[str, object] | RunConfig
Overrides: TypeAlias = Configs | Mapping[str, object]


def load_config(job: Job, overrides: Overrides = (), settings: Mapping[str, object] | None = None) -> RunConfig:
    """A job with its overrides, complete and checked. Raises `InputError` naming the setting that is wrong."""
    return RunConfig.from_settings(load_settings(job, overrides, settings), {})


def load_settings(
    job: Job, overrides: Overrides = (), settings: Mapping[str, object] | None = None
) -> dict[str, Plain]:
    """A job with its overrides, as nested settings."""
    if isinstance(job, RunConfig):
        base = plain(job)
    elif isinstance(job, Mapping):
        base = overlay({}, job)
    elif isinstance(job, str | PathLike):
        base = read([fspath(job)])
    else:
        base = overlay({}, job)
    return overlay(overlay(base, overrides), settings or {})


def overlay(base: Mapping[str, Plain], overrides: Overrides) -> dict[str, Plain]:
    """Nested settings with overrides laid over them, in order; later ones win."""
    if not isinstance(overrides, Mapping):
        return read([fspath(config) for config in overrides], base)
    for key, value in overrides.items():
        base = merge(base, renamed(nested(key, plain(value)), log.warning), note=log.warning)
    return dict(base)
