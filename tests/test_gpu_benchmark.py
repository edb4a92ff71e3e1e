"""The benchmark of GPUs runs, at a tiny size on a CPU: renames break it here, and not on a rented machine."""

import importlib
import json
import shutil
import string
import sys
from pathlib import Path

import pytest

from raycner.networks import devices

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_it_measures_everything_but_what_needs_a_gpu(
    tiny_bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Path(shutil.copytree(tiny_bert, tmp_path / "encoder"))
    (encoder / "vocab.txt").write_text("\n".join(3 * letter for letter in string.ascii_letters), encoding="utf-8")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(devices, "_assigned", [])
    gpu = importlib.import_module("gpu")
    monkeypatch.setattr(gpu, "BUDGETS", {"small batch": (8, 512)})
    arguments = ["--device", "cpu", "--tiny", str(encoder), "--sentences", "16", "--rounds", "1"]
    measures = {m.name: m for m in gpu.main([*arguments, "--json", str(tmp_path / "figures.json")])}
    assert all(measure.value > 0 for measure in measures.values())
    names = " ".join(measures)
    for part in (
        "share of peak",
        "evaluation",
        "distillation / finetuning",
        "CFNER / finetuning",
        "snapshot",
        "neighbours",
    ):
        assert part in names
    assert len(json.loads((tmp_path / "figures.json").read_text())["measures"]) == len(measures)
    for name in ("gpu", "run", "spans"):
        sys.modules.pop(name, None)
