"""What a run shows, in words: two sentences on what was learned, what was lost and what to try, and warnings.

Warnings say where figures mean little: nothing was learned, dev is too small to choose an epoch by, a type has too few
mentions in test, or precision and recall are far apart. All are derived from the scores of the ledger.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from raycner.analysis.comparison import Comparison, Row
from raycner.analysis.formatting import figure, listed, many
from raycner.analysis.scores import Run, Step

NOTHING = 5.0
"""Points of F1 below which a network knows nothing of a type."""
MUCH_LOST = 10.0
"""Points of forgetting from which it is the first thing to fix."""
WELL_LEARNED = 70.0
"""Points of F1 below which a type was hardly learned by its own step."""
UPDATES = 500
"""Of a step, by default: of a run whose ledger does not record them."""
FAR_APART = 25.0
"""Points between the precision and the recall of a type."""
FEW_MENTIONS = 20
"""Entities of a type in test: with fewer, one more or less moves its F1 by points."""
FEW_IN_DEV = 50
"""Entities of all types in dev: with fewer, the best epoch is chosen by chance."""
MOST_NAMES = 5
"""Types that a sentence lists."""


@dataclass(frozen=True)
class Findings:
    """A run in words."""

    sentences: tuple[str, ...]
    """What was learned and lost; what to try next. None of a run without a finished step."""
    warnings: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The sentences, then the warnings, each marked as one."""
        return (*self.sentences, *(f"Warning: {warning}" for warning in self.warnings))


def findings(run: Run) -> Findings:
    """A run in words."""
    if not run.steps:
        return Findings((), ())
    return Findings((_outcome(run), _advice(run)), tuple(_warnings(run)))


def comparison_findings(comparison: Comparison) -> tuple[str, ...]:
    """Several rows in words: which is ahead and by how much, and whether that may be chance; none without two rows."""
    rows = [row for row in comparison.rows if row.average_macro and not row.joint]
    if len(rows) < 2:
        return ()
    best, worst = rows[0], rows[-1]
    return (_ahead(best, rows[1], worst), *_caution(rows))


def _outcome(run: Run) -> str:
    """What the last step knows, and what the old types lost."""
    last = run.steps[-1]
    scored = _known_scores(last)
    when = "At the end" if run.finished else f"After {len(run.steps)} of {many(len(run.plan), 'step')}"
    sentence = f"{when} {run.label} recognises {many(len(last.f1), 'type')} at {figure(last.macro)} macro-F1"
    if len(scored) > 1:
        best, worst = max(scored, key=scored.__getitem__), min(scored, key=scored.__getitem__)
        sentence += f", {best} best ({figure(scored[best])}) and {worst} worst ({figure(scored[worst])})"
    if run.mean_forgetting is None:
        return f"{sentence}; no type is old yet, so nothing could be forgotten."
    if run.mean_forgetting < 1:
        return f"{sentence}; the old types lost almost nothing ({figure(run.mean_forgetting)} points on average)."
    most = max(run.forgetting, key=run.forgetting.__getitem__)
    return (
        f"{sentence}; the old types lost {figure(run.mean_forgetting)} points on average, most of all {most} "
        f"({figure(run.forgetting[most])})."
    )


def _advice(run: Run) -> str:
    """The one thing to try next."""
    last, learned = run.steps[-1], _when_learned(run)
    if last.macro < NOTHING:
        return f"Try {_longer(run, 4)} or another rate (optim.lr), and look at what was read: raycner prepare."
    if (run.mean_forgetting or 0.0) >= MUCH_LOST:
        return _against_forgetting(run)
    if (eager := _eager(last)) and run.threshold is None and run.calibration == "none":
        return (
            f"Try eval.threshold=dev or eval.calibration=read_out, which train nothing: {_names(eager)} "
            f"{'is' if len(eager) == 1 else 'are'} predicted too often."
        )
    if learned and fmean(learned.values()) < WELL_LEARNED:
        missing, lost = 100 - fmean(learned.values()), max(run.mean_forgetting or 0.0, 0.0)
        return (
            f"More is missing because it was never learned ({figure(missing)} points) than because it was forgotten "
            f"({figure(lost)}): try more sentences or {_longer(run, 2)}; scenario.joint=true shows what is possible."
        )
    return "Nothing stands out: repeat it with other seeds (seed=1), or run its upper bound (scenario.joint=true)."


def _longer(run: Run, times: int) -> str:
    """The setting that trains a step so many times as long as this run did."""
    return f"optim.updates={times * (run.config.get('optim', {}).get('updates') or UPDATES)}"


