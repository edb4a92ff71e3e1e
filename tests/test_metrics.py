"""Counts against seqeval, and every score against cases worked out by hand."""

import warnings
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities

from raycner.data import metrics as scoring
from raycner.data.entities import Entity, decode, encode
from raycner.storage.ledger import Counts

TYPES = ("LOC", "MISC", "ORG", "PER")
LABELS = ["O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")]

tagged = st.integers(1, 12).flatmap(
    lambda length: st.tuples(*[st.lists(st.sampled_from(LABELS), min_size=length, max_size=length)] * 2)
)
corpora = st.lists(tagged, min_size=1, max_size=6)
type_counts = st.tuples(*[st.integers(0, 50)] * 3)
tables = st.dictionaries(st.sampled_from(TYPES), type_counts, min_size=1)


def count(pairs: list[tuple[list[str], list[str]]], types: tuple[str, ...] = TYPES) -> Counts:
    return scoring.add(*(scoring.tally(decode(gold), decode(predicted), types) for gold, predicted in pairs))


@given(corpora)
def test_scores_agree_with_seqeval(pairs):
    counts = count(pairs)
    gold, predicted = [list(tags) for tags, _ in pairs], [list(tags) for _, tags in pairs]
    pooled = tuple(map(sum, zip(*counts.values(), strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert scoring.micro(counts) == pytest.approx(f1_score(gold, predicted, average="micro", zero_division=0))
        assert scoring.precision(pooled) == pytest.approx(
            precision_score(gold, predicted, average="micro", zero_division=0)
        )
        assert scoring.recall(pooled) == pytest.approx(recall_score(gold, predicted, average="micro", zero_division=0))
        if any(pooled):  # seqeval's macro over no type at all is nan
            assert scoring.macro(counts) == pytest.approx(f1_score(gold, predicted, average="macro", zero_division=0))


@given(corpora, st.sets(st.sampled_from(TYPES)))
def test_only_the_types_asked_for_are_counted(pairs, names):
    types = tuple(sorted(names))
    everything = count(pairs)
    assert count(pairs, types) == {name: everything[name] for name in types}


def test_words_and_type_must_both_be_exact():
    gold = [Entity(0, 2, "PER"), Entity(3, 4, "LOC"), Entity(5, 6, "ORG")]
    predictions = {
        Entity(0, 2, "PER"): 0.9,
        Entity(3, 5, "LOC"): 0.8,
        Entity(5, 6, "PER"): 0.7,
        Entity(7, 8, "DATE"): 0.6,
    }
    assert scoring.tally(gold, predictions, TYPES) == {
        "LOC": (0, 1, 1),
        "MISC": (0, 0, 0),
        "ORG": (0, 0, 1),
        "PER": (1, 1, 0),
    }


CONLLEVAL_ENDS = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O"), ("E", "E"), ("E", "I"), ("E", "O")}
"""The pairs of prefixes of one type between which the script ends an entity and, but before O, begins another."""


SEQEVAL_ENDS = {(one, two) for one in "BIES" for two in "BIES" if one in "ES" or two in "BS"} | CONLLEVAL_ENDS
"""The same of seqeval's default mode, which has rules for S and for what follows E."""


def chunks_of_2004(tags: list[str], ends: set[tuple[str, str]] = CONLLEVAL_ENDS) -> set[Entity]:
    """What the script makes of tags, rule by rule."""
    entities: set[Entity] = set()
    start, before = None, ("O", "")
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        parts = (before[0], prefix) in ends or kind != before[1]
        if start is not None and parts:
            entities.add(Entity(start, i, before[1]))
            start = None
        if prefix != "O" and parts:
            start = i
        before = prefix, kind
    return entities


@st.composite
def flat(draw: st.DrawFn) -> tuple[int, list[Entity]]:
    entities, at = [], 0
    for before, length, kind in draw(
        st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.sampled_from(TYPES[:2])), max_size=6)
    ):
        entities.append(Entity(at + before, at + before + length, kind))
        at += before + length
    return at + 1, entities


@given(flat())
def test_conlleval_reads_entities_as_the_script_reads_their_bioes_tags(sentence):
    length, entities = sentence
    assert scoring.conlleval(entities) == chunks_of_2004(encode(entities, length, "BIOES"))


bioes_tags = st.lists(st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in TYPES[:2])]))


@given(bioes_tags)
def test_chunks_are_those_of_the_script_however_malformed_the_tags(tags):
    assert scoring.conlleval_chunks(tags) == chunks_of_2004(tags)


@given(bioes_tags)
def test_seqeval_reads_the_same_tags_by_the_same_rules_and_some_more(tags):
    """The control: its default mode differs from the script in the listed pairs alone."""
    seqeval = {Entity(start, end + 1, kind) for kind, start, end in get_entities(tags)}
    assert seqeval == chunks_of_2004(tags, SEQEVAL_ENDS)


