"""seqeval as the oracle: its strict `classification_report` of the entities that we count ourselves.

seqeval imports scikit-learn, so it is imported when it is first asked.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

from raycner.data.entities import Entity, encode, flaw
from raycner.errors import InputError

SeqevalScheme = Literal["BIO", "BIOES"]
"""The schemes of ours that seqeval reads strictly: its IOB2 and IOBES."""
Sentences = Sequence[Collection[Entity]]
"""The entities of each sentence."""
AVERAGES = ("micro avg", "macro avg", "weighted avg")


class SeqevalScores(NamedTuple):
    """One row of seqeval's report; precision, recall and F1 are fractions."""

    precision: float
    recall: float
    f1: float
    support: int


def seqeval_report(gold: Sentences, predicted: Sentences, scheme: SeqevalScheme = "BIO", digits: int = 4) -> str:
    """seqeval's strict `classification_report` as it prints it.

    Raises `InputError` for nested entities, which tags cannot spell, and where there is no entity at all.
    """
    text: str = _classification_report(gold, predicted, scheme, digits=digits)
    return text


def seqeval_scores(gold: Sentences, predicted: Sentences, scheme: SeqevalScheme = "BIO") -> dict[str, SeqevalScores]:
    """The rows of that report: one for each type that occurs, then `AVERAGES`. Raises as `seqeval_report` does."""
    rows = _classification_report(gold, predicted, scheme, output_dict=True)
    return {
        name: SeqevalScores(
            precision=float(row["precision"]),
            recall=float(row["recall"]),
            f1=float(row["f1-score"]),
            support=int(row["support"]),
        )
        for name, row in rows.items()
    }


def _classification_report(gold: Sentences, predicted: Sentences, scheme: SeqevalScheme, **options: Any) -> Any:
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2, IOBES

    gold_tags, predicted_tags = [], []
    for gold_entities, predicted_entities in zip(gold, predicted, strict=True):
        length = max((entity.end for entity in (*gold_entities, *predicted_entities)), default=0)
        gold_tags.append(_tags(gold_entities, length, scheme))
        predicted_tags.append(_tags(predicted_entities, length, scheme))
    if not any(gold) and not any(predicted):
        raise InputError("no entity in gold or predictions", hint="seqeval reports on types that occur")
    schemes = {"BIO": IOB2, "BIOES": IOBES}
    return classification_report(
        gold_tags, predicted_tags, mode="strict", scheme=schemes[scheme], zero_division=0, **options
    )


def _tags(entities: Collection[Entity], length: int, scheme: SeqevalScheme) -> list[str]:
    """The tags of the words up to the last entity: the O's that follow it change no count."""
    if overlap := flaw(sorted(entities), length):
        raise InputError(f"seqeval reads tags, which cannot spell nested entities: {overlap}", hint="leave seqeval out")
    return encode(entities, length, scheme)
