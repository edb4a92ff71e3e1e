"""The pages of the Python API, one per public module; mkdocstrings fills them from the docstrings.

The modules are read as text by griffe: nothing is imported, so torch is not needed.
"""

from typing import Any

PAGES = {
    "runs": ("Runs", "raycner.api.runs"),
    "adoption": ("Adopting a model", "raycner.api.adoption"),
    "annotation": ("Annotating", "raycner.api.annotation"),
    "gates": ("Gates", "raycner.api.gates"),
    "aliases": ("Aliases", "raycner.api.aliases"),
    "serving": ("Serving", "raycner.api.serving"),
    "watching": ("Watching", "raycner.api.watching"),
    "reports": ("Reports and comparisons", "raycner.api.reports"),
    "evaluations": ("Evaluations", "raycner.api.evaluations"),
    "searches": ("Searches", "raycner.api.searches"),
    "study": ("Studies", "raycner.tuning.study"),
    "first_job": ("First jobs", "raycner.api.first_job"),
    "inspections": ("Inspections", "raycner.api.inspections"),
    "leaderboard": ("Leaderboards", "raycner.api.leaderboard"),
    "setting_list": ("Lists of settings", "raycner.api.setting_list"),
    "planning": ("Corpora and plans", "raycner.api.planning"),
    "stores": ("Stores", "raycner.api.stores"),
    "jobs": ("Jobs and overrides", "raycner.api.jobs"),
    "predictor": ("Predictor", "raycner.inference.predictor"),
    "config": ("Configuration", "raycner.config"),
    "events": ("Events", "raycner.events"),
    "errors": ("Errors", "raycner.errors"),
    "method": ("Writing a method", "raycner.methods.method"),
    "head": ("Writing a head", "raycner.networks.heads.head"),
    "encoder": ("Writing an encoder", "raycner.networks.encoders.encoder"),
    "layout": ("Writing a layout", "raycner.data.layouts.layout"),
    "protocol": ("Writing a protocol", "raycner.data.scenarios.protocol"),
    "experience": ("What a step sees", "raycner.data.scenarios.experience"),
    "scenario": ("Scenarios", "raycner.data.scenarios.scenario"),
    "losses": ("Losses", "raycner.networks.losses"),
}
"""Name of the page -> its title and its module."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages; MkDocs calls it once per build."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"python/{name}.md", content=text))
    return files


def pages() -> dict[str, str]:
    """Every page, by its name."""
    return {name: f"# {title}\n\n::: {module}\n" for name, (title, module) in PAGES.items()}
