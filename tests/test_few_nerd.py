"""SpanKL over a corpus of Few-NERD's shape: 66 types in 8 tasks, from files to a ledger, in little memory."""

import math
import random
import subprocess
import sys
from pathlib import Path

import runs
from raycner.data.layouts.few_nerd import FINE, TYPES

SETTINGS = (
    "scenario={corpus: {name: few_nerd}, protocol: {name: filter, test: filter, tasks: coarse}}",
    "model={encoder: {name: bilstm, word_width: 24, char_width: 8, width: 24}, head: {name: spans, vector: 16}}",
    "method={name: span_kl}",
    "optim={epochs: 1, first: {epochs: 1}}",
)
MEASURED = """
import resource, sys
from raycner.__main__ import main
sys.argv = ["raycner", "run", *sys.argv[1:]]
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MiB")
"""


def write(folder: Path, sentences: int, dev: int, words: int = 48) -> None:
    """Columns in the scheme IO: each type has names of its own, of one word to three, among words that mean nothing."""
    draw = random.Random(0)
    names = {kind: [[f"{kind[:9]}{n}{end}" for end in "abc"[:n]] for n in (1, 2, 3)] for kind in TYPES}
    for part, number in (("train", sentences), ("dev", dev), ("test", dev)):
        lines = []
        for _ in range(number):
            length = draw.randint(4, words)
            while length > 0:
                fillers = draw.randint(2, 9)
                lines += [f"w{draw.randint(0, 300)}\tO" for _ in range(fillers)]
                kind = draw.choice(TYPES)
                name = draw.choice(names[kind])
                lines += [f"{word}\t{kind}" for word in name]
                length -= fillers + len(name)
            lines.append("")
        (folder / f"{part}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_66_types_in_8_tasks(tmp_path: Path) -> None:
    write(tmp_path, sentences=120, dev=20)
    store = tmp_path / "store"
    arguments = [*SETTINGS, f"scenario.corpus.path={tmp_path}", f"store={store}"]
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = list(runs.ledger(store).records())
    assert [len(step.new) for step in steps] == [len(names.split()) for names in FINE.values()]
    assert set(steps[-1].seen) == set(TYPES)
    assert [set(step.epochs[-1].losses) for step in steps] == [{"ce"}, *[{"bce", "kd"}] * 7]
    assert all(math.isfinite(loss) for step in steps for loss in step.epochs[-1].losses.values())
    (peak,) = [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak")]
    assert peak < 4096, "MiB"
