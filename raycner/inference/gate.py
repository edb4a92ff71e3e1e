"""gate: whether a step may take the place of another, by what each old type loses on the same sentences.

report = gate("base-product:2", against="base", files=["test.conll"])
report.passes
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from raycner.errors import InputError
from raycner.evaluation.gate import Allowance, GateReport, judge
from raycner.inference.evaluate import annotated_files, evaluate_on, load_predictor, run_test_part
from raycner.registry import suggest


def gate(
    model: str,
    against: str,
    allowance: Allowance,
    files: Sequence[str | Path] = (),
    *,
    without: Sequence[str] = (),
    store: str = "store",
    layout: str | None = None,
    reading: Mapping[str, object] | None = None,
    encoder: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> GateReport:
    """Compare a step with an older one on annotated files, or without any on the newer step's test part.

    Args:
        model, against: RUN:STEP, an exported folder, or a token classifier; the types of `against` are compared.
        allowance: how much each of them may lose.
        without: types of `against` that are not compared, as the model was made without them.
        layout, reading: how the files are read, where their names do not tell.
        encoder: where the pretrained encoder lies, if it has moved.
        resamples, seed: of the bootstrap.

    Raises `InputError` for a type of `against` that the model lacks, and where nothing can be scored.
    """
    annotated = annotated_files(files, layout, reading) if files else run_test_part(model, store)
    types = load_predictor(against, store, encoder).types
    for option, names in (("--per-type", allowance.per_type or {}), ("--without", without)):
        for name in names:
            if name not in types:
                raise InputError(f"{against} has no type {name!r}", location=option, hint=suggest(name, types))
    types = tuple(name for name in types if name not in without)
    if not types:
        raise InputError("no type is left to compare", location="--without", hint="leave some out")
    before, after = (
        evaluate_on(annotated, address, store=store, types=types, encoder=encoder, resamples=0, examples=0)
        for address in (against, model)
    )
    return GateReport(
        model=model,
        against=against,
        sources=annotated.sources,
        sentences=len(before.sentences),
        allowance=allowance,
        types=judge(before.sentences, after.sentences, types, allowance, resamples, seed),
        notes=(*annotated.notes, *([f"not compared: {', '.join(without)}"] if without else [])),
    )
