"""Label Studio: JSON exports of text labelling, in full (JSON) or short (JSON_MIN)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from raycner.data.layouts.json_values import every_item
from raycner.data.layouts.jsonl import Object
from raycner.data.layouts.layout import LAYOUTS, brief, span, tried
from raycner.data.layouts.offsets import Mark, Marked, TextLayout
from raycner.data.sources import RawFile
from raycner.errors import InputError
from raycner.hashing import omit_default_from_hash

ANNOTATIONS = ("annotations", "completions")
"""The key of what annotators left, in exports of different versions."""


@LAYOUTS.register("label_studio")
class LabelStudio(TextLayout):
    """A JSON or JSON_MIN export: an array of tasks, or a task a line.

    Of a task with several annotations, the ground truth is read, or else the first one; cancelled ones, predictions,
    relations and choices are ignored. Tasks without an annotation are left out. All three are counted. A region with
    several labels is several entities.
    """

    text_key: str = omit_default_from_hash("")
    """The key of the text in a task's data; when empty, `text`, or else the only text in it."""

    def marked(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Marked | InputError]:
        tally = Counter[str]()
        read = partial(self._marked, tally=tally)
        yield from (text for text in tried(read, every_item(files)) if text is not None)
        if tally["unannotated"]:
            notes.append(f"{tally['unannotated']} tasks without an annotation were left out")
        if tally["several"]:
            notes.append(f"{tally['several']} tasks have several annotations: the ground truth or first one was read")

    def _marked(self, task: Object, tally: Counter[str]) -> Marked | None:
        """The text of a task, None if nobody has annotated it."""
        regions = _regions(task, tally)
        if regions is None:
            return None
        marks = [mark for region in regions for mark in _marks(region, task)]
        return Marked(task.file, task.line, self._text(task), marks)

    def _text(self, task: Object) -> str:
        data = task.fields.get("data", task.fields)
        if not isinstance(data, dict):
            raise task.error(f"data is {brief(data)}", 'write "data": {"text": a text}')
        texts = {key: value for key, value in data.items() if isinstance(value, str) and value.strip()}
        if "data" not in task.fields:
            texts = {key: value for key, value in texts.items() if key not in ("created_at", "updated_at")}
        key = self.text_key or ("text" if "text" in texts or len(texts) != 1 else next(iter(texts)))
        if key not in texts:
            choose = f"set scenario.corpus.text_key to one of {', '.join(texts)}"
            raise task.error(f"no text called {key!r} in it", choose if texts else "is it a project of texts?")
        return texts[key]


def _regions(task: Object, tally: Counter[str]) -> list[Any] | None:
    """The labelled regions of a task, None where nobody has annotated it."""
    key = next((key for key in ANNOTATIONS if key in task.fields), None)
    if key is None and "data" not in task.fields:
        return _short_regions(task)
    annotations = task.fields.get(key) if key else []
    if not (isinstance(annotations, list) and all(isinstance(one, dict) for one in annotations)):
        raise task.error(f"{key} are {brief(annotations)}", "export the project as JSON")
    finished = [one for one in annotations if not one.get("was_cancelled")]
    tally["several"] += len(finished) > 1
    if not finished:
        tally["unannotated"] += 1
        return None
    chosen = next((one for one in finished if one.get("ground_truth")), finished[0])
    results = chosen.get("result")
    if not (isinstance(results, list) and all(isinstance(result, dict) for result in results)):
        raise task.error(f"result is {brief(results)}", "export the project as JSON")
    if any(result.get("type") == "hypertextlabels" for result in results):
        raise task.error("labels of HTML, whose offsets are not those of a text", "label plain text instead")
    return [result.get("value") for result in results if result.get("type", "labels") == "labels"]


def _short_regions(task: Object) -> list[Any]:
    """The regions of a task in JSON_MIN: the list of objects with labels."""
    lists = [value for value in task.fields.values() if isinstance(value, list) and value and all(map(_labels, value))]
    if len(lists) > 1:
        raise task.error("several lists of labels in it", "export the project as JSON, with one labelling")
    return lists[0] if lists else []


def _labels(region: Any) -> bool:
    return isinstance(region, Mapping) and "labels" in region


def _marks(region: Any, task: Object) -> Iterator[Mark]:
    if not (isinstance(region, dict) and isinstance(region.get("labels"), list)):
        raise task.error(f"value is {brief(region)}", 'write {"start": 0, "end": 4, "labels": ["person"]}')
    text = region.get("text")
    for label in region["labels"]:
        entity = span([region.get("start"), region.get("end"), label])
        if entity is None:
            raise task.error(f"value is {brief(region)}", 'write {"start": 0, "end": 4, "labels": ["person"]}')
        yield Mark(entity.start, entity.end, entity.type, task.line, text if isinstance(text, str) else None)
