"""Our counts are seqeval's, per type and averaged, in both schemes that it reads strictly."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycner.data.entities import Entity, decode
from raycner.data.metrics import add, f1, macro, micro, precision, recall, tally
from raycner.errors import InputError
from raycner.evaluation.seqeval_report import AVERAGES, SeqevalScheme, seqeval_report, seqeval_scores

TYPES = ("LOC", "PER", "person-actor")
TAGS = ["O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BIES")]
Entities = list[list[Entity]]

tag_pairs = st.integers(1, 12).flatmap(
    lambda length: st.tuples(*[st.lists(st.sampled_from(TAGS), min_size=length, max_size=length)] * 2)
)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@given(pairs=st.lists(tag_pairs, min_size=1, max_size=6))
def test_counts_are_seqevals(scheme: SeqevalScheme, pairs: list[tuple[list[str], list[str]]]) -> None:
    gold, predicted = [decode(tags) for tags, _ in pairs], [decode(tags) for _, tags in pairs]
    if not any(gold) and not any(predicted):
        with pytest.raises(InputError, match="no entity"):
            seqeval_scores(gold, predicted, scheme)
        return
    counts = add(*(tally(g, p, TYPES) for g, p in zip(gold, predicted, strict=True)))
    scores = seqeval_scores(gold, predicted, scheme)
    assert set(scores) == {name for name in TYPES if any(counts[name])} | set(AVERAGES)
    for name in scores.keys() - set(AVERAGES):
        tp, fp, fn = counts[name]
        assert scores[name].support == tp + fn
        assert scores[name][:3] == pytest.approx(tuple(score((tp, fp, fn)) for score in (precision, recall, f1)))
    assert scores["micro avg"].f1 == pytest.approx(micro(counts))
    assert scores["macro avg"].f1 == pytest.approx(macro(counts))


def test_the_report_is_seqevals_own_text() -> None:
    gold: Entities = [[Entity(0, 2, "PER"), Entity(2, 3, "PER")], []]
    predicted: Entities = [[Entity(0, 2, "PER")], [Entity(0, 1, "LOC")]]
    lines = seqeval_report(gold, predicted).splitlines()
    assert lines[0].split() == ["precision", "recall", "f1-score", "support"]
    assert [line.split() for line in lines[2:4]] == [
        ["LOC", "0.0000", "0.0000", "0.0000", "0"],
        ["PER", "1.0000", "0.5000", "0.6667", "2"],
    ]


def test_nested_entities_are_rejected() -> None:
    with pytest.raises(InputError, match=r"nested entities: spans 0\.\.2 \(PER\) and 1\.\.2 \(LOC\) overlap"):
        seqeval_report([[Entity(0, 2, "PER"), Entity(1, 2, "LOC")]], [[]])


def test_seqeval_is_imported_when_it_is_asked() -> None:
    code = "import sys, raycner.evaluation.seqeval_report; print(*{'seqeval', 'sklearn'} & sys.modules.keys())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == ""
