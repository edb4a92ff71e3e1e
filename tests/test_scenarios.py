"""Protocols: who learns what when, which sentences a step may see, and what is hidden in them."""

import json
import pickle
import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from raycner.data.corpora import Corpus
from raycner.data.entities import Entity
from raycner.data.layouts import LAYOUTS
from raycner.data.scenarios.protocol import PROTOCOLS
from raycner.data.scenarios.scenario import Scenario, ScenarioConfig
from raycner.data.scenarios.steps import ListedSteps, StepConfig
from raycner.data.scenarios.tasks import ORDERS
from raycner.errors import InputError
from raycner.hashing import fingerprint
from raycner.storage.store import ObjectStore


class Kinds:
    """A part of a corpus of which only the types of each sentence's entities matter."""

    def __init__(self, kinds: Sequence[Sequence[str]]) -> None:
        self._entities = [tuple(Entity(i, i + 1, kind) for i, kind in enumerate(types)) for types in kinds]

    def __len__(self) -> int:
        return len(self._entities)

    def all_entities(self) -> Iterator[tuple[Entity, ...]]:
        return iter(self._entities)

    def having(self, types: Collection[str]) -> NDArray[np.int64]:
        return np.flatnonzero([any(entity.type in types for entity in entities) for entities in self._entities])

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


def scenario(
    corpora: Made | Corpus | Sequence[Made],
    *,
    protocol: str = "fg_pg",
    order: tuple[str, ...] = (),
    joint: bool = False,
    **settings: Any,
) -> Scenario:
    listed: Any = corpora if isinstance(corpora, list) else [corpora]
    return Scenario(ScenarioConfig(protocol=PROTOCOLS[protocol](**settings), order=order, joint=joint), listed)


def letters(number: int) -> tuple[str, ...]:
    return tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:number])


