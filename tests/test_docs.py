"""The documentation: its examples are true, its links lead somewhere, and the reference leaves nothing out.

`make docs` builds the site, and fails at a warning; nothing here needs MkDocs.
"""

import dataclasses
import doctest
import importlib
import importlib.util
import inspect
import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbclient
import nbformat
import pytest
import yaml

import raycner
from raycner.data.layouts.layout import LAYOUTS
from raycner.data.scenarios.scenario import PROTOCOLS
from raycner.methods.method import METHODS
from raycner.networks.encoders.encoder import ENCODERS
from raycner.networks.heads.head import HEADS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WITH_EXAMPLES = sorted(path for path in (ROOT / "raycner").rglob("*.py") if ">>> " in path.read_text("utf-8"))
PAGES = sorted(DOCS.glob("*.md"))


def hook(name: str) -> ModuleType:
    """One of the small programs that MkDocs runs."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "hooks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOKS = ("reference", "sections", "python_api", "notebook", "command_line", "equations")
reference, sections, python_api, notebook, command_line, equations = map(hook, HOOKS)


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    """Every page as MkDocs gets it, by its path."""
    written = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    shown = {name: reference.on_page_markdown(sections.on_page_markdown(text)) for name, text in written.items()}
    shown |= {f"reference/{name}.md": text for name, text in reference.pages().items()}
    shown |= {f"python/{name}.md": text for name, text in python_api.pages().items()}
    return shown | {"tutorial.md": notebook.page(), "reference/command_line.md": command_line.page()}


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_docstrings_are_true(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    tried = doctest.testmod(module)
    assert tried.attempted and not tried.failed


def test_the_menu_names_every_page_and_no_other(site: dict[str, str]) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(leaves(config["nav"])) == sorted(site)


def leaves(menu: Any) -> list[str]:
    if isinstance(menu, str):
        return [menu]
    return [leaf for entry in (menu.values() if isinstance(menu, dict) else menu) for leaf in leaves(entry)]


def test_nothing_is_loaded_from_elsewhere() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert config["theme"]["font"] is False
    assert "://" not in (DOCS / "page.css").read_text(encoding="utf-8")


def test_every_link_leads_to_a_heading(site: dict[str, str]) -> None:
    headings = {name: set(map(slug, re.findall(r"^#+ (.+)$", unfenced(text), re.M))) for name, text in site.items()}
    links = [(name, link) for name, text in site.items() for link in re.findall(r"\]\(([^)\s]+)\)", unfenced(text))]
    assert len(links) > 20
    for name, link in links:
        if "://" in link or (DOCS / "pictures" / Path(link).name).is_file():
            continue
        page, _, anchor = link.partition("#")
        assert not page or page in headings, f"{name}: {link}"
        assert not anchor or anchor in headings[page or name], f"{name}: {link}"


def unfenced(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def slug(heading: str) -> str:
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_a_page_takes_from_elsewhere_is_there(path: Path, site: dict[str, str]) -> None:
    assert not re.search(r"^\{\{", site[path.name], re.M)


def test_the_typeset_equations_are_those_of_the_docstrings() -> None:
    """Every equation of a method or head has a typeset form, and no form has outlived its equation."""
    prose = " ".join("".join(path.read_text("utf-8") for path in (ROOT / "raycner").rglob("*.py")).split())
    unused = [plain for plain in equations.equations() if " ".join(plain.split()) not in prose]
    kinds = (*METHODS.values(), *HEADS.values())
    modules = {inspect.getmodule(base) for kind in kinds for base in kind.__mro__ if base.__module__[:7] == "raycner"}
    fences = [re.findall(r"^``` .*?\n(.*?)\n```$", reference.prose(module.__doc__), re.M | re.S) for module in modules]
    plain_text = [block for blocks in fences for block in blocks if equations.is_equation(block)]
    assert not unused and len(plain_text) > 15
    assert not [block for block in plain_text if block not in equations.equations()]


def test_an_equation_becomes_mathematics() -> None:
    pytest.importorskip("latex2mathml")
    rows = [equations.row_html(row) for rows in equations.equations().values() for row in rows]
    assert not [row for row in rows if "\\" in row or "$" in row or "merror" in row]
    page = SimpleNamespace(file=SimpleNamespace(src_uri="reference/methods.md"))
    plain = "L = mean over all words of CE(z, y)"
    block = f'<div class="no-copy highlight"><pre><span></span><code>{plain}\n</code></pre></div>'
    shown = equations.on_page_content(f"{block}<p>z is 1 - cos(f, f'), and no loss.</p>", page)
    assert shown.count("<math") == 3 and plain not in shown and "<p>z is <math" in shown
    page.file.src_uri = "faq.md"
    assert equations.on_page_content(block, page) == block


def test_the_messages_that_are_explained_exist() -> None:
    """The constant part of each heading is in the source."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "raycner").rglob("*.py"))
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (.+)$", page, re.M)
    messages = [message for heading in headings for message in re.findall(r"`(.+?)`", heading)]
    assert len(messages) > 10
    for message in messages:
        parts = re.split(r"\.\.\.|'.*?'|\w+=\d+|\d+|[BI]-x|;", message)
        assert max(parts, key=len).strip(" ?") in source, message