@given(flat())
def test_on_well_formed_tags_the_script_reads_what_it_reads_in_entities(sentence):
    length, entities = sentence
    assert scoring.conlleval_chunks(encode(entities, length, "BIOES")) == scoring.conlleval(entities)


@pytest.mark.parametrize("tags", ["B B", "I B", "E E", "E I"])
def test_the_script_reads_two_chunks_where_tags_are_not_well_formed(tags):
    tags = [f"{prefix}-PER" for prefix in tags.split()]
    assert scoring.conlleval_chunks(tags) == {Entity(0, 1, "PER"), Entity(1, 2, "PER")}


def test_conlleval_makes_one_of_neighbours():
    predictions = [
        Entity(0, 1, "PER"),
        Entity(1, 3, "PER"),
        Entity(3, 4, "LOC"),
        Entity(5, 6, "LOC"),
        Entity(6, 7, "LOC"),
    ]
    assert scoring.conlleval(reversed(predictions)) == {Entity(0, 3, "PER"), Entity(3, 4, "LOC"), Entity(5, 7, "LOC")}
    assert scoring.conlleval({}) == set()


def test_sums_join_types_that_only_one_part_names():
    assert scoring.add({"PER": (1, 2, 3)}, {"PER": (1, 0, 1), "LOC": (0, 1, 0)}) == {"PER": (2, 2, 4), "LOC": (0, 1, 0)}
    assert scoring.add() == {}


@given(tables, tables, tables)
def test_the_order_of_adding_does_not_matter(one, two, three):
    assert scoring.add(one, two, three) == scoring.add(three, scoring.add(two, one))


def test_scores_by_hand():
    assert scoring.precision((6, 2, 6)) == 0.75
    assert scoring.recall((6, 2, 6)) == 0.5
    assert scoring.f1((6, 2, 6)) == pytest.approx(0.6)
    counts = {"PER": (6, 2, 6), "LOC": (0, 0, 4)}
    assert scoring.micro(counts) == pytest.approx(12 / 24)
    assert scoring.macro(counts) == pytest.approx(0.3)
    assert scoring.macro(counts, ["PER"]) == scoring.micro(counts, ["PER"]) == pytest.approx(0.6)


@pytest.mark.parametrize("score", [scoring.precision, scoring.recall, scoring.f1])
@pytest.mark.parametrize("counts", [(0, 0, 0), (0, 3, 0), (0, 0, 3), (0, 2, 2)])
def test_without_a_right_entity_every_score_is_zero(score, counts):
    assert score(counts) == 0.0


def test_macro_omits_only_types_without_gold_and_predictions():
    assert scoring.macro({"PER": (1, 0, 0), "LOC": (0, 0, 0)}) == 1.0
    assert scoring.macro({"PER": (1, 0, 0), "LOC": (0, 1, 0)}) == 0.5
    assert scoring.macro({"PER": (1, 0, 0), "LOC": (0, 0, 1)}) == 0.5
    assert scoring.macro({"LOC": (0, 0, 0)}) == scoring.micro({"LOC": (0, 0, 0)}) == 0.0


@given(tables)
def test_micro_and_macro_lie_between_the_worst_type_and_the_best(counts):
    present = [scoring.f1(one) for one in counts.values() if any(one)] or [0.0]
    for score in (scoring.micro(counts), scoring.macro(counts)):
        assert min(present) - 1e-12 <= score <= max(present) + 1e-12


@given(tables)
def test_tasks_of_one_type_give_macro_and_one_task_of_all_gives_micro(counts):
    assert scoring.macro_over_tasks(counts, [[name] for name in counts]) == pytest.approx(scoring.macro(counts))
    assert scoring.macro_over_tasks(counts, [list(counts)]) == pytest.approx(scoring.micro(counts))


def percent(**scores: float) -> Counts:
    """Counts whose F1 is exactly the score in percent: tp right, and 200 - 2 tp wrong in all."""
    return {name: (round(score), 0, 200 - 2 * round(score)) for name, score in scores.items()}


SERIES = (percent(LOC=80), percent(LOC=60, MISC=70), percent(LOC=70, MISC=40, ORG=50))


def test_average_takes_every_step_alike():
    assert scoring.average(SERIES, scoring.macro) == pytest.approx((0.80 + 0.65 + 1.60 / 3) / 3)
    assert scoring.average(SERIES, scoring.micro) == pytest.approx(fmean(map(scoring.micro, SERIES)))
    with pytest.raises(ValueError):
        scoring.average([], scoring.micro)