def error_line(corpora: Made | Sequence[Made], **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        scenario(corpora, **settings)
    return str(error.value)


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
    assert made.notes == ((f"{left} training sentences are in no step",) if left else ())


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
    prepared = scenario(corpus, first=first, per_step=per_step, sampling=sampling, split_seed=seed)
    total, types = len(corpus["train"]), len(corpus.types)
    assert [e.inventory.sizes[-1] for e in prepared] == [first, *[per_step] * (len(prepared) - 1)]
    assert [len(e.train) for e in prepared] == [total * e.inventory.sizes[-1] // types for e in prepared]
    rows = np.concatenate([e.train.rows for e in prepared])
    assert len(set(rows.tolist())) == len(rows)
    assert all((np.diff(e.train.rows) > 0).all() for e in prepared), "in the order of the corpus"
    assert prepared[-1].inventory.types == corpus.types
    assert [e.index for e in prepared] == list(range(len(prepared)))
    for one, two in pairwise(prepared):
        assert two.inventory.old == one.inventory.types
    again = scenario(corpus, first=first, per_step=per_step, sampling=sampling, split_seed=seed)
    assert all((a.train.rows == b.train.rows).all() for a, b in zip(prepared, again, strict=True))


@given(made=divided())
def test_types_of_other_steps_are_hidden(made: tuple[Made, int, int]) -> None:
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
    steps, bound = scenario(corpus, **shared), scenario(corpus, joint=True, **shared)
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


def test_slices_come_from_a_file_and_steps_are_named_by_their_rows(tmp_path: Path) -> None:
    corpus, file = synthetic(60, 3), tmp_path / "slices.json"

    def written(slices: object, *, joint: bool = False) -> Scenario:
        file.write_text(json.dumps(slices), encoding="utf-8")
        return scenario(corpus, sampling="file", slices=str(file), joint=joint)

    greedy = [e.train.rows.tolist() for e in scenario(corpus)]
    assert [e.train.rows.tolist() for e in written(greedy)] == greedy
    shuffled = [rows[::-1] for rows in greedy]
    assert prints(written(shuffled)) == prints(written(greedy)), "the rows of a step are a set"
    other = [greedy[0], greedy[1][1:], greedy[2]]
    assert [a == b for a, b in zip(prints(written(other)), prints(written(greedy)), strict=True)] == [True, False, True]
    assert prints(written(greedy, joint=True))[0] == prints(written(greedy))[0]
    assert written(other).notes == ("1 training sentences are in no step",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[0], [1]]", "has 2 lists for 3 steps"),
        ("[[0], [1], []]", "gives step 3 no sentence"),
        ("[[0], [1], [60]]", "gives step 3 row 60, but the corpus has rows 0 to 59"),
        ("[[0], [-1], [2]]", "gives step 2 row -1"),
        ("[[0], [1, 2], [2]]", "lists row 2 twice, in step 2 and in step 3"),
        ("[[0, 0], [1], [2]]", "lists row 0 twice, in step 1 and in step 1"),
        ("[[0], [true], [2]]", r"\[1\]\[0\]: Input should be a valid integer"),
        ("[[0], 1, [2]]", r"\[1\]: Input should be a valid array"),
        ("[[0], [1", "Invalid JSON"),
        ("[" * 9999, "Invalid JSON: recursion limit"),
        (None, "No such file"),
    ],
)
def test_files_of_slices_are_validated(text: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "slices.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        scenario(synthetic(60, 3), sampling="file", slices=str(file))
    assert str(error.value).startswith("scenario.protocol.slices: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"sampling": "file"}, {"slices": "rows.json"}])
def test_a_file_of_slices_and_its_sampling_go_together(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sampling=file and slices=FILE go together"):
        PROTOCOLS["fg_pg"](**settings)


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
    ("settings", "line"),
    [
        (
            {"first": 2, "per_step": 3},
            "scenario.protocol.first: first=2 and then per_step=3 do not divide 4 types into steps",
        ),
        ({"first": 2, "per_step": 3}, "; with this per_step, first may be [1, 4] (4 types: A, B, C, D)"),
        ({"first": 5}, "scenario.protocol.first: first=5 and then per_step=1 do not divide 4 types"),
        ({"order": ("A", "E")}, "scenario.order: type 'E' is not annotated in made; known: A, B, C, D"),
        ({"order": ("A", "B", "A")}, "type 'A' is learned twice"),
        ({"order": ("A", "B", "C")}, "2 training sentences are too few to divide among 3 types; give more"),
    ],
)
def test_impossible_divisions_are_rejected_with_a_hint(settings: dict[str, Any], line: str) -> None:
    assert line in error_line(Made(letters(4), [["A"], ["B"]]), **settings)


@pytest.mark.parametrize(
    ("later", "line"),
    [
        ("Z", "scenario.protocol.steps.1.types: type 'Z' is not annotated in made; known: A, B, C, D"),
        ("A", "type 'A' is learned twice; name each type in one step only"),
    ],
)
def test_impossible_steps_are_rejected_with_a_hint(later: str, line: str) -> None:
    corpus = Made(letters(4), [["A"], ["B"]])
    listed = (StepConfig(types=("A",)), StepConfig(types=(later,)))
    assert line in error_line([corpus, corpus], protocol="steps", steps=listed)


def test_suggestions_name_the_nearest_type() -> None:
    corpus = Made(("location", "person"), [["person"]] * 4)
    assert "did you mean person?" in error_line(corpus, order=("preson",))


def test_steps_bring_their_own_sources() -> None:
    news = Made(("LOC", "PER"), [["LOC", "PER"], ["PER"], []], "a" * 16)
    notes = Made(("DRUG", "LOC"), [["DRUG"], ["LOC", "DRUG"]], "b" * 16)
    listed = (StepConfig(types=("PER", "LOC")), StepConfig(types=("DRUG",), corpus={"seed": 1}))
    first, second = prepared = scenario([news, notes], protocol="steps", steps=listed)
    assert (first.inventory.types, second.inventory.types) == (("PER", "LOC"), ("PER", "LOC", "DRUG"))
    assert (len(first.train), len(second.train)) == (3, 2), "a step has the whole of its source"
    assert second.train.corpus is notes
    assert second.train.visible == {"DRUG"}
    assert [part.visible for part in second.test] == [{"PER", "LOC"}, {"DRUG"}], "LOC is no business of the notes"
    assert [part.corpus.fingerprint for part in second.dev] == ["a" * 16, "b" * 16]
    assert [len(first.test), len(second.test)] == [1, 2]
    assert prepared.notes == ()
    assert prepared.key(1).corpora == ("a" * 16, "b" * 16)
    assert prepared.key(0).corpora == ("a" * 16,)


def test_preparing_reads_each_steps_source(tiny_source: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = ObjectStore(str(tmp_path_factory.mktemp("store")))
    listed = (StepConfig(types=("person",)), StepConfig(types=("animal",), corpus={"name": "demo"}))
    config = ScenarioConfig(protocol=ListedSteps(steps=listed), corpus=LAYOUTS["columns"](path=tiny_source))
    prepared = Scenario.prepare(config, store, lambda _: None)
    assert [corpus.types[:2] for corpus in prepared.corpora] == [("animal", "city"), ("animal", "date")]
    opened = Scenario.open(config, store, [corpus.fingerprint for corpus in prepared.corpora])
    for one, two in zip(prepared, opened, strict=True):
        assert list(one.train.sentences([0, 1])) == list(two.train.sentences([0, 1]))


def test_a_split_keeps_pseudo_labels_next_to_gold(tiny_corpus: Corpus) -> None:
    train = scenario(tiny_corpus)[1].train
    labels = [frozenset({Entity(0, 1, "animal")}) if i % 2 else frozenset() for i in range(len(train))]
    annotated = pickle.loads(pickle.dumps(train.with_pseudo(labels)))
    assert [sentence.pseudo for sentence in annotated.sentences()] == labels
    assert [s.entities for s in annotated.sentences()] == [s.entities for s in train.sentences()]
    assert all(sentence.pseudo == frozenset() for sentence in train.sentences())


def test_a_real_corpus_is_divided_the_same_way(tiny_corpus: Corpus) -> None:
    prepared = scenario(tiny_corpus, first=2, per_step=1)
    assert [len(experience.train) for experience in prepared] == [30, 15, 15]
    kinds = Counter(e.type for experience in prepared for s in experience.train.sentences() for e in s.entities)
    assert set(kinds) == set(tiny_corpus.types)
    assert len(prepared[-1].test[0]) == 16


# ---- what a step is called


def prints(prepared: Scenario) -> list[str]:
    return [fingerprint(prepared.key(index)) for index in range(len(prepared))]


def test_committed_steps_keep_their_names() -> None:
    """Keys are in the names of committed steps: nothing that is added to scenarios may change these."""
    dealt = scenario(synthetic(200, 4), first=2)
    joint = scenario(synthetic(200, 4), first=2, joint=True)
    drawn = scenario(synthetic(200, 4), first=2, sampling="random", split_seed=3)
    listed = (StepConfig(types=("A",)), StepConfig(types=("B", "C")))
    steps = scenario([synthetic(200, 4), synthetic(100, 4)], protocol="steps", steps=listed)
    assert prints(dealt) == ["9d0f5169026924e8"] * 3
    assert prints(joint) == ["9d0f5169026924e8", *["c30f90ac7b9cc13c"] * 2]
    assert prints(drawn) == ["62c09eaf079066a4"] * 3
    assert prints(steps) == ["4a257656c35fc847", "bf9ff76c1d9de361"]


def test_a_step_is_named_by_what_it_sees() -> None:
    corpus = synthetic(60, 3)
    for one in ("split", "filter", "progressive"):
        settings = {"target": "C"} if one == "progressive" else {}
        prepared = scenario(corpus, protocol=one, **settings)
        bound = scenario(corpus, protocol=one, joint=True, **settings)
        assert prints(bound)[0] == prints(prepared)[0]
        assert set(prints(bound)[1:]).isdisjoint(prints(prepared)[1:])
    filtered = scenario(corpus, protocol="filter")
    assert prints(scenario(corpus, protocol="filter", order=("A", "B"))) == prints(filtered)[:2]
    assert prints(scenario(corpus, protocol="split", split_seed=9))[0] != prints(scenario(corpus, protocol="split"))[0]
    looked = prints(scenario(corpus, protocol="filter", test="filter"))
    assert set(looked).isdisjoint(prints(filtered)), "scores are committed with the step"


# ---- tasks


@pytest.mark.parametrize("seed", [0, 1])
def test_python_shuffles_as_the_published_split_does(seed: int) -> None:
    """Each part by itself: equal consecutive parts of its shuffled sentences, the rest to the last task."""
    corpus = synthetic(100, 3)
    order = list(range(100))
    random.seed(seed)
    random.shuffle(order)
    expected = [sorted(order[:33]), sorted(order[33:66]), sorted(order[66:])]
    prepared = scenario(corpus, protocol="split", split_seed=seed, shuffle="python")
    assert [e.train.rows.tolist() for e in prepared] == expected
    assert [part.rows.tolist() for part in prepared[-1].dev] == expected
    assert prints(prepared) != prints(scenario(corpus, protocol="split", split_seed=seed))


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Made, list[tuple[str, ...]]]:
    """A corpus in which every type occurs, and its types in groups of one to three."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    names = iter(draw(st.permutations(letters(sum(sizes)))))
    tasks = [tuple(next(names) for _ in range(size)) for size in sizes]
    types = letters(sum(sizes))
    rest = draw(st.lists(st.lists(st.sampled_from(types), max_size=3), max_size=20))
    return Made(types, draw(st.permutations([[kind] for kind in types] + rest))), tasks


@given(made=grouped(), number=st.integers(1, 4), seed=st.integers(0, 3), test=st.sampled_from(["all", "filter"]))
def test_tasks_see_what_is_theirs(made: tuple[Made, list[tuple[str, ...]]], number: int, seed: int, test: str) -> None:
    corpus, tasks = made
    settings = {"tasks": tasks, "permutation": f"P{number}", "test": test}
    total = len(corpus["train"])
    for name in ("split", "filter"):
        prepared = scenario(corpus, protocol=name, **settings, **({"split_seed": seed} if name == "split" else {}))
        assert sorted(e.inventory.new for e in prepared) == sorted(tasks)
        for index, experience in enumerate(prepared):
            own, types = frozenset(experience.inventory.new), frozenset(experience.inventory.types)
            parts = [experience.train, *experience.dev, *experience.test]
            assert all((np.diff(part.rows) > 0).all() for part in parts), "in the order of the corpus, none twice"
            assert experience.train.visible == own
            assert [part.visible for part in experience.dev] == [
                frozenset(e.inventory.new) for e in prepared[: index + 1]
            ]
            assert experience.dev[:-1] == prepared[index - 1].dev if index else len(experience.dev) == 1
            assert experience.test[0].visible == types
            rows = set(experience.test[0].rows.tolist())
            everyone = enumerate(corpus["test"].all_entities())
            assert rows == {row for row, gold in everyone if test == "all" or {e.type for e in gold} & types}
        rows = [set(e.train.rows.tolist()) for e in prepared]
        if name == "split":
            assert sum(map(len, rows)) == len(set.union(*rows)) == total
            assert sorted(map(len, rows))[:-1] == [total // len(tasks)] * (len(tasks) - 1)
        else:
            holders = [
                {row for row, gold in enumerate(corpus["train"].all_entities()) if {e.type for e in gold} & own}
                for own in (set(e.inventory.new) for e in prepared)
            ]
            assert rows == holders


@given(made=grouped(), number=st.integers(2, 4), protocol=st.sampled_from(["split", "filter"]))
def test_what_a_task_sees_is_the_same_in_every_order(
    made: tuple[Made, list[tuple[str, ...]]], number: int, protocol: str
) -> None:
    corpus, tasks = made
    listed, permuted = (scenario(corpus, protocol=protocol, tasks=tasks, permutation=f"P{k}") for k in (1, number))
    assert [e.inventory.new for e in listed] == tasks
    rows = {e.inventory.new: e.train.rows.tolist() for e in listed}
    assert {e.inventory.new: e.train.rows.tolist() for e in permuted} == rows


@given(made=grouped(), protocol=st.sampled_from(["split", "filter"]))
def test_the_bound_of_tasks_sees_everything_so_far(made: tuple[Made, list[tuple[str, ...]]], protocol: str) -> None:
    corpus, tasks = made
    prepared = scenario(corpus, protocol=protocol, tasks=tasks)
    for index, experience in enumerate(scenario(corpus, protocol=protocol, joint=True, tasks=tasks)):
        visible = frozenset(experience.inventory.types)
        assert experience.inventory == prepared[index].inventory
        for joint, parts in ((experience.train, [e.train for e in prepared]), (experience.dev[0], prepared[-1].dev)):
            assert joint.visible == visible
            assert set(joint.rows.tolist()) == {row for part in parts[: index + 1] for row in part.rows.tolist()}
        assert len(experience.dev) == 1
        assert experience.test[0].visible == visible


def test_tasks_are_types_or_coarse_types_or_what_is_listed() -> None:
    fine = ("art-film", "art-music", "person-actor", "art-other")
    corpus = Made(fine, [[kind] for kind in fine] * 2)

    def tasks(**settings: Any) -> list[tuple[str, ...]]:
        return [e.inventory.new for e in scenario(corpus, protocol="split", **settings)]

    assert tasks() == [(kind,) for kind in fine]
    assert tasks(tasks="coarse") == [("art-film", "art-music", "art-other"), ("person-actor",)]
    assert tasks(tasks="coarse", order=fine[1:3]) == [("art-music",), ("person-actor",)]
    assert tasks(tasks=(fine[2:], fine[:2])) == [fine[2:], fine[:2]]


@pytest.mark.parametrize(("orders", "coarse"), list(zip(ORDERS, [False, True], strict=True)))
def test_published_orders_have_names(orders: dict[str, tuple[str, ...]], coarse: bool) -> None:
    types = [f"{name}-{k}" if coarse else name for name in orders["P1"] for k in range(1 + coarse)]
    corpus = Made(types, [[kind] for kind in types])
    settings = {"protocol": "filter", "tasks": "coarse" if coarse else "types"}
    for name, order in orders.items():
        assert sorted(order) == sorted(orders["P1"])
        prepared = scenario(corpus, permutation=name, **settings)
        assert tuple(e.inventory.new[0].partition("-")[0] for e in prepared) == order
    assert f"no order is called 'P{len(orders) + 1}'" in error_line(
        corpus, permutation=f"P{len(orders) + 1}", **settings
    )
    places = {tuple(order.index(name) for name in orders["P1"]) for order in orders.values()}
    assert len(places) == len(orders)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"tasks": (("A",), ("B", "C"))},
            "scenario.protocol.tasks: no task claims D; give each to a task, or list in scenario",
        ),
        ({"tasks": (("A", "B"), ("C", "A", "D"))}, "type 'A' is learned twice"),
        ({"tasks": (("A",), ("Z",))}, "scenario.protocol.tasks.1: type 'Z' is not annotated in made"),
        ({"tasks": (("A", "B", "C", "D"), ())}, "scenario.protocol.tasks.1: a task without types"),
        ({"tasks": (("A",), ("B",)), "order": ("A",)}, "scenario.protocol.tasks: B not in scenario.order"),
        ({"order": ("A", "E")}, "scenario.order: type 'E' is not annotated in made"),
        (
            {"protocol": "filter"},
            "scenario.protocol.tasks: no sentence of train has an entity of C; join the task with another",
        ),
        ({"protocol": "split"}, "2 sentences of train are too few to cut into 4 parts"),
    ],
)
def test_impossible_tasks_are_rejected_with_a_hint(settings: dict[str, Any], line: str) -> None:
    assert line in error_line(Made(letters(4), [["A"], ["B"]]), **{"protocol": "split"} | settings)


def test_types_that_are_not_learned_need_no_task() -> None:
    corpus = Made(letters(4), [["A", "D"], ["B"], ["C"]])
    prepared = scenario(corpus, protocol="filter", tasks=(("B",), ("A",)), order=("A", "B"))
    assert [e.inventory.new for e in prepared] == [("B",), ("A",)]
    assert prepared.notes == ("1 training sentences are in no step",)


# ---- progressive


@given(made=grouped(), share=st.floats(0.3, 0.7), seed=st.integers(0, 3))
def test_progressive_annotates_old_and_new_on_what_is_left(
    made: tuple[Made, list[tuple[str, ...]]], share: float, seed: int
) -> None:
    corpus, _ = made
    if len(corpus.types) < 2:
        corpus = Made(("A", "B"), [["A"], ["B"], []])
    target, total = corpus.types[0], len(corpus["train"])
    settings = {"target": target, "share": share, "split_seed": seed}
    first, second = prepared = scenario(corpus, protocol="progressive", **settings)
    assert len(first.train) == round(share * total)
    assert sorted([*first.train.rows.tolist(), *second.train.rows.tolist()]) == list(range(total))
    assert first.train.visible == first.test[0].visible == frozenset(corpus.types[1:])
    assert second.inventory.new == (target,)
    assert second.train.visible == second.dev[0].visible == second.test[0].visible == frozenset(corpus.types)
    (scratch,) = scenario(corpus, protocol="progressive", scratch=True, **settings)
    assert scratch.train.rows.tolist() == second.train.rows.tolist()
    assert (scratch.train.visible, scratch.inventory.types) == (second.train.visible, second.inventory.types)
    assert prepared.notes == ()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "scenario.protocol.target: no type is chosen; known: A, B, C, D"),
        ({"target": "E"}, "scenario.protocol.target: 'E' is none of the types to learn"),
        ({"target": "A", "order": ("A",)}, "scenario.protocol.target: 'A' is the only type to learn"),
        (
            {"target": "A", "share": 0.9},
            "scenario.protocol.share: share=0.9 leaves one of the two steps without any of 2",
        ),
    ],
)
def test_impossible_progressions_are_rejected(settings: dict[str, Any], line: str) -> None:
    assert line in error_line(Made(letters(4), [["A"], ["B"]]), protocol="progressive", **settings)


# ---- few-shot


@given(seed=st.integers(0, 3), shots=st.integers(1, 8), draw=st.integers(1, 4), per_step=st.sampled_from([1, 2]))
def test_few_shot_steps_draw_so_many_sentences_of_each_type(seed: int, shots: int, draw: int, per_step: int) -> None:
    corpus = synthetic(400, 6)
    settings = {"protocol": "few_shot", "first": 2, "per_step": per_step, "split_seed": seed}
    prepared = scenario(corpus, shots=shots, draw=draw, **settings)
    first, *later = prepared
    assert first.train.rows.tolist() == scenario(corpus, shots=1, draw=9, **settings)[0].train.rows.tolist()
    assert prepared.key(0) == scenario(corpus, shots=1, draw=9, **settings).key(0), "draws share the first step"
    assert len(first.train) == 200 and first.train.visible == {"A", "B"}
    rows = np.concatenate([experience.train.rows for experience in prepared])
    assert len(set(rows.tolist())) == len(rows)
    for experience in later:
        new = experience.inventory.new
        assert experience.train.visible == frozenset(new) and len(new) == per_step
        numbers = [sum(kind in {e.type for e in s.entities} for s in experience.train.sentences()) for kind in new]
        assert min(numbers) >= shots and len(experience.train) <= shots * per_step
        assert experience.test[0].visible == frozenset(experience.inventory.types)
    again = scenario(corpus, shots=shots, draw=draw, **settings)
    assert all((a.train.rows == b.train.rows).all() for a, b in zip(prepared, again, strict=True))


def test_draws_of_few_shot_steps_differ_and_their_bound_sees_all_so_far() -> None:
    corpus, settings = synthetic(400, 3), {"protocol": "few_shot", "shots": 5}
    one, other = (scenario(corpus, draw=draw, **settings) for draw in (1, 2))
    assert one[1].train.rows.tolist() != other[1].train.rows.tolist() and one.key(1) != other.key(1)
    bound = scenario(corpus, joint=True, **settings)
    assert bound.key(0) == one.key(0)
    assert set(bound[2].train.rows.tolist()) == {row for e in one for row in e.train.rows.tolist()}
    assert bound[2].train.visible == {"A", "B", "C"}


def test_types_with_too_few_sentences_are_noted() -> None:
    corpus = Made(letters(2), [["A"], ["B"]] * 10)
    notes = scenario(corpus, protocol="few_shot", shots=20).notes
    assert notes[-1].startswith("step 2 has ") and notes[-1].endswith(" of 20 sentences with B")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"first": 3, "per_step": 2}, "scenario.protocol.first: first=3 and then per_step=2 do not divide 4 types"),
        ({"base_share": 0.01}, "scenario.protocol.base_share: base_share=0.01 of 2 training sentences leaves none"),
        ({}, "scenario.protocol: no sentence with an entity of 'C' is left to draw"),
    ],
)
def test_impossible_few_shot_steps_are_rejected(settings: dict[str, Any], line: str) -> None:
    assert line in error_line(Made(letters(4), [["A", "B"], ["A", "B"]]), protocol="few_shot", **settings)
