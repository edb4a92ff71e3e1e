"""How text is cut: by the rules, by the pre-tokeniser of BERT, and without losing a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import BertPreTokenizer

from raycner.data.words import sentences, spelt, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna visits Lake Como.", "Anna visits Lake Como ."),
        ("U.S. $5,000 (net)", "U . S . $ 5 , 000 ( net )"),
        ("na\u00efve caf\u00e9\u2019s \u20ac5", "na\u00efve caf\u00e9 \u2019 s \u20ac5"),
        ("\u6771\u4eac\u3067 Oslo", "\u6771 \u4eac \u3067 Oslo"),
        ("\u0928\u092e\u0938\u094d\u0924\u0947 b\u0301", "\u0928\u092e\u0938\u094d\u0924\u0947 b\u0301"),
        ("  \t\u00a0 ", ""),
        ("snake_case-word", "snake _ case - word"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert " ".join(spelt(text, words(text))) == expected


@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]) | st.sampled_from("\u00e9\u00df\u20ac\u2026 \n"))
)
def test_words_are_those_that_bert_looks_for_pieces_in(text: str) -> None:
    assert words(text) == [place for _, place in BertPreTokenizer().pre_tokenize_str(text)]


@given(st.text())
def test_words_leave_nothing_out_but_space(text: str) -> None:
    places = words(text)
    bounds = [bound for place in places for bound in place]
    assert bounds == sorted(bounds)
    assert "".join(spelt(text, places)) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rained. \u201cNobody came!\u201d said Dr. Finch. He left.", 3),
        ("one line\nanother\n\n a third ", 3),
        ("costs approx. 5 crowns. and so on", 1),
        ("What? Who! ...", 2),
        ("\u3042\u308a\u3002\u3044\u3044", 2),
        (" \n ", 0),
    ],
)
def test_sentences(text: str, expected: int) -> None:
    assert len(sentences(text)) == expected


@given(st.text(st.sampled_from("abcdeA .!?\n\u3002")), st.data())
def test_sentences_contain_every_word_and_split_no_span(text: str, data: st.DataObject) -> None:
    bounds = st.integers(0, len(text))
    whole = [tuple(sorted(pair)) for pair in data.draw(st.lists(st.tuples(bounds, bounds), max_size=3))]
    spans = [(a, b) for a, b in whole if a < b and text[a].strip() and text[b - 1].strip()]
    cut = sentences(text, spans)
    assert [(a + c, a + d) for a, b in cut for c, d in words(text[a:b])] == words(text)
    assert all(any(a <= c and d <= b for a, b in cut) for c, d in spans)
