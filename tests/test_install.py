"""An installed raycner: what its wheel holds, and the shipped files that are read where a folder has none."""

import logging
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from raycner import shipped
from raycner.cli.program import main
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.tuning.study import load

ROOT = Path(__file__).parents[1]
SOURCES = ("raycner", "jobs", "clusters", "search_spaces", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources, built without a network."""
    sources, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, sources / name)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    subprocess.run([*pip, "--wheel-dir", str(built), str(sources)], check=True)
    (file,) = built.glob("raycner-*.whl")
    return file


def test_a_wheel_holds_jobs_clusters_and_search_spaces(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    for folder in shipped.FOLDERS:
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert {f"raycner/shipped_files/{path.relative_to(ROOT).as_posix()}" for path in files} <= names
    data = [path for path in (ROOT / "raycner").rglob("*") if path.suffix in (".csv", ".html")]
    assert {path.relative_to(ROOT).as_posix() for path in data} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_an_installed_package_plans_the_demo_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from raycner.cli.program import main; "
    code += "sys.exit(main(['plan', 'jobs/demo.yaml', 'scenario.corpus.sentences=60']))"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path / "empty", capture_output=True, text=True, env={"PATH": ""}
    )
    assert ran.returncode == 0, ran.stderr
    assert "person" in ran.stdout and "the one that comes with raycner is read" in " ".join(ran.stderr.split())


def test_every_extra_is_explained() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = re.findall(r"^\| (`.*`) \|", (ROOT / "docs/first_steps.md").read_text(), re.M)
    assert {name for row in table for name in re.findall(r"`([a-z0-9]+)`", row)} >= extras.keys()


def test_a_file_of_the_folder_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert RunConfig.load(["jobs/demo.yaml"]).optim.epochs == 8
    assert "jobs/demo.yaml is not in this folder" in caplog.text
    assert load("search_spaces/dld.py").base
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "demo.yaml").write_text("optim: {epochs: 2}\n")
    assert RunConfig.load(["jobs/demo.yaml"]).optim.epochs == 2


@pytest.mark.parametrize("path", ["jobs/none.yaml", "jobs/../pyproject.toml", "other/demo.yaml", "demo.yaml", "jobs"])
def test_nothing_else_is_read(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cannot read it"):
        RunConfig.load([path])
    assert main(["plan", path]) == 2
    with pytest.raises(FileNotFoundError):
        shipped.shipped(path)
