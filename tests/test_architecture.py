"""Which module may import which, read from the source; and reports run without torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import raycner

PACKAGE = Path(raycner.__file__).parent
LAYERS = [
    ("errors", "version"),
    ("addresses", "console", "shipped"),
    ("hashing", "registry", "plugins"),
    ("renames", "synonyms"),
    ("yaml_text",),
    ("settings",),
    ("setting_docs",),
    ("storage",),
    ("events",),
    ("data",),
    ("callbacks",),
    ("networks",),
    ("methods",),
    ("config",),
    ("training",),
    ("evaluation",),
    ("orchestration",),
    ("tuning",),
    ("analysis",),
    ("reporting",),
    ("inference",),
    ("serving",),
    ("api",),
    ("cli", "__main__"),
]
"""Lowest first."""
HEIGHT = {subpackage: height for height, layer in enumerate(LAYERS) for subpackage in layer}
HEAVY = {"torch", "transformers", "ray", "optuna"}


class Edge(NamedTuple):
    """One import: the module that imports, where, and the module that is imported."""

    source: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@cache
def modules() -> dict[str, Path]:
    named = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("raycner", *path.relative_to(PACKAGE).with_suffix("").parts)
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


@cache
def edges() -> tuple[Edge, ...]:
    return tuple(edge for name, path in modules().items() for edge in imports(name, path))


def imports(module: str, path: Path) -> Iterator[Edge]:
    """Every import of a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Edge(module, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module if path.stem == "__init__" else module.rpartition(".")[0]
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield Edge(module, node.lineno, inner if inner in modules() else origin)


def subpackage(module: str) -> str:
    """The subpackage of a module: `data` for raycner.data.entities; a library is its own."""
    parts = module.split(".")
    return parts[1] if parts[0] == "raycner" and len(parts) > 1 else parts[0]


def ours(edge: Edge) -> bool:
    return edge.target.split(".")[0] == "raycner"


def none_of(offending: list[Edge]) -> None:
    assert not offending, "\n".join(map(str, offending))


def test_every_module_was_parsed() -> None:
    assert len(modules()) > 30
    assert Edge("raycner.methods.dld", 0, "raycner.networks.losses") in {edge._replace(line=0) for edge in edges()}
    assert {subpackage(module) for module in modules()} - set(HEIGHT) == {"raycner"}, "a subpackage without a layer"


def test_no_import_points_upwards() -> None:
    between = [
        edge
        for edge in edges()
        if subpackage(edge.source) in HEIGHT and subpackage(edge.target) in HEIGHT and ours(edge)
    ]
    none_of([edge for edge in between if HEIGHT[subpackage(edge.target)] > HEIGHT[subpackage(edge.source)]])


def test_the_package_imports_its_subpackages_lazily() -> None:
    code = "import sys, raycner; print(*sorted(m for m in sys.modules if m.startswith('raycner.')))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == ""


def test_no_module_imports_code_outside_the_package() -> None:
    none_of([edge for edge in edges() if edge.target.split(".")[0] in {"search_spaces", "jobs", "clusters", "tests"}])


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for edge in edges():
        if edge.target in graph:
            graph[edge.source].add(edge.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("ray", ("raycner.orchestration.", "raycner.tuning.", "raycner.inference.bulk", "raycner.serving.replicas")),
        (
            "transformers",
            (
                "raycner.networks.encoders.pretrained",
                "raycner.networks.heads.triplets",
                "raycner.networks.hugging_face",
                "raycner.inference.token_classifier",
                "raycner.inference.pipeline_check",
            ),
        ),
        ("optuna", ("raycner.tuning.",)),
        (
            "matplotlib",
            (
                "raycner.reporting.html.figures",
                "raycner.reporting.html.plots",
                "raycner.reporting.html.search_plots",
                "raycner.reporting.html.evaluation_plots",
            ),
        ),
        ("datasets", ("raycner.data.corpora", "raycner.data.scenarios.experience", "raycner.data.layouts.datasets")),
        ("seqeval", ("raycner.evaluation.seqeval_report",)),
        ("jinja2", ("raycner.reporting.html.page",)),
    ],
)
def test_a_library_is_imported_only_where_it_belongs(library: str, allowed: tuple[str, ...]) -> None:
    entering = [edge for edge in edges() if edge.target.split(".")[0] == library]
    none_of([edge for edge in entering if not edge.source.startswith(allowed)])