def test_every_promise_names_a_test() -> None:
    page = (DOCS / "security.md").read_text(encoding="utf-8")
    tests = re.findall(r"`((?:drills/)?test_\w+\.py)::(test_\w+)`", page)
    assert len(tests) > 30
    for file, name in tests:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), f"{file}::{name}"


@pytest.mark.parametrize("module", [module for _, module in python_api.PAGES.values()])
def test_a_public_module_documents_all_that_it_offers(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__doc__
    own = {name: value for name, value in vars(loaded).items() if getattr(value, "__module__", None) == module}
    documented = [value for name, value in own.items() if inspect.isclass(value) or inspect.isfunction(value)]
    assert documented and not [value for value in documented if value.__name__[0] != "_" and not value.__doc__]


def test_every_public_name_has_a_page() -> None:
    modules = {module for _, module in python_api.PAGES.values()}
    assert {getattr(raycner, name).__module__ for name in raycner.__all__ if name != "__version__"} <= modules


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first cell to its last; its saved outputs name no folder of the machine that made them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    written = nbformat.read(notebook.NOTEBOOK, as_version=4)
    assert "/tmp/" not in json.dumps(written)
    nbclient.NotebookClient(written, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in written.cells for output in cell.get("outputs", ())]
    assert not [output for output in shown if output["output_type"] == "error"]
    text = [output["data"]["text/plain"] for output in shown if "text/plain" in output.get("data", {})]
    assert any("product" in "".join(plain) for plain in text)
    assert any("image/png" in output.get("data", {}) for output in shown)


def test_a_heading_that_is_gone_is_noticed() -> None:
    with pytest.raises(LookupError, match="no heading 'Nowhere'"):
        sections.section("CONTRIBUTING.md", "Nowhere")


@pytest.mark.parametrize(
    ("page", "kinds", "path"),
    [
        ("methods", METHODS, "method"),
        ("heads", HEADS, "model.head"),
        ("encoders", ENCODERS, "model.encoder"),
        ("layouts", LAYOUTS, "scenario.corpus"),
        ("protocols", PROTOCOLS, "scenario.protocol"),
    ],
)
def test_the_reference_has_every_kind_and_every_setting(page: str, kinds: dict[str, Any], path: str) -> None:
    text = reference.pages()[page]
    for name, kind in kinds.items():
        (own,) = re.findall(rf"^## {name}$(.*?)(?=^## |\Z)", text, re.M | re.S)
        for field in dataclasses.fields(kind):
            assert f"`{path}.{field.name}`" in own


def test_a_docstring_keeps_its_equations_and_is_otherwise_prose() -> None:
    text = reference.prose("A sum of * and _.\n\n    L = a * b\n      + c\n\nSee `a * b`.")
    assert "A sum of \\* and \\_." in text
    assert "``` { .text .no-copy }\nL = a * b\n  + c\n```" in text
    assert "See `a * b`." in text


def test_targets_that_are_names_of_folders_are_made_every_time() -> None:
    lines = (ROOT / "Makefile").read_text("utf-8").splitlines()
    targets = {line.partition(":")[0] for line in lines if re.match(r"[a-z-]+:(?!=)", line)}
    (phony,) = (line.split()[1:] for line in lines if line.startswith(".PHONY:"))
    assert {target for target in targets if (ROOT / target).exists()} <= set(phony)
