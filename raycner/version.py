"""The version of raycner, as `pyproject.toml`, ledgers, pages and model cards state it."""

__version__ = "0.2.0.dev0"
