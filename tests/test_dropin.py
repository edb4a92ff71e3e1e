"""A made-up method is one file: dropped into `methods/`, it runs, is listed, and is under contract, with no other edit.

The file is the example of CONTRIBUTING, taken from there.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import raycner
import runs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which `import raycner` finds a copy of the package with one file more."""
    folder = tmp_path_factory.mktemp("house")
    package = folder / "raycner"
    shutil.copytree(Path(raycner.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    (source,) = [text for text in examples if '@METHODS.register("my_method")' in text]
    (package / "methods" / "my_method.py").write_text(source, encoding="utf-8")
    return folder


def command(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", *arguments]
    return subprocess.run(line, cwd=house, capture_output=True, text=True, timeout=240, check=False)


def test_it_is_listed(house: Path) -> None:
    done = command(house, "raycner", "plan", *runs.SMALL, "method.name=no_such_thing_at_all")
    assert done.returncode == 2
    assert "my_method" in done.stderr


def test_it_runs_and_its_fields_are_settings(house: Path, tmp_path: Path) -> None:
    settings = [setting for setting in runs.SMALL if not setting.startswith("method.")]
    mine = ["method.name=my_method", "method.kd_weight=2", f"store={tmp_path}"]
    done = command(house, "raycner", "run", *settings, *mine)
    assert done.returncode == 0, done.stderr
    assert runs.ledger(tmp_path).config["method"] == {"name": "my_method", "kd_weight": 2.0}
    assert runs.ledger(tmp_path).finished


def test_it_is_under_contract(house: Path) -> None:
    done = command(
        house, "pytest", str(ROOT / "tests" / "test_methods.py"), "-k", "my_method", "-p", "no:cacheprovider"
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= 10
