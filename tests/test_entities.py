"""The vocabulary: schemes are inverses of each other, and lenient reading is the field's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from raycner.data.entities import (
    Entity,
    Scheme,
    Sentence,
    TypeInventory,
    belongs,
    breaches,
    decode,
    detect,
    encode,
    flaw,
    split_tag,
)
from raycner.errors import InputError

SCHEMES: tuple[Scheme, ...] = ("BIO", "BIOES", "IO", "IOB1")
TYPES = ("person", "LOC", "person-actor", "or")  # "or" ends "actor": types are compared whole


@st.composite
def annotated(draw: st.DrawFn, gap: int = 0) -> tuple[list[Entity], int]:
    """Flat entities, at least `gap` words apart, and the length of their sentence."""
    entities, at = [], 0
    for before, length, kind in draw(
        st.lists(st.tuples(st.integers(gap, 3), st.integers(1, 4), st.sampled_from(TYPES)), max_size=5)
    ):
        entities.append(Entity(at + before, at + before + length, kind))
        at += before + length
    return entities, at + draw(st.integers(0, 3))


def tags_of(prefixes: str) -> st.SearchStrategy[list[str]]:
    tags = ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("x", "y"))]
    return st.lists(st.sampled_from(tags), max_size=12)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES", "IOB1"])
@given(sentence=annotated())
def test_every_scheme_that_parts_neighbours_is_read_back(sentence: tuple[list[Entity], int], scheme: Scheme) -> None:
    entities, length = sentence
    tags = encode(entities, length, scheme)
    assert len(tags) == length
    assert decode(tags) == entities


@given(sentence=annotated(gap=1))
def test_io_is_read_back_when_no_neighbours_touch(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    assert decode(encode(entities, length, "IO")) == entities


def test_io_merges_neighbours_of_one_type() -> None:
    assert decode(encode([Entity(0, 1, "x"), Entity(1, 2, "x")], 2, "IO")) == [Entity(0, 2, "x")]


@given(tags=tags_of("BIES"))
def test_lenient_reading_is_seqevals(tags: list[str]) -> None:
    assert [(e.type, e.start, e.end - 1) for e in decode(tags)] == get_entities(tags)


def test_bilou_and_bare_types_are_read() -> None:
    assert decode(["B-x", "I-x", "L-x", "U-x", "U-x"]) == [Entity(0, 3, "x"), Entity(3, 4, "x"), Entity(4, 5, "x")]
    assert decode(["art-film", "art-film", "O", "other"]) == [Entity(0, 2, "art-film"), Entity(3, 4, "other")]


@pytest.mark.parametrize("scheme", SCHEMES)
@given(sentences=st.lists(annotated(), min_size=1, max_size=4))
def test_a_well_spelt_corpus_is_detected_as_what_it_can_be_strictly_read_as(
    sentences: list[tuple[list[Entity], int]], scheme: Scheme
) -> None:
    corpus = [encode(entities, length, scheme) for entities, length in sentences]
    detected = detect(corpus)
    assert all(belongs(tag, detected) for tags in corpus for tag in tags)
    assert not [wrong for tags in corpus for wrong in breaches(tags, detected)]
    if any(entities for entities, _ in sentences) and scheme != "IOB1":
        assert detected == scheme


def test_detection_of_iob1_needs_both_of_its_signs() -> None:
    assert detect([["I-x", "B-x"]]) == "IOB1"
    assert detect([["I-x", "I-x"], ["O", "I-y"]]) == "IO"
    assert detect([["I-x", "O", "B-x"]]) == "BIO"
    assert detect([["U-x"]]) == "BIOES"


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@given(data=st.data())
def test_what_breaks_no_rule_is_what_encoding_writes(data: st.DataObject, scheme: Scheme) -> None:
    tags = data.draw(tags_of("BI" if scheme == "BIO" else "BIES"))
    well_spelt = encode(decode(tags), len(tags), scheme) == tags
    assert well_spelt == (not list(breaches(tags, scheme)))


@pytest.mark.parametrize(
    ("scheme", "tags", "word", "wrong"),
    [
        ("BIO", "O I-x", 1, "I-x without a B-x"),
        ("BIO", "B-y I-x", 1, "I-x without a B-x"),
        ("BIOES", "O B-x O", 1, "B-x without an E-x"),
        ("BIOES", "B-x I-x", 1, "I-x without an E-x"),
        ("BIOES", "S-x E-x", 1, "E-x without a B-x"),
        ("BIOES", "B-x U-x", 0, "B-x without an E-x"),
    ],
)
def test_breaches_name_word_and_fault(scheme: Scheme, tags: str, word: int, wrong: str) -> None:
    [(position, fault)] = breaches(tags.split(), scheme)
    assert position == word
    assert fault.startswith(wrong)


@pytest.mark.parametrize("tag", ["", "B", "I-", "b_PER", "B_PER", "o", "E.x"])
def test_a_misspelt_tag_belongs_to_no_scheme(tag: str) -> None:
    assert split_tag(tag)[0] == "?"
    assert not any(belongs(tag, scheme) for scheme in SCHEMES)


def test_a_tag_belongs_to_the_schemes_that_have_its_kind() -> None:
    assert [scheme for scheme in SCHEMES if belongs("S-x", scheme)] == ["BIOES"]
    assert [scheme for scheme in SCHEMES if belongs("event", scheme)] == ["IO"]
    assert [scheme for scheme in SCHEMES if belongs("B-x", scheme)] == ["BIO", "BIOES", "IOB1"]


@given(sentence=annotated())
def test_flat_entities_have_no_flaw_until_one_is_doubled_or_pushed_out(sentence: tuple[list[Entity], int]) -> None:
    entities, length = sentence
    assert flaw(entities, length) == ""
    if entities:
        assert "overlap" in flaw([*entities, entities[0]], length)
        assert "outside" in flaw(entities, entities[-1].end - 1)


def test_gold_takes_precedence_over_pseudo_labels() -> None:
    gold, apart, across = Entity(2, 4, "x"), Entity(0, 2, "y"), Entity(3, 5, "y")
    sentence = Sentence(0, ("w",) * 5, frozenset({gold}), frozenset({apart, across}))
    assert sentence.labelled() == [apart, gold]


def test_an_inventory_only_grows() -> None:
    inventory = TypeInventory().grow(["b", "a"]).grow(["c"])
    assert (inventory.types, inventory.sizes) == (("b", "a", "c"), (2, 1))
    assert (inventory.old, inventory.new, inventory.block(0)) == (("b", "a"), ("c",), ("b", "a"))
    with pytest.raises(InputError, match="'a' is learned twice"):
        inventory.grow(["a"])
    with pytest.raises(ValueError, match="do not add up"):
        TypeInventory(("a",), (2,))
