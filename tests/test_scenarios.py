"""Protocols: who learns what when, which sentences a step may see, and what is hidden in them."""

import pickle
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycner.data.corpora import Corpus
from raycner.data.entities import Entity
from raycner.data.scenarios import Scenario, ScenarioConfig, StepConfig
from raycner.errors import Refusal
from raycner.storage.store import ObjectStore


class Kinds:
    """A part of a corpus of which only the types of each sentence's entities matter."""

    def __init__(self, kinds: Sequence[Sequence[str]]) -> None:
        self._entities = [tuple(Entity(i, i + 1, kind) for i, kind in enumerate(said)) for said in kinds]

    def __len__(self) -> int:
        return len(self._entities)

    def all_entities(self) -> Iterator[tuple[Entity, ...]]:
        return iter(self._entities)

    def entities(self, row: int) -> tuple[Entity, ...]:
        return self._entities[row]

    def words(self, row: int) -> tuple[str, ...]:
        return ("w",) * (len(self._entities[row]) + 1)


class Made:
    """A corpus made of such parts."""

    def __init__(self, types: Sequence[str], kinds: Sequence[Sequence[str]], fingerprint: str = "0" * 16) -> None:
        self.types, self.fingerprint, self.source = tuple(types), fingerprint, "made"
        self._part = Kinds(kinds)

    def __getitem__(self, _: str) -> Kinds:
        return self._part


def scenario(corpora: Made | Corpus | Sequence[Made], **said: Any) -> Scenario:
    listed: Any = corpora if isinstance(corpora, list) else [corpora]
    return Scenario(ScenarioConfig(**said), listed)


def letters(number: int) -> tuple[str, ...]:
    return tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:number])


