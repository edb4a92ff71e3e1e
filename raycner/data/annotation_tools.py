"""Files that annotation tools import: texts whose entities a person corrects. `data/layouts` reads their exports.

labelstudio   tasks with predictions, and the labelling interface next to them (FILE.xml)
prodigy       texts with spans and tokens, for ner.manual
doccano       texts with labels
brat          a folder with a .txt and an .ann per text, and annotation.conf
jsonl         texts with entities, as the layout `offsets` reads them
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from raycner.data.words import words
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.storage.durable_files import output_folder, replacing


class Suggestion(NamedTuple):
    """An entity that a model suggests, in characters of a text, end exclusive."""

    start: int
    end: int
    type: str
    confidence: float


@dataclass(frozen=True, slots=True)
class SuggestedText:
    """A text to be corrected, and how much it would teach."""

    text: str
    suggestions: tuple[Suggestion, ...]
    score: float
    model: str = ""
    """The step that suggests, RUN:STEP."""


@dataclass(frozen=True)
class AnnotationTool:
    """A tool: how its files are written, and which layout reads what it exports."""

    write: Callable[[Sequence[SuggestedText], Sequence[str], Path], None]
    layout: str
    pattern: str = "{path}"
    """The source that the layout reads, of the path of an export in the same form."""


def labelling_interface(types: Sequence[str]) -> str:
    """The interface of a Label Studio project of texts, in which these types are marked."""
    labels = "\n".join(f"    <Label value={quoteattr(kind)}/>" for kind in types)
    return f"""<View>
  <Labels name="label" toName="text">
{labels}
  </Labels>
  <Text name="text" value="$text"/>
</View>
"""


def label_studio_result(
    suggestions: Sequence[Suggestion], text: str, label: str = "label", field: str = "text"
) -> list[Plain]:
    """The regions of a text; `label` and `field` are the names of the interface's Labels and Text."""
    return [
        {
            "id": f"{s.start}-{s.end}-{number}",
            "from_name": label,
            "to_name": field,
            "type": "labels",
            "score": round(s.confidence, 4),
            "value": {"start": s.start, "end": s.end, "text": text[s.start : s.end], "labels": [s.type]},
        }
        for number, s in enumerate(suggestions)
    ]


def _write_label_studio(texts: Sequence[SuggestedText], types: Sequence[str], path: Path) -> None:
    tasks = [
        {
            "data": {"text": one.text},
            "predictions": [
                {
                    "model_version": one.model,
                    "score": round(one.score, 4),
                    "result": label_studio_result(one.suggestions, one.text),
                }
            ],
        }
        for one in texts
    ]
    with replacing(path) as stream:
        stream.write(json.dumps(tasks, ensure_ascii=False, indent=1).encode())
    with replacing(path.with_name(f"{path.name}.xml")) as stream:
        stream.write(labelling_interface(types).encode())


def _write_prodigy(texts: Sequence[SuggestedText], types: Sequence[str], path: Path) -> None:
    del types  # the recipe is called with them
    _write_lines([_prodigy_task(one) for one in texts], path)


def _prodigy_task(one: SuggestedText) -> dict[str, Plain]:
    places = words(one.text)
    tokens: list[Plain] = [
        {"text": one.text[a:b], "start": a, "end": b, "id": i, "ws": one.text[b : b + 1].isspace()}
        for i, (a, b) in enumerate(places)
    ]
    spans: list[Plain] = []
    for s in one.suggestions:
        touched = [i for i, (a, b) in enumerate(places) if a < s.end and s.start < b]
        spans.append(
            {"start": s.start, "end": s.end, "label": s.type, "token_start": touched[0], "token_end": touched[-1]}
        )
    meta: Plain = {"score": round(one.score, 4), "model": one.model}
    return {"text": one.text, "tokens": tokens, "spans": spans, "meta": meta}


def _write_doccano(texts: Sequence[SuggestedText], types: Sequence[str], path: Path) -> None:
    del types  # the project has them
    lines: list[dict[str, Plain]] = [
        {"text": one.text, "label": [[s.start, s.end, s.type] for s in one.suggestions], "score": round(one.score, 4)}
        for one in texts
    ]
    _write_lines(lines, path)


def _write_jsonl(texts: Sequence[SuggestedText], types: Sequence[str], path: Path) -> None:
    del types
    lines: list[dict[str, Plain]] = [
        {
            "text": one.text,
            "entities": [
                {
                    "start": s.start,
                    "end": s.end,
                    "type": s.type,
                    "text": one.text[s.start : s.end],
                    "confidence": round(s.confidence, 4),
                }
                for s in one.suggestions
            ],
            "score": round(one.score, 4),
            "model": one.model,
        }
        for one in texts
    ]
    _write_lines(lines, path)


def _write_lines(lines: Sequence[dict[str, Plain]], path: Path) -> None:
    with replacing(path) as stream:
        stream.writelines(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def _write_brat(texts: Sequence[SuggestedText], types: Sequence[str], path: Path) -> None:
    """A document per text, named by its rank. brat has no spaces in the names of types."""
    unwritable = [kind for kind in types if re.search(r"\s", kind)]
    if unwritable:
        raise InputError(f"type {unwritable[0]!r} has a space", location="--format brat", hint="use another format")
    with output_folder(path) as folder:
        for rank, one in enumerate(texts, 1):
            name = f"{rank:0{len(str(len(texts)))}d}"
            lines = [
                f"T{i}\t{s.type} {s.start} {s.end}\t{one.text[s.start : s.end]}\n"
                for i, s in enumerate(one.suggestions, 1)
            ]
            (folder / f"{name}.txt").write_text(one.text, encoding="utf-8", newline="")
            (folder / f"{name}.ann").write_text("".join(lines), encoding="utf-8", newline="")
        sections = "[entities]\n" + "".join(f"{kind}\n" for kind in types) + "[relations]\n[events]\n[attributes]\n"
        (folder / "annotation.conf").write_text(sections, encoding="utf-8", newline="")


TOOLS = {
    "labelstudio": AnnotationTool(_write_label_studio, "label_studio"),
    "prodigy": AnnotationTool(_write_prodigy, "prodigy"),
    "doccano": AnnotationTool(_write_doccano, "doccano"),
    "brat": AnnotationTool(_write_brat, "brat", "{path}/*.*"),
    "jsonl": AnnotationTool(_write_jsonl, "offsets"),
}