def _against_forgetting(run: Run) -> str:
    method, memory = run.config["method"].get("name"), run.config["scenario"].get("memory") or {}
    if method == "finetuning":
        return "Try a method against forgetting, method.name=extend_ner: plain finetuning is the lower bound."
    if memory.get("size"):
        return "Try a larger memory (scenario.memory.size), or a larger weight of the distillation in later steps."
    return f"If sentences of finished steps may be kept, try scenario.memory.size=20; if not, {_without_text(run)}."


def _without_text(run: Run) -> str:
    """What to try where no sentence may be kept."""
    head, optim = run.config.get("model", {}).get("head", {}), run.config.get("optim", {})
    if head.get("name") == "linear" and not optim.get("feature_replay"):
        return "optim={feature_replay: 0.5, feature_replay_words: 10}"
    return "a larger weight of the distillation in later steps"


def _warnings(run: Run) -> Iterator[str]:
    last = run.steps[-1]
    for step in run.steps:
        yield from _unlearned(step)
    yield from _small_dev(run)
    few = {name: mentions for name, mentions in last.support.items() if 0 < mentions < FEW_MENTIONS}
    if few:
        counts = {name: f"{name} ({mentions})" for name, mentions in few.items()}
        yield f"few mentions in test: {_names(counts, counts)}; each moves the F1 of its type by points"
    yield from _apart(last)


def _unlearned(step: Step) -> Iterator[str]:
    empty = [name for name in step.learns if (step.f1.get(name) or 0.0) < NOTHING and step.support.get(name)]
    if empty:
        reached = max(step.f1.get(name) or 0.0 for name in empty)
        yield f"step {step.index + 1} learned nothing of {_names(empty)}: F1 at most {figure(reached)} right after it"


def _small_dev(run: Run) -> Iterator[str]:
    """The smallest dev of any step, if it is too small."""
    entities, step = min((sum(step.dev_support.values()), step.index + 1) for step in run.steps)
    if entities < FEW_IN_DEV:
        number = f"{entities} {'entity' if entities == 1 else 'entities'}"
        yield f"dev has {number} in step {step}: too few to choose an epoch by; add sentences, or set optim.select=last"


def _apart(step: Step) -> Iterator[str]:
    apart = {name: f"{name} (P {figure(p)}, R {figure(r)})" for name, p, r in _judged(step) if abs(p - r) >= FAR_APART}
    eager = {name: text for name, text in apart.items() if (step.recall[name] or 0.0) > (step.precision[name] or 0.0)}
    shy = {name: text for name, text in apart.items() if name not in eager}
    if eager:
        yield f"predicted far too often: {_names(eager, eager)}"
    if shy:
        yield f"predicted far too rarely: {_names(shy, shy)}"


def _eager(step: Step) -> list[str]:
    """Types that are predicted far too often."""
    return [name for name, precision, recall in _judged(step) if recall - precision >= FAR_APART]


def _judged(step: Step) -> Iterator[tuple[str, float, float]]:
    """Precision and recall of types with enough mentions."""
    for name, precision in step.precision.items():
        recall = step.recall[name]
        if precision is not None and recall is not None and step.support[name] >= FEW_MENTIONS:
            yield name, precision, recall


def _known_scores(step: Step) -> dict[str, float]:
    return {name: score for name, score in step.f1.items() if score is not None}


def _when_learned(run: Run) -> dict[str, float]:
    """The F1 of each type right after its own step."""
    return {name: score for step in run.steps for name in step.learns if (score := step.f1.get(name)) is not None}


def _ahead(best: Row, second: Row, worst: Row) -> str:
    assert best.average_macro and second.average_macro and worst.average_macro
    lead = best.average_macro.mean - second.average_macro.mean
    sentence = f"{best.label} is ahead at {figure(best.average_macro.mean)} average macro-F1"
    sentence += f", {figure(lead)} more than {second.label}"
    if worst is not second:
        sentence += f" and {figure(best.average_macro.mean - worst.average_macro.mean)} more than {worst.label}"
    lost = [f"{row.label} {figure(row.forgetting.mean)}" for row in (best, second) if row.forgetting]
    return f"{sentence}; forgetting: {', '.join(lost)}." if lost else f"{sentence}."


def _caution(rows: Sequence[Row]) -> Iterator[str]:
    single = [row.label for row in rows if len(row.finished) == 1]
    if single:
        has = "has one seed" if len(single) == 1 else "have one seed each"
        yield f"{_names(single)} {has}, which says nothing about chance: add seed=1 and seed=2 for paired tests."


def _names(names: Sequence[str] | Mapping[str, str], texts: Mapping[str, str] | None = None) -> str:
    """Names as a sentence lists them, the first few of many."""
    words = [texts[name] if texts else name for name in names]
    rest = len(words) - MOST_NAMES
    return listed(words if rest <= 0 else [*words[:MOST_NAMES], f"{rest} more"])
