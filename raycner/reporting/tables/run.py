"""The tables of one run: step matrix, tasks, scores by type, extra test sets, and the pseudo-entities of a teacher."""

from collections.abc import Iterator, Mapping

from raycner.analysis.formatting import figure, short
from raycner.analysis.provenance import provenance, step_provenance
from raycner.analysis.scores import Average, Run, Step, extra_test_sets, learns_tasks, types_of
from raycner.analysis.table import Cell, Table, by_rows, score_cell

MOST_TYPES_ACROSS = 8
LONGEST_HEADER, LONGEST_TYPE, LONGEST_STEP = 12, 28, 16
PSEUDO = (
    "proposed: predicted by the teacher; kept: labels, those of at least this confidence; precision: of the kept "
    "entities, in percent, as far as the corpus annotates the type."
)


def run_tables(run: Run, width: int | None = None, *, details: bool = False) -> Iterator[Table]:
    """The tables of a run; the step matrix has steps in rows where its types fit into `width` characters.

    Precision, recall and support are those after the last step or, with `details`, after every step.
    """
    if run.average is None:
        return
    if learns_tasks(run.config["scenario"]) and _has_tasks(run):
        yield task_table(run)
    yield matrix_by_step(run, run.average) if _fits(run, width) else matrix_by_type(run, run.average)
    yield from (type_table(run, step) for step in (run.steps if details else run.steps[-1:]))
    if extra_test_sets(run):
        yield extra_test_table(run)
    if any(step.pseudo for step in run.steps):
        yield pseudo_table(run)


def matrix_by_step(run: Run, average: Average) -> Table:
    """F1: rows are steps, columns are types."""
    types, overall = types_of(run.plan), _overall_scores(run)
    steps: list[list[Cell | str]] = [
        [
            *(str(step.index + 1), short(", ".join(step.learns), LONGEST_STEP)),
            *(_type_cell(step, name) for name in types),
            *(score_cell(_overall(step, name)) for name in overall),
        ]
        for step in run.steps
    ]
    means = [score_cell(_overall(average, name), bold=True) for name in overall]
    lost = [figure(run.forgetting.get(name)) for name in types]
    rows: list[list[Cell | str]] = [
        *steps,
        ["", Cell("average", bold=True), *[""] * len(types), *means],
        ["", "forgetting", *lost, *[""] * len(overall)],
    ]
    headers = ["step", "learns", *(short(name, LONGEST_HEADER) for name in types), *overall]
    return by_rows("", headers, rows, notes=_matrix_notes(run), lead=2, rules=[len(steps)])


def matrix_by_type(run: Run, average: Average) -> Table:
    """F1: rows are types in the order they are learned, columns are steps."""
    types, overall = types_of(run.plan[: len(run.steps)]), _overall_scores(run)
    rows: list[list[Cell | str]] = [
        [
            short(name, LONGEST_TYPE),
            *(_type_cell(step, name) for step in run.steps),
            *("", figure(run.forgetting.get(name))),
        ]
        for name in types
    ]
    rows += [
        [
            name,
            *(score_cell(_overall(step, name)) for step in run.steps),
            *(score_cell(_overall(average, name), bold=True), ""),
        ]
        for name in overall
    ]
    headers = ["F1 of type\nafter step", *(f"\n{step.index + 1}" for step in run.steps), "average", "forgetting"]
    return by_rows("", headers, rows, notes=_matrix_notes(run), rules=[len(types)])


def task_table(run: Run) -> Table:
    """Micro-F1: rows are tasks in the order they are learned, columns are steps."""
    steps = run.steps
    rows: list[list[Cell | str]] = []
    for task in range(len(steps)):
        scores = [step.by_task[task] if task <= step.index else None for step in steps]
        after = [score for score in scores if score is not None]
        interference = after[-1] - max(after) if after else None
        transfer = after[-1] - after[0] if len(after) > 1 else None
        name = short(", ".join(run.plan[task]), LONGEST_TYPE)
        rows.append([name, *map(score_cell, scores), figure(interference), figure(transfer)])
    headers = ["F1 of task\nafter step", *(f"\n{step.index + 1}" for step in steps), "BI", "BWT"]
    note = "Micro-F1 on test in percent; BI: the last score minus the best; BWT: the last score minus the first."
    return by_rows("", headers, rows, notes=(note,))


