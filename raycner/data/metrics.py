"""How a step is counted, and every score that follows from counts. Scores are fractions; only reports write percent.

An entity is right when its words and its type are exactly right. Each type has three counts,
(tp, fp, fn): they add up over sentences, ranks and types, so every published score can be derived later.

    precision = tp / (tp + fp)    recall = tp / (tp + fn)    F1 = 2 tp / (2 tp + fp + fn)

A series is the test counts after each step of a run, in order, over the types learned by then.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from statistics import fmean

from raycner.data.entities import Entity, split_tag
from raycner.storage.ledger import Counts

TypeCounts = tuple[int, int, int]
"""(tp, fp, fn): entities found, entities predicted wrongly, entities missed."""


def tally(gold: Iterable[Entity], predicted: Iterable[Entity], types: Iterable[str]) -> Counts:
    """The counts of one sentence, for each of `types`; entities of any other type are not looked at.

    The sentences of a split: `add(*(tally(s.entities, p, types) for s, p in zip(sentences, predictions)))`.
    """
    gold, predicted = set(gold), set(predicted)
    counts: dict[str, TypeCounts] = {}
    for name in types:
        true = {entity for entity in gold if entity.type == name}
        positive = {entity for entity in predicted if entity.type == name}
        counts[name] = len(true & positive), len(positive - true), len(true - positive)
    return counts


def add(*parts: Counts) -> Counts:
    """The sum of counts, type by type; a type that a part does not name adds nothing."""
    total: dict[str, TypeCounts] = {}
    for part in parts:
        for name, (tp, fp, fn) in part.items():
            before = total.get(name, (0, 0, 0))
            total[name] = before[0] + tp, before[1] + fp, before[2] + fn
    return total


def conlleval(entities: Iterable[Entity]) -> set[Entity]:
    """What the conlleval script of 2004 reads where these entities are written in BIOES: neighbours of a type are one.

    It has no rule for S, nor for what may follow E but O and I, so S S, S B, E S and E B continue the entity
    before them, in gold and in predictions. The progressive taggers were published in this count.
    """
    merged: list[Entity] = []
    for entity in sorted(entities):
        before = merged[-1] if merged else None
        if before is not None and (before.end, before.type) == (entity.start, entity.type):
            merged[-1] = Entity(before.start, entity.end, entity.type)
        else:
            merged.append(entity)
    return set(merged)


CONLLEVAL_BREAKS = {("B", "B"), ("I", "B"), ("E", "E"), ("E", "I")}
"""The prefixes of two neighbours of one type between which the script ends a chunk and begins another."""


def conlleval_chunks(tags: Sequence[str]) -> set[Entity]:
    """The chunks that the conlleval script of 2004 reads in the tags of a sentence, well-formed or not.

    A chunk is a run of tags of one type, cut at `CONLLEVAL_BREAKS`. On well-formed BIOES it equals `conlleval`; what
    `decode` repairs, such as an I without its B, it reads otherwise.
    """
    prefixes, kinds = zip(*map(split_tag, tags), strict=True) if tags else ((), ())
    chunks: set[Entity] = set()
    for kind, run in groupby(range(len(tags)), key=kinds.__getitem__):
        first, *rest = run
        starts = [first, *(i for i in rest if (prefixes[i - 1], prefixes[i]) in CONLLEVAL_BREAKS)]
        ends = [*starts[1:], first + len(rest) + 1]
        if kind:
            chunks.update(Entity(start, end, kind) for start, end in zip(starts, ends, strict=True))
    return chunks


def support(counts: TypeCounts) -> int:
    """How many entities gold has: tp + fn."""
    tp, _, fn = counts
    return tp + fn


def precision(counts: TypeCounts) -> float:
    """The fraction of predicted entities that are right; 0 when nothing was predicted."""
    tp, fp, _ = counts
    return tp / (tp + fp) if tp else 0.0


def recall(counts: TypeCounts) -> float:
    """The fraction of gold entities that were predicted; 0 when gold has none."""
    tp, _, fn = counts
    return tp / (tp + fn) if tp else 0.0


def f1(counts: TypeCounts) -> float:
    """The harmonic mean of precision and recall; 0 when no entity is right."""
    tp, fp, fn = counts
    return 2 * tp / (2 * tp + fp + fn) if tp else 0.0


def pooled(counts: Counts, types: Iterable[str] | None = None) -> TypeCounts:
    """The sum of the counts of `types` (all when None)."""
    chosen = [counts[name] for name in (counts if types is None else types)]
    return sum(tp for tp, _, _ in chosen), sum(fp for _, fp, _ in chosen), sum(fn for _, _, fn in chosen)


def micro(counts: Counts, types: Iterable[str] | None = None, score: Callable[[TypeCounts], float] = f1) -> float:
    """`score` (F1, precision or recall) of pooled counts (of all types when None): every entity weighs the same."""
    return score(pooled(counts, types))


def macro(counts: Counts, types: Iterable[str] | None = None, score: Callable[[TypeCounts], float] = f1) -> float:
    """The unweighted mean of `score` (F1, precision or recall) over `types` (all when None).

    Every type weighs the same. A type that occurs neither in gold nor in the predictions has no score and is left out
    of the mean, not counted as 0: this is seqeval's convention, hence that of the published tables. 0 when no type
    occurs.
    """
    occurring = [counts[name] for name in (counts if types is None else types) if any(counts[name])]
    return fmean(map(score, occurring)) if occurring else 0.0


def macro_over_tasks(counts: Counts, tasks: Iterable[Collection[str]]) -> float:
    """The unweighted mean over tasks (the types one step brought) of the task's micro-F1: SpanKL's Macro-F1."""
    scores = [micro(counts, task) for task in tasks if any(any(counts[name]) for name in task)]
    return fmean(scores) if scores else 0.0


def old_new(counts: Counts, new: Collection[str]) -> tuple[float | None, float | None]:
    """Macro-F1 over the types of earlier steps, and over the types `new` of this one; None where there are none."""
    old, learned = [name for name in counts if name not in new], [name for name in counts if name in new]
    return (macro(counts, old) if old else None), (macro(counts, learned) if learned else None)


def average(series: Sequence[Counts], score: Callable[[Counts], float]) -> float:
    """The mean over steps, the first included, of `score` (micro or macro). Raises ValueError for an empty series."""
    return fmean(map(score, series))


def forgetting(series: Sequence[Counts]) -> dict[str, float]:
    """How far each type has fallen: its best F1 after an earlier step, minus its F1 after the last step.

    Negative when the type gained since. Types that the last step brought have no earlier step and are not named.

    >>> forgetting([{"person": (4, 0, 0)}, {"person": (2, 2, 2), "place": (9, 0, 1)}])
    {'person': 0.5}
    """
    *earlier, final = series
    old = [name for name in final if any(name in counts for counts in earlier)]
    return {n: max(f1(counts[n]) for counts in earlier if n in counts) - f1(final[n]) for n in old}


def backward_interference(series: Sequence[Counts], tasks: Sequence[Collection[str]]) -> float:
    """The mean over tasks of micro-F1 after the last step minus the best after any step, the last included.

    BI = mean_k (F1_k(final) - max_t F1_k(t)) <= 0, as SpanKL reports it. `tasks` are the types each step brought;
    a task counts from the first step whose counts name all of its types. It is not backward transfer, which compares
    with the score right after the task was learned and may be positive. Raises ValueError without steps or tasks.
    """
    return fmean(scores[-1] - max(scores) for scores in _by_task(series, tasks))


def backward_transfer(series: Sequence[Counts], tasks: Sequence[Collection[str]]) -> float | None:
    """The mean over tasks but the last of micro-F1 after the last step minus that right after the task was learned.

    BWT = 1 / (T - 1) sum_{k < T} (F1_k(T) - F1_k(k)); negative: forgotten, positive: improved by later steps. None when
    no task has a later step. Source: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning" (2017),
    with F1 in the place of accuracy.
    """
    differences = [scores[-1] - scores[0] for scores in _by_task(series, tasks) if len(scores) > 1]
    return fmean(differences) if differences else None


def _by_task(series: Sequence[Counts], tasks: Sequence[Collection[str]]) -> list[list[float]]:
    """The micro-F1 of each task after each step from the one that learned it on; tasks not learned are left out."""
    scores = [[micro(counts, task) for counts in series if set(task) <= counts.keys()] for task in tasks]
    return [of_task for of_task in scores if of_task]