def refused(corpora: Made | Sequence[Made], **said: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        scenario(corpora, **said)
    return str(refusal.value)


@cache
def synthetic(sentences: int, types: int) -> Made:
    draw = random.Random(0)
    return Made(letters(types), [draw.choices(letters(types), k=draw.randrange(3)) for _ in range(sentences)])


@pytest.mark.parametrize(
    ("sentences", "types", "first", "per_step", "sizes"),
    [
        (14041, 4, 1, 1, [3510] * 4),  # CoNLL2003
        (14041, 4, 2, 1, [7020, 3510, 3510]),
        (59376, 16, 1, 1, [3711] * 16),  # I2B2
        (59376, 16, 2, 2, [7422] * 8),
        (59376, 16, 8, 2, [29688, *[7422] * 4]),
        (59924, 18, 1, 1, [3329] * 18),  # OntoNotes5
        (59924, 18, 2, 2, [6658] * 9),
        (59924, 18, 8, 2, [26632, *[6658] * 5]),
    ],
)
@pytest.mark.parametrize("sampling", ["greedy", "random"])
def test_slices_have_the_published_sizes(
    sentences: int, types: int, first: int, per_step: int, sizes: list[int], sampling: str
) -> None:
    made = scenario(synthetic(sentences, types), first=first, per_step=per_step, sampling=sampling)
    assert [len(experience.train) for experience in made] == sizes
    left = sentences - sum(sizes)
    assert made.notes == ((f"{left} training sentences left over by equal quotas are not used",) if left else ())


@st.composite
def divided(draw: st.DrawFn) -> tuple[Made, int, int]:
    per_step, steps, first = draw(st.integers(1, 3)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
    types = letters(first + per_step * steps)
    kinds = st.lists(st.sampled_from([*types, "unlearned"]), max_size=4)
    sentences = draw(st.lists(kinds, min_size=len(types), max_size=40))
    return Made(types, sentences), first, per_step


@given(made=divided(), sampling=st.sampled_from(["greedy", "random"]), seed=st.integers(0, 5))
def test_every_division_is_disjoint_and_exact(made: tuple[Made, int, int], sampling: str, seed: int) -> None:
    corpus, first, per_step = made
    laid = scenario(corpus, first=first, per_step=per_step, sampling=sampling, split_seed=seed)
    total, types = len(corpus["train"]), len(corpus.types)
    assert [e.inventory.sizes[-1] for e in laid] == [first, *[per_step] * (len(laid) - 1)]
    assert [len(e.train) for e in laid] == [total * e.inventory.sizes[-1] // types for e in laid]
    rows = np.concatenate([e.train.rows for e in laid])
    assert len(set(rows.tolist())) == len(rows)
    assert all((np.diff(e.train.rows) > 0).all() for e in laid), "in the order of the corpus"
    assert laid[-1].inventory.types == corpus.types
    assert [e.index for e in laid] == list(range(len(laid)))
    for one, two in pairwise(laid):
        assert two.inventory.old == one.inventory.types
    again = scenario(corpus, first=first, per_step=per_step, sampling=sampling, split_seed=seed)
    assert all((a.train.rows == b.train.rows).all() for a, b in zip(laid, again, strict=True))


@given(made=divided())
def test_what_is_not_to_be_seen_is_hidden(made: tuple[Made, int, int]) -> None:
    corpus, first, per_step = made
    for experience in scenario(corpus, first=first, per_step=per_step):
        new, seen = set(experience.inventory.new), set(experience.inventory.types)
        (dev,), (test,) = experience.dev, experience.test
        assert len(dev) == len(test) == len(corpus["dev"])
        for split, visible in ((experience.train, new), (dev, seen), (test, seen)):
            assert split.visible == visible
            for position, sentence in enumerate(split.sentences()):
                row = int(split.rows[position])
                assert sentence.id == row
                assert sentence.words == corpus[split.part].words(row)
                gold = corpus[split.part].entities(row)
                assert sentence.entities == {entity for entity in gold if entity.type in visible}
                assert not sentence.pseudo


@given(made=divided())
def test_joint_sees_every_slice_so_far_with_every_type_so_far(made: tuple[Made, int, int]) -> None:
    corpus, first, per_step = made
    shared = {"first": first, "per_step": per_step}
    steps, bound = scenario(corpus, **shared), scenario(corpus, protocol="joint", **shared)
    seen: set[int] = set()
    for step, joint in zip(steps, bound, strict=True):
        seen |= set(step.train.rows.tolist())
        assert joint.train.rows.tolist() == sorted(seen)
        assert joint.train.visible == frozenset(step.inventory.types)
        assert joint.inventory == step.inventory
        assert joint.test[0].visible == step.test[0].visible


def test_greedy_gives_a_sentence_to_its_rarest_type_with_room() -> None:
    kinds = [["A", "B"], ["A", "B"], ["A"], ["B", "A"], ["A"], [], ["A"], []]  # B is rarer; four places each
    slices = [set(e.train.rows.tolist()) for e in scenario(Made(("A", "B"), kinds), first=1)]
    assert slices[1] >= {0, 1, 3}, "the rarest type comes first, whatever stands first in the sentence"
    assert slices[0] >= {2, 4, 6}
    full = [["B"], ["B"], ["B"], ["A", "B"], ["A"], ["A"]]  # three places each
    slices = [set(e.train.rows.tolist()) for e in scenario(Made(("A", "B"), full), first=1)]
    assert slices == [{3, 4, 5}, {0, 1, 2}], "row 3: B is full, so its next type takes it"


def test_the_seed_decides_what_the_types_leave_open() -> None:
    empty = Made(letters(4), [["A"], ["B"], ["C"], ["D"], *[[]] * 60])
    for sampling in ("greedy", "random"):
        drawn = [scenario(empty, sampling=sampling, split_seed=seed)[0].train.rows.tolist() for seed in (0, 0, 1)]
        assert drawn[0] == drawn[1] != drawn[2]


def test_the_draw_is_the_one_that_was_published_here() -> None:
    """Slices are in the names of committed steps: no version of numpy may draw others."""
    empty = Made(letters(4), [["A"], ["B"], ["C"], ["D"], *[[]] * 12])
    assert [e.train.rows.tolist() for e in scenario(empty)] == [
        [0, 4, 7, 12],
        [1, 6, 10, 11],
        [2, 13, 14, 15],
        [3, 5, 8, 9],
    ]


def test_types_are_learned_in_the_order_that_is_asked_for() -> None:
    corpus = Made(letters(4), [list(letters(4))] * 8)
    asked = scenario(corpus, order=("D", "B", "A"), first=1, per_step=2)
    assert [e.inventory.new for e in asked] == [("D",), ("B", "A")]
    seen = {
        entity.type
        for experience in asked
        for part in experience.test
        for s in part.sentences()
        for entity in s.entities
    }
    assert seen == {"A", "B", "D"}, "C is left out, so it is annotated nowhere"
    assert [len(e.train) for e in asked] == [2, 5]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"first": 2, "per_step": 3}, "scenario.first: first=2 and then per_step=3 do not divide 4 types into steps"),
        ({"first": 2, "per_step": 3}, "; with this per_step, first may be [1, 4] (4 types: A, B, C, D)"),
        ({"first": 5}, "scenario.first: first=5 and then per_step=1 do not divide 4 types"),
        ({"order": ("A", "E")}, "scenario.order: type 'E' is not annotated in made; known: A, B, C, D"),
        ({"order": ("A", "B", "A")}, "type 'A' is learned twice"),
        ({"order": ("A", "B", "C")}, "2 training sentences are too few to share out among 3 types; give more"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_with_the_remedy(said: dict[str, Any], line: str) -> None:
    assert line in refused(Made(letters(4), [["A"], ["B"]]), **said)


@pytest.mark.parametrize(
    ("later", "line"),
    [
        ("Z", "scenario.steps.1.types: type 'Z' is not annotated in made; known: A, B, C, D"),
        ("A", "type 'A' is learned twice; name each type in one step only"),
    ],
)
def test_a_step_that_cannot_be_is_refused_with_the_remedy(later: str, line: str) -> None:
    corpus = Made(letters(4), [["A"], ["B"]])
    listed = (StepConfig(types=("A",)), StepConfig(types=(later,)))
    assert line in refused([corpus, corpus], protocol="steps", steps=listed)


def test_suggestions_name_the_nearest_type() -> None:
    corpus = Made(("location", "person"), [["person"]] * 4)
    assert "did you mean person?" in refused(corpus, order=("preson",))


def test_steps_bring_their_own_sources() -> None:
    news = Made(("LOC", "PER"), [["LOC", "PER"], ["PER"], []], "a" * 16)
    notes = Made(("DRUG", "LOC"), [["DRUG"], ["LOC", "DRUG"]], "b" * 16)
    listed = (StepConfig(types=("PER", "LOC")), StepConfig(types=("DRUG",), source="there"))
    first, second = laid = scenario([news, notes], protocol="steps", steps=listed)
    assert (first.inventory.types, second.inventory.types) == (("PER", "LOC"), ("PER", "LOC", "DRUG"))
    assert (len(first.train), len(second.train)) == (3, 2), "a step has the whole of its source"
    assert second.train.corpus is notes
    assert second.train.visible == {"DRUG"}
    assert [part.visible for part in second.test] == [{"PER", "LOC"}, {"DRUG"}], "LOC is no business of the notes"
    assert [part.corpus.fingerprint for part in second.dev] == ["a" * 16, "b" * 16]
    assert [len(first.test), len(second.test)] == [1, 2]
    assert laid.notes == ()
    assert laid.key(1).corpora == ("a" * 16, "b" * 16)
    assert laid.key(0).corpora == ("a" * 16,)


def test_preparing_reads_each_steps_source(tiny_source: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = ObjectStore(str(tmp_path_factory.mktemp("store")))
    listed = (StepConfig(types=("person",)), StepConfig(types=("animal",), corpus="demo"))
    config = ScenarioConfig(protocol="steps", steps=listed, corpus="columns", source=tiny_source)
    laid = Scenario.prepare(config, store, lambda _: None)
    assert [corpus.types[:2] for corpus in laid.corpora] == [("animal", "city"), ("animal", "date")]
    opened = Scenario.open(config, store, [corpus.fingerprint for corpus in laid.corpora])
    for one, two in zip(laid, opened, strict=True):
        assert list(one.train.sentences([0, 1])) == list(two.train.sentences([0, 1]))


def test_a_split_keeps_what_the_teacher_said_beside_the_gold(tiny_corpus: Corpus) -> None:
    train = scenario(tiny_corpus)[1].train
    said = [frozenset({Entity(0, 1, "animal")}) if i % 2 else frozenset() for i in range(len(train))]
    annotated = pickle.loads(pickle.dumps(train.with_pseudo(said)))
    assert [sentence.pseudo for sentence in annotated.sentences()] == said
    assert [s.entities for s in annotated.sentences()] == [s.entities for s in train.sentences()]
    assert all(sentence.pseudo == frozenset() for sentence in train.sentences())


def test_a_real_corpus_is_laid_out_alike(tiny_corpus: Corpus) -> None:
    laid = scenario(tiny_corpus, first=2, per_step=1)
    assert [len(experience.train) for experience in laid] == [30, 15, 15]
    kinds = Counter(e.type for experience in laid for s in experience.train.sentences() for e in s.entities)
    assert set(kinds) == set(tiny_corpus.types)
    assert len(laid[-1].test[0]) == 16
