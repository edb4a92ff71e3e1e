"""A made-up method or head is one file: dropped into its folder, it runs, is listed, and is under contract.

The method is the example of CONTRIBUTING, taken from there; the head is written the ordinary way of PyTorch.
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
HEAD = '''"""A perceptron with one hidden layer before the tags."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from raycner.networks.batch import Batch
from raycner.networks.encoders.encoder import States
from raycner.networks.heads.growing_rows import linear_rows
from raycner.networks.heads.head import HEADS, HeadConfig
from raycner.networks.heads.tag_head import TagHead


class MlpTags(TagHead):
    """z = W tanh(V f + v) + b."""

    def __init__(self, width: int, config: "Mlp") -> None:
        super().__init__(config.hidden)
        self.hidden = nn.Linear(width, config.hidden)
        self.init_std = config.init_std

    def draw(self, count: int) -> Tensor:
        return linear_rows(count, self.width, self.init_std)

    def effective(self, states: States, batch: Batch) -> tuple[Tensor, Tensor]:
        return F.pad(self.hidden(states.words).tanh(), (0, 1), value=1.0), self.weight


@HEADS.register("mlp")
class Mlp(HeadConfig):
    """A hidden layer, then a row per tag."""

    module: ClassVar[type[MlpTags]] = MlpTags
    hidden: int = 24
    """The width of the hidden layer."""
    init_std: float = 0.1

    def build(self, width: int) -> MlpTags:
        return MlpTags(width, self)
'''


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which `import raycner` finds a copy of the package with two more files."""
    folder = tmp_path_factory.mktemp("checkout")
    package = folder / "raycner"
    shutil.copytree(Path(raycner.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    (source,) = [text for text in examples if '@METHODS.register("my_method")' in text]
    (package / "methods" / "my_method.py").write_text(source, encoding="utf-8")
    (package / "networks" / "heads" / "mlp.py").write_text(HEAD, encoding="utf-8")
    return folder


def command(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", *arguments]
    return subprocess.run(line, cwd=checkout, capture_output=True, text=True, timeout=240, check=False)


def test_it_is_listed(checkout: Path) -> None:
    done = command(checkout, "raycner", "plan", *runs.SMALL, "method.name=no_such_thing_at_all")
    assert done.returncode == 2
    assert "my_method" in done.stderr


def test_it_runs_and_its_fields_are_settings(checkout: Path, tmp_path: Path) -> None:
    settings = [setting for setting in runs.SMALL if not setting.startswith("method.")]
    mine = ["method.name=my_method", "method.kd_weight=2", f"store={tmp_path}"]
    done = command(checkout, "raycner", "run", *settings, *mine)
    assert done.returncode == 0, done.stderr
    assert runs.ledger(tmp_path).config["method"] == {"name": "my_method", "kd_weight": 2.0}
    assert runs.ledger(tmp_path).finished


def test_a_head_runs_with_growth_and_calibration(checkout: Path, tmp_path: Path) -> None:
    mine = ["model.head={name: mlp, hidden: 12}", "model.growth={imprint: train, freeze_old: true}"]
    done = command(checkout, "raycner", "run", *runs.SMALL, *mine, "eval.calibration=read_out", f"store={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert runs.ledger(tmp_path).finished


@pytest.mark.parametrize(
    ("file", "name", "least"), [("test_methods.py", "my_method", 10), ("test_heads.py", "mlp", 20)]
)
def test_it_is_under_contract(checkout: Path, file: str, name: str, least: int) -> None:
    done = command(checkout, "pytest", str(ROOT / "tests" / file), "-k", name, "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) >= least