def type_table(run: Run, step: Step) -> Table:
    """Precision, recall, F1 and support of every type after a step, and over all types."""
    learned = {name: index + 1 for index, names in enumerate(run.plan) for name in names}
    total = f"{sum(step.support.values()):,}"
    types: list[list[Cell | str]] = [
        [
            *(short(name, LONGEST_TYPE), str(learned[name])),
            *map(score_cell, (step.precision[name], step.recall[name], step.f1[name])),
            f"{step.support[name]:,}",
        ]
        for name in step.f1
    ]
    rows: list[list[Cell | str]] = [
        *types,
        ["micro", "", *map(score_cell, (step.micro_precision, step.micro_recall, step.micro)), total],
        ["macro", "", *map(score_cell, (step.macro_precision, step.macro_recall, step.macro)), total],
    ]
    headers = ["type", "learned\nin step", "precision", "recall", "F1", "support"]
    title = f"By type after step {step.index + 1}"
    note = "On test, in percent; support: how many entities the test split has."
    return by_rows(title, headers, rows, notes=(note, step_provenance(run, step)), rules=[len(types)])


def extra_test_table(run: Run) -> Table:
    """Micro- and macro-F1 on each extra test set: rows are test sets, columns are steps."""
    rows: list[list[Cell | str]] = []
    for name in extra_test_sets(run):
        after = [step.tests.get(name) for step in run.steps]
        rows.append([short(name, LONGEST_TYPE), "micro", *(score_cell(on.micro if on else None) for on in after)])
        rows.append(["", "macro", *(score_cell(on.macro if on else None) for on in after)])
    headers = ["test set", "F1\nafter step", *(f"\n{step.index + 1}" for step in run.steps)]
    note = "F1 in percent, on all sentences of the test set (eval.test) and the types that it annotates."
    starts = range(2, len(rows), 2)
    return by_rows("Extra test sets", headers, rows, notes=(note, provenance([run])), lead=2, rules=starts)


def pseudo_table(run: Run) -> Table:
    """The entities that the teacher predicted in the training sentences, by step and old type."""
    asked = [(step, name, pseudo) for step in run.steps for name, pseudo in (step.pseudo or {}).items()]
    rows: list[list[Cell | str]] = [
        [
            *(str(step.index + 1), short(name, LONGEST_TYPE)),
            *(f"{pseudo.proposed:,}", f"{pseudo.kept:,}", f"{pseudo.threshold:.3f}"),
            score_cell(pseudo.precision),
        ]
        for step, name, pseudo in asked
    ]
    starts = [row for row, (step, *_) in enumerate(asked) if row and asked[row - 1][0] is not step]
    headers = ["step", "type", "proposed", "kept", "confidence", "precision"]
    return by_rows("Pseudo-entities of the teacher", headers, rows, notes=(PSEUDO,), lead=2, rules=starts)


def _fits(run: Run, width: int | None) -> bool:
    types = types_of(run.plan)
    if len(types) > MOST_TYPES_ACROSS:
        return False
    across = sum(max(7, len(short(name, LONGEST_HEADER)) + 2) for name in types)
    lead = 6 + max(len("forgetting"), *(len(short(", ".join(step.learns), LONGEST_STEP)) for step in run.steps)) + 2
    return width is None or lead + across + 8 * len(_overall_scores(run)) <= width


def _matrix_notes(run: Run) -> tuple[str, ...]:
    notes = ["F1 on test in percent"]
    if _has_tasks(run):
        notes.append("tasks: mean over steps of micro over the types each brought")
    if deltas := [step.calibrated.delta for step in run.steps if step.calibrated]:
        lowered = ", ".join(f"{delta:g}" for delta in deltas)
        notes.append(f"*: predicted with the bias of the step's new types lowered by {lowered}")
    chosen = [step.thresholds for step in run.steps if step.thresholds]
    if chosen and (run.threshold or "").startswith("dev"):
        notes.append(f"thresholds after each step: {', '.join(map(_range, chosen))}")
    notes.append("old, new: macro over the types of earlier steps and of this one, averaged from step 2")
    return "; ".join(notes) + ".", provenance([run])


def _range(thresholds: Mapping[str, float]) -> str:
    """The threshold of all types, or the lowest and the highest."""
    lowest, highest = min(thresholds.values()), max(thresholds.values())
    return f"{lowest:.2g}" if lowest == highest else f"{lowest:.2g} to {highest:.2g}"


def _has_tasks(run: Run) -> bool:
    """Whether the mean over tasks differs from macro."""
    return any(len(names) > 1 for names in run.plan)


def _overall_scores(run: Run) -> list[str]:
    """The names of the scores over several types that this run has."""
    tasks = ["tasks"] if _has_tasks(run) else []
    calibrated = ["micro*", "macro*"] if any(step.calibrated for step in run.steps) else []
    return ["micro", "macro", *calibrated, *tasks, "old", "new"]


def _overall(scores: Step | Average, name: str) -> float | None:
    calibrated = scores.calibrated
    if name.endswith("*"):
        return getattr(calibrated, name.removesuffix("*"), None)
    score: float | None = getattr(scores, name)
    return score


def _type_cell(step: Step, name: str) -> Cell:
    """The F1 of a type; bold in the step that learns it."""
    return score_cell(step.f1.get(name), bold=name in step.learns)
