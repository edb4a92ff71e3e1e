"""Continual named entity recognition: learn new entity types step by step, without forgetting the old ones, on Ray."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycner.api.adoption import adopt, adopt_by_predictions
    from raycner.api.aliases import Alias, Aliases, aliases, history, promote, rollback
    from raycner.api.annotation import AnnotationBatch, annotate
    from raycner.api.evaluations import Evaluation, evaluate
    from raycner.api.first_job import init
    from raycner.api.gates import Judgement, gate
    from raycner.api.inspections import Inspection, inspect, inspect_job
    from raycner.api.leaderboard import Leaderboard, leaderboard
    from raycner.api.planning import plan, prepare
    from raycner.api.reports import Report, compare, report
    from raycner.api.runs import Run, load_run, load_runs, run
    from raycner.api.searches import Search, forecast, search
    from raycner.api.serving import Server, serve
    from raycner.api.setting_list import describe_settings
    from raycner.api.stores import Store
    from raycner.api.watching import Drift, watch
    from raycner.config import RunConfig
    from raycner.errors import InputError
    from raycner.inference.predictor import Predictor
    from raycner.tuning.study import Study
    from raycner.version import __version__

__all__ = [
    "Alias",
    "Aliases",
    "AnnotationBatch",
    "Drift",
    "Evaluation",
    "InputError",
    "Inspection",
    "Judgement",
    "Leaderboard",
    "Predictor",
    "Report",
    "Run",
    "RunConfig",
    "Search",
    "Server",
    "Store",
    "Study",
    "__version__",
    "adopt",
    "adopt_by_predictions",
    "aliases",
    "annotate",
    "compare",
    "describe_settings",
    "evaluate",
    "forecast",
    "gate",
    "history",
    "init",
    "inspect",
    "inspect_job",
    "leaderboard",
    "load_run",
    "load_runs",
    "plan",
    "prepare",
    "promote",
    "report",
    "rollback",
    "run",
    "search",
    "serve",
    "watch",
]

_MODULES = {
    "Alias": "raycner.api.aliases",
    "Aliases": "raycner.api.aliases",
    "AnnotationBatch": "raycner.api.annotation",
    "Drift": "raycner.api.watching",
    "Evaluation": "raycner.api.evaluations",
    "InputError": "raycner.errors",
    "Judgement": "raycner.api.gates",
    "Inspection": "raycner.api.inspections",
    "Leaderboard": "raycner.api.leaderboard",
    "Predictor": "raycner.inference.predictor",
    "Report": "raycner.api.reports",
    "Run": "raycner.api.runs",
    "RunConfig": "raycner.config",
    "Search": "raycner.api.searches",
    "Server": "raycner.api.serving",
    "Store": "raycner.api.stores",
    "Study": "raycner.tuning.study",
    "__version__": "raycner.version",
    "adopt": "raycner.api.adoption",
    "adopt_by_predictions": "raycner.api.adoption",
    "aliases": "raycner.api.aliases",
    "annotate": "raycner.api.annotation",
    "compare": "raycner.api.reports",
    "describe_settings": "raycner.api.setting_list",
    "evaluate": "raycner.api.evaluations",
    "forecast": "raycner.api.searches",
    "gate": "raycner.api.gates",
    "history": "raycner.api.aliases",
    "init": "raycner.api.first_job",
    "inspect": "raycner.api.inspections",
    "inspect_job": "raycner.api.inspections",
    "leaderboard": "raycner.api.leaderboard",
    "load_run": "raycner.api.runs",
    "load_runs": "raycner.api.runs",
    "plan": "raycner.api.planning",
    "prepare": "raycner.api.planning",
    "promote": "raycner.api.aliases",
    "report": "raycner.api.reports",
    "rollback": "raycner.api.aliases",
    "run": "raycner.api.runs",
    "search": "raycner.api.searches",
    "serve": "raycner.api.serving",
    "watch": "raycner.api.watching",
}
"""Where each public name is defined. It is imported when it is first used, so `import raycner` stays fast."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