def test_old_and_new_types_are_averaged_apart():
    assert scoring.old_new(SERIES[0], ["LOC"]) == (None, pytest.approx(0.8))
    assert scoring.old_new(SERIES[2], ["ORG"]) == (pytest.approx(0.55), pytest.approx(0.5))
    assert scoring.old_new(SERIES[2], []) == (pytest.approx(1.6 / 3), None)


def test_forgetting_is_the_best_earlier_step_minus_the_last():
    assert scoring.forgetting(SERIES) == {"LOC": pytest.approx(0.1), "MISC": pytest.approx(0.3)}
    assert scoring.forgetting([percent(LOC=50), percent(LOC=60)]) == {"LOC": pytest.approx(-0.1)}
    assert scoring.forgetting(SERIES[:1]) == {}


def test_backward_interference_of_a_published_run():
    """The SpanKL repository's OntoNotes run, one type a step: -0.25, -0.39, -0.39, 0, 0, 0."""
    names = ("ORG", "PER", "GPE", "DATE", "CARD", "NORP")
    scores = (
        (87.90,),
        (87.18, 93.33),
        (88.13, 93.41, 95.47),
        (87.40, 93.26, 95.16, 85.02),
        (87.13, 92.65, 95.05, 84.71, 81.37),
        (87.88, 93.02, 95.08, 85.93, 83.04, 93.01),
    )
    series = [
        {n: (round(s * 100), 0, 20000 - 2 * round(s * 100)) for n, s in zip(names, row, strict=False)} for row in scores
    ]
    assert scoring.backward_interference(series, [[name] for name in names]) == pytest.approx(-0.0103 / 6)
    assert scoring.macro_over_tasks(series[-1], [[name] for name in names]) == pytest.approx(0.8966, abs=5e-5)


def test_backward_interference_pools_the_types_of_a_task():
    series = [percent(LOC=80, PER=60), percent(LOC=40, PER=60, ORG=90)]
    assert scoring.backward_interference(series, [["LOC", "PER"], ["ORG"]]) == pytest.approx(-0.2 / 2)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(TYPES, type_counts)), min_size=1, max_size=5))
def test_interference_is_never_positive_and_forgetting_never_exceeds_one(series):
    assert scoring.backward_interference(series, [[name] for name in TYPES]) <= 0.0
    assert all(-1.0 <= fallen <= 1.0 for fallen in scoring.forgetting(series).values())


@given(corpora)
def test_scoring_the_corpus_as_one_sentence_differs_at_boundaries_only(pairs):
    """The published CFNER scores read all sentences as one: an entity may then continue into the next sentence."""
    apart: tuple[set[Entity], set[Entity]] = set(), set()
    start, seam = 0, set()
    for pair in pairs:
        seam |= {start - 1, start}
        for sequence, tags in zip(apart, pair, strict=True):
            sequence |= {Entity(start + e.start, start + e.end, e.type) for e in decode(list(tags))}
        start += len(pair[0])
    for sequence, side in zip(apart, zip(*pairs, strict=True), strict=True):
        together = set(decode([tag for tags in side for tag in tags]))
        for entity in together ^ sequence:
            assert seam & set(range(entity.start, entity.end)), "whatever differs touches a boundary"


@given(tables)
def test_macro_is_the_mean_of_what_occurs(counts):
    occurring = [scoring.f1(one) for one in counts.values() if any(one)]
    assert scoring.macro(counts) == pytest.approx(fmean(occurring) if occurring else 0.0)


def test_backward_transfer_compares_with_the_score_right_after_learning():
    series = [percent(LOC=50), percent(LOC=70, PER=80), percent(LOC=60, PER=40, ORG=90)]
    tasks = [["LOC"], ["PER"], ["ORG"]]
    assert scoring.backward_transfer(series, tasks) == pytest.approx(((0.6 - 0.5) + (0.4 - 0.8)) / 2)
    assert scoring.backward_interference(series, tasks) == pytest.approx(((0.6 - 0.7) + (0.4 - 0.8) + 0) / 3)
    assert scoring.backward_transfer(series[:1], tasks[:1]) is None


def test_precision_and_recall_are_pooled_or_averaged_over_the_types_that_occur():
    counts = {"LOC": (6, 2, 4), "PER": (1, 3, 0), "ORG": (0, 0, 5), "MISC": (0, 0, 0)}
    assert scoring.pooled(counts) == (7, 5, 9)
    assert scoring.micro(counts, score=scoring.precision) == pytest.approx(7 / 12)
    assert scoring.micro(counts, score=scoring.recall) == pytest.approx(7 / 16)
    assert scoring.macro(counts, score=scoring.precision) == pytest.approx((6 / 8 + 1 / 4 + 0) / 3)
    assert scoring.macro(counts, score=scoring.recall) == pytest.approx((6 / 10 + 1 + 0) / 3)
    assert [scoring.support(of_type) for of_type in counts.values()] == [10, 1, 5, 0]
