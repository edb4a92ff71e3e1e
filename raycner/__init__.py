"""Continual named entity recognition: learn new entity types step by step, without forgetting the old ones, on Ray."""

__version__ = "0.1.0"
