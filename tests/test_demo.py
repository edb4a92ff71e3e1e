"""The generated corpus: it is what continual learning needs, and always the same."""

from collections import Counter, defaultdict
from itertools import islice, pairwise

import pytest

from raycner.data.entities import flaw
from raycner.data.layouts import demo


def names(part: str, number: int = 2000) -> dict[str, Counter[str]]:
    """How often each surface form occurs, by type."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, entities in demo.sentences(part, number, 0):
        for entity in entities:
            counts[entity.type][" ".join(words[entity.start : entity.end])] += 1
    return counts


def test_sentences_are_well_formed() -> None:
    for words, entities in demo.sentences("train", 2000, 0):
        assert not flaw(entities, len(words))
        assert list(entities) == sorted(entities)
        assert entities
        assert all(word and " " not in word and not set("{}|") & set(word) for word in words)
        assert words[0][0].isupper() or not words[0][0].isalpha()
        assert not {("a", "axolotl"), ("an", "llama")} & set(pairwise(words))


def test_equal_arguments_make_equal_sentences_and_longer_corpora_begin_alike() -> None:
    one = list(demo.sentences("train", 50, 7))
    assert one == list(demo.sentences("train", 50, 7)) == list(islice(demo.sentences("train", 500, 7), 50))
    assert one != list(demo.sentences("train", 50, 8))
    assert one != list(demo.sentences("dev", 50, 7))


def test_sentences_hardly_ever_repeat() -> None:
    several_thousand = [words for words, _ in demo.sentences("train", 5000, 0)]
    assert len(set(several_thousand)) > 0.99 * len(several_thousand)


def test_there_are_eight_types_and_none_is_rare() -> None:
    counts = {kind: sum(forms.values()) for kind, forms in names("train").items()}
    assert len(counts) == 8
    assert min(counts.values()) > 400


def test_types_share_sentences() -> None:
    kinds = [{entity.type for entity in entities} for _, entities in demo.sentences("train", 2000, 0)]
    assert sum(map(len, kinds)) / len(kinds) > 2.5
    together = {frozenset((one, two)) for types in kinds for one in types for two in types if one != two}
    assert len(together) >= 0.9 * 8 * 7 / 2


@pytest.mark.parametrize("part", ["dev", "test"])
def test_a_good_part_of_the_names_was_never_trained_on(part: str) -> None:
    trained = names("train")
    for kind, forms in names(part, 500).items():
        unseen = sum(count for form, count in forms.items() if form not in trained[kind])
        assert unseen > 0.25 * sum(forms.values()), kind


def test_words_were_held_out_too_and_not_only_their_combinations() -> None:
    trained = {word for words, _ in demo.sentences("train", 5000, 0) for word in words}
    new = {word for words, _ in demo.sentences("test", 500, 0) for word in words} - trained
    assert {"Dmitri", "pelican"} <= new


@pytest.mark.parametrize("name", ["Jordan", "Washington", "Amazon", "Jaguar", "Casablanca"])
def test_some_names_belong_to_two_types(name: str) -> None:
    assert sum(name in forms for forms in names("train").values()) >= 2