def test_the_lower_layers_import_nothing_heavy() -> None:
    light = {
        "errors",
        "addresses",
        "console",
        "yaml_text",
        "hashing",
        "registry",
        "plugins",
        "renames",
        "settings",
        "storage",
        "data",
        "analysis",
        "reporting",
    }
    heavy = [edge for edge in edges() if edge.target.split(".")[0] in HEAVY]
    none_of([edge for edge in heavy if subpackage(edge.source) in light])


def test_methods_import_neither_each_other_nor_training() -> None:
    files = [edge for edge in edges() if edge.source.startswith("raycner.methods.")]
    none_of(
        [
            edge
            for edge in files
            if edge.target.startswith("raycner.methods.")
            and "__init__" not in edge.source
            and edge.target not in {"raycner.methods.method", "raycner.methods.wrapper"}
        ]
    )
    own = [edge for edge in edges() if subpackage(edge.source) == "methods" and ours(edge)]
    none_of([edge for edge in own if subpackage(edge.target) in {"storage", "config", "training", "orchestration"}])


def test_heads_do_not_import_methods() -> None:
    none_of([e for e in edges() if e.source.startswith("raycner.networks.heads") and subpackage(e.target) == "methods"])


def test_code_that_composes_networks_names_no_kind_of_head() -> None:
    """Class attributes of a head state what it supports."""
    heads = [edge for edge in edges() if edge.target.startswith("raycner.networks.heads.")]
    composers = ("raycner.config", "raycner.networks.network", "raycner.inference.", "raycner.training.")
    named = [edge for edge in heads if edge.source.startswith(composers)]
    none_of([edge for edge in named if edge.target != "raycner.networks.heads.head"])


def test_planning_is_pure() -> None:
    reached = [edge for edge in edges() if edge.source == "raycner.training.plan" and ours(edge)]
    none_of([edge for edge in reached if subpackage(edge.target) == "storage"])


def test_no_module_has_a_vague_name() -> None:
    nameless = {"util", "utils", "common", "base", "helper", "helpers", "misc", "core"}
    paths = [path.relative_to(PACKAGE) for path in modules().values()]
    assert not [str(path) for path in paths if nameless & {*path.parts, path.stem}]


def test_a_report_on_the_terminal_draws_nothing() -> None:
    drawing = {"matplotlib", "jinja2", "datasets", "seqeval"}
    code = f"import sys, raycner.__main__; print(*sorted({drawing!r} & sys.modules.keys()))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == ""


@pytest.mark.parametrize(
    "subpackages",
    [
        ("raycner.storage", "raycner.data"),
        ("raycner.analysis", "raycner.reporting"),
        ("raycner.__main__", "raycner.cli"),
    ],
)
def test_reports_answer_where_there_is_no_torch(subpackages: tuple[str, ...]) -> None:
    inside = [m for m in modules() if m.startswith(subpackages)]
    code = f"import importlib, sys\nfor m in {inside}: importlib.import_module(m)\n"
    code += f"print(*sorted({HEAVY!r} & sys.modules.keys()))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout.strip(), process.stderr) == (0, "", "")


CODE_FROM_DATA = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
"""Libraries whose loading runs what the data says."""


def test_no_module_loads_pickles() -> None:
    none_of([edge for edge in edges() if edge.target.split(".")[0] in CODE_FROM_DATA])


def test_no_module_runs_text() -> None:
    """Plugins, which the user names, are the one way by which code enters."""
    offending = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" | "__import__" as called)):
                    offending.append(f"{name}:{node.lineno} calls {called}")
                case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load" | "unsafe_load" | "full_load")):
                    offending.append(f"{name}:{node.lineno} loads YAML with constructors")
                case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
                    offending.append(f"{name}:{node.lineno} calls torch.load")
                case ast.Call(func=ast.Attribute(attr="exec_module")) if name != "raycner.plugins":
                    offending.append(f"{name}:{node.lineno} runs a module")
                case ast.keyword(arg="trust_remote_code", value=value) if ast.unparse(value) != "False":
                    offending.append(f"{name}:{value.lineno} trusts code of a checkpoint")
    assert not offending, "\n".join(offending)


def test_every_door_of_transformers_refuses_code() -> None:
    """Whoever loads from a path or builds from a configuration of another says trust_remote_code=False."""
    trusting = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="from_pretrained" | "from_config"), keywords=keywords):
                    if "trust_remote_code" not in {keyword.arg for keyword in keywords}:
                        trusting.append(f"{name}:{node.lineno}")
    assert not trusting, "\n".join(trusting)
