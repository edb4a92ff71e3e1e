"""Scores of entities: equal to seqeval's to the last bit, every entity counted once, intervals that hold still."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB1, IOB2, IOBES

from raycner.data.entities import Entity, Scheme, decode, encode
from raycner.evaluation.bootstrap import bootstrap
from raycner.evaluation.confusion import OUTCOMES, confusion, pair_up
from raycner.evaluation.entity_report import entity_report
from raycner.evaluation.entity_scores import ScoredSentence, TypeScore, count, score
from raycner.evaluation.mistakes import mistakes

TYPES = ("creative-work", "person", "place")
SCHEMES = {"BIO": IOB2, "BIOES": IOBES, "IOB1": IOB1}


@st.composite
def flat_entities(draw: st.DrawFn, length: int) -> frozenset[Entity]:
    """Entities that share no word."""
    entities, start = set(), 0
    while start < length:
        size = draw(st.integers(0, 3))
        if size and start + size <= length:
            entities.add(Entity(start, start + size, draw(st.sampled_from(TYPES))))
        start += max(1, size)
    return frozenset(entities)


@st.composite
def sentences(draw: st.DrawFn) -> ScoredSentence:
    length = draw(st.integers(1, 8))
    gold = draw(flat_entities(length))
    predicted = draw(st.one_of(st.just(gold), flat_entities(length)))
    return ScoredSentence(tuple(f"w{i}" for i in range(length)), gold, predicted)


def by_seqeval(scored: list[ScoredSentence], scheme: Scheme) -> dict[str, dict[str, float]]:
    gold = [encode(sentence.gold, len(sentence.words), scheme) for sentence in scored]
    predicted = [encode(sentence.predicted, len(sentence.words), scheme) for sentence in scored]
    return classification_report(
        gold, predicted, mode="strict", scheme=SCHEMES[scheme], output_dict=True, zero_division=0
    )


def as_seqeval(one: TypeScore) -> dict[str, float]:
    return {"precision": one.precision, "recall": one.recall, "f1-score": one.f1, "support": one.support}


@given(st.lists(sentences(), min_size=1, max_size=12), st.sampled_from(["BIO", "BIOES", "IOB1"]))
@settings(max_examples=300)
def test_every_number_is_seqevals(scored: list[ScoredSentence], scheme: Scheme) -> None:
    """Types without support, and types that are never predicted, included."""
    report = score(count(scored))
    if not report.types:  # seqeval has no answer then
        return
    expected = by_seqeval(scored, scheme)
    assert {name: as_seqeval(one) for name, one in report.types.items()} == {
        name: row for name, row in expected.items() if not name.endswith(" avg")
    }
    averages = {"micro avg": report.micro, "macro avg": report.macro, "weighted avg": report.weighted}
    assert {name: as_seqeval(one) for name, one in averages.items()} == {name: expected[name] for name in averages}


@given(st.lists(sentences(), min_size=1, max_size=12))
def test_every_entity_is_counted_once(scored: list[ScoredSentence]) -> None:
    report, matrix = score(count(scored)), confusion(scored)
    assert set(matrix.types) == set(report.types)
    rows = matrix.matrix()
    for place, name in enumerate(matrix.types):
        outcomes, one = matrix.outcomes[name], report.types[name]
        of_gold = sum(outcomes[outcome] for outcome in OUTCOMES if outcome != "spurious")
        assert of_gold == one.support == sum(rows[place])
        assert sum(row[place] for row in rows) == one.predicted
        assert rows[place][place] == outcomes["exact"] + outcomes["boundary"]
        assert rows[-1][place] == outcomes["spurious"] and rows[place][-1] == outcomes["missed"]
        assert outcomes["exact"] == round(one.recall * one.support)
    assert rows[-1][-1] == 0


@given(st.lists(sentences(), min_size=1, max_size=12))
def test_mistakes_are_the_confusion_without_its_exact_pairs(scored: list[ScoredSentence]) -> None:
    groups = mistakes(scored, most=10_000, examples=3)
    matrix = confusion(scored)
    wrong = sum(times for by_outcome in matrix.outcomes.values() for times in by_outcome.values())
    right = sum(by_outcome["exact"] for by_outcome in matrix.outcomes.values())
    assert sum(mistake.times for mistake in groups) == wrong - right
    for mistake in groups:
        assert 1 <= len(mistake.examples) <= min(3, mistake.times)
        for example in mistake.examples:
            assert example.gold in (None, *scored[example.sentence].gold)
            assert example.predicted in (None, *scored[example.sentence].predicted)


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ([(0, 2, "a")], [(0, 2, "a")], ["exact"]),
        ([(0, 2, "a")], [(0, 2, "b")], ["type"]),
        ([(0, 2, "a")], [(1, 2, "a")], ["boundary"]),
        ([(0, 2, "a")], [(1, 2, "b")], ["both"]),
        ([(0, 2, "a")], [(2, 3, "a")], ["missed", "spurious"]),
        ([(0, 3, "a")], [(0, 2, "a"), (2, 3, "a")], ["boundary", "spurious"]),
        ([(0, 2, "a"), (2, 3, "a")], [(0, 3, "a")], ["boundary", "missed"]),
        ([(0, 1, "a"), (1, 4, "b")], [(0, 2, "b"), (1, 4, "b")][1:], ["exact", "missed"]),
        ([(0, 4, "a"), (1, 2, "b")], [(0, 4, "a"), (1, 2, "a")], ["exact", "type"]),  # nested
    ],
)
def test_outcomes(gold: list[tuple[int, int, str]], predicted: list[tuple[int, int, str]], expected: list[str]) -> None:
    pairs = pair_up([Entity(*one) for one in gold], [Entity(*one) for one in predicted])
    assert sorted(pair.outcome for pair in pairs) == sorted(expected)


def test_an_exact_pair_comes_before_a_longer_overlap() -> None:
    pairs = [*pair_up([Entity(0, 5, "a")], [Entity(0, 4, "a"), Entity(0, 5, "b")])]
    assert [pair.outcome for pair in pairs] == ["type", "spurious"]


def test_the_most_frequent_mistake_comes_first_with_its_most_frequent_words() -> None:
    paris = ScoredSentence(("Paris",), frozenset({Entity(0, 1, "place")}), frozenset({Entity(0, 1, "person")}))
    rome = ScoredSentence(("Rome",), paris.gold, paris.predicted)
    stray = ScoredSentence(("Hm",), frozenset(), frozenset({Entity(0, 1, "person")}))
    first, second = mistakes([stray, rome, paris, paris], examples=1)
    assert (first.outcome, first.gold, first.predicted, first.times) == ("type", "place", "person", 3)
    assert [(one.sentence, one.words) for one in first.examples] == [(2, ("Paris",))]
    assert (second.outcome, second.gold, second.predicted, second.times) == ("spurious", None, "person", 1)


def sampled(number: int, seed: int) -> list[ScoredSentence]:
    """Sentences of which about three quarters are right."""
    draw = np.random.RandomState(seed)
    scored = []
    for _ in range(number):
        gold = {Entity(0, 1, TYPES[draw.randint(3)])}
        predicted = gold if draw.rand() < 0.75 else {Entity(0, 1, TYPES[draw.randint(3)])}
        scored.append(ScoredSentence(("a", "b"), frozenset(gold), frozenset(predicted)))
    return scored


def test_intervals_contain_the_score_and_are_reproducible() -> None:
    counts = count(sampled(400, 1))
    report, intervals = score(counts), bootstrap(counts, 1000, 3)
    assert intervals == bootstrap(counts, 1000, 3) != bootstrap(counts, 1000, 4)
    assert intervals.micro is not None and intervals.macro is not None
    assert intervals.micro.low < report.micro.f1 < intervals.micro.high
    assert intervals.macro.low < report.macro.f1 < intervals.macro.high
    for name, interval in intervals.types.items():
        assert interval is not None and interval.low < report.types[name].f1 < interval.high


def test_intervals_are_those_of_drawing_sentence_by_sentence() -> None:
    scored = sampled(120, 2)
    intervals = bootstrap(count(scored), 4000, 0)
    draw = np.random.RandomState(9)
    micro = [score(count([scored[i] for i in draw.randint(0, 120, 120)])).micro.f1 for _ in range(1500)]
    assert intervals.micro == pytest.approx(np.percentile(micro, [2.5, 97.5]), abs=0.015)


def test_more_sentences_narrow_an_interval() -> None:
    few, many = (bootstrap(count(sampled(number, 0)), 500).micro for number in (50, 5000))
    assert few is not None and many is not None
    assert many.high - many.low < (few.high - few.low) / 3


def test_resamples_that_do_not_fit_in_memory_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count(sampled(100, 5))
    whole = bootstrap(counts, 200, 1)
    monkeypatch.setattr("raycner.evaluation.bootstrap.DRAWS_IN_MEMORY", 50)
    assert bootstrap(counts, 200, 1) == whole


def test_a_type_that_no_resample_could_score_has_no_interval() -> None:
    empty = ScoredSentence(("a",), frozenset(), frozenset())
    assert bootstrap(count([empty]), 10).micro is None


def test_only_the_types_asked_for_are_scored() -> None:
    gold, predicted = {Entity(0, 1, "x"), Entity(1, 2, "y")}, {Entity(0, 1, "x"), Entity(2, 3, "y")}
    sentence = ScoredSentence(("a", "b", "c"), frozenset(gold), frozenset(predicted))
    report = entity_report([sentence], ["x"], resamples=0)
    assert list(report.scores.types) == ["x"] and report.scores.micro.f1 == 1.0
    assert report.intervals is None and report.mistakes == ()


@given(sentences(), st.sampled_from(["BIO", "BIOES", "IOB1"]))
def test_tags_that_seqeval_reads_are_our_entities(sentence: ScoredSentence, scheme: Scheme) -> None:
    assert set(decode(encode(sentence.gold, len(sentence.words), scheme))) == sentence.gold
