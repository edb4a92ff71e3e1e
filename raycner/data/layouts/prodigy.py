"""Prodigy: JSON lines of texts with spans, each answered."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from raycner.data.layouts.json_values import every_item
from raycner.data.layouts.jsonl import Object
from raycner.data.layouts.layout import LAYOUTS, brief, span, tried
from raycner.data.layouts.offsets import Mark, Marked, TextLayout
from raycner.data.sources import RawFile
from raycner.errors import InputError

ANSWERS = ("accept", "reject", "ignore")


@LAYOUTS.register("prodigy")
class Prodigy(TextLayout):
    """The output of `prodigy db-out`: `text`, `spans` of `start`, `end` and `label`, and an `answer`.

    Texts that were rejected or ignored are left out, and counted; a text without an answer counts as accepted. The
    text is split into words again, so `tokens` are ignored.
    """

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:
        tally = Counter[str]()
        read = partial(_marked, tally=tally)
        yield from (text for text in tried(read, every_item(files)) if text is not None)
        left_out = [answer for answer in ANSWERS[1:] if tally[answer]]
        notes += [f"{tally[answer]} texts with the answer {answer} were left out" for answer in left_out]
        if tally["binary"]:
            count = tally["binary"]
            notes.append(f"{count} texts are binary answers: entities that were not asked for are not annotated")


def _marked(item: Object, tally: Counter[str]) -> Marked | None:
    """The text of a task, None if it was not accepted."""
    answer = item.fields.get("answer", ANSWERS[0])
    if answer not in ANSWERS:
        raise item.error(f"answer is {brief(answer)}", f"write one of {', '.join(ANSWERS)}")
    tally[answer] += 1
    if answer != ANSWERS[0]:
        return None
    tally["binary"] += item.fields.get("_is_binary") is True
    text, spans = item.fields.get("text"), item.fields.get("spans") or []
    if not (isinstance(text, str) and text.strip()):
        raise item.error(f"text is {brief(text)}", 'write "text": a text that is not empty')
    if not isinstance(spans, list):
        raise item.error(f"spans are {brief(spans)}", 'write "spans": a list, which may be empty')
    return Marked(item.file, item.line, text, [_mark(value, item) for value in spans])


def _mark(value: Any, item: Object) -> Mark:
    entity = span([value.get("start"), value.get("end"), value.get("label")]) if isinstance(value, dict) else None
    if entity is None:
        raise item.error(f"span is {brief(value)}", 'write {"start": 0, "end": 4, "label": "person"}')
    text = value.get("text")
    return Mark(entity.start, entity.end, entity.type, item.line, text if isinstance(text, str) else None)
