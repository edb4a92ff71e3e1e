"""What annotation tools export: writers of a text with entities, and small files."""

import base64
import json
from collections.abc import Sequence
from xml.sax.saxutils import escape

Spans = Sequence[tuple[int, int, str]]


def jsonl(*values: object) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def doccano(text: str, spans: Spans) -> str:
    return jsonl({"id": 1, "text": text, "label": [list(span) for span in spans], "Comments": []})


def doccano_relations(text: str, spans: Spans) -> str:
    entities = [{"id": i, "label": kind, "start_offset": a, "end_offset": b} for i, (a, b, kind) in enumerate(spans)]
    return jsonl({"id": 1, "text": text, "entities": entities, "relations": []})


def _region(text: str, span: tuple[int, int, str]) -> dict[str, object]:
    return {"start": span[0], "end": span[1], "text": text[span[0] : span[1]], "labels": [span[2]]}


def label_studio(text: str, spans: Spans) -> str:
    result = [
        {"value": _region(text, span), "id": "x", "from_name": "label", "to_name": "text", "type": "labels"}
        for span in spans
    ]
    annotation = {"id": 1, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": result}
    return json.dumps([{"id": 1, "annotations": [annotation], "predictions": [], "data": {"text": text}}], indent=1)


def label_studio_min(text: str, spans: Spans) -> str:
    task = {"text": text, "id": 1, "label": [_region(text, span) for span in spans], "annotator": 1, "lead_time": 2.5}
    return json.dumps([task])


def prodigy(text: str, spans: Spans) -> str:
    tokens = [{"text": text, "start": 0, "end": len(text), "id": 0}]
    marks = [{"start": a, "end": b, "label": kind, "token_start": 0, "token_end": 0} for a, b, kind in spans]
    return jsonl({"text": text, "tokens": tokens, "spans": marks, "_input_hash": 1, "answer": "accept"})


def bioc_json(text: str, spans: Spans) -> str:
    annotations = [
        {"id": str(i), "infons": {"type": kind}, "text": text[a:b], "locations": [{"offset": 7 + a, "length": b - a}]}
        for i, (a, b, kind) in enumerate(spans)
    ]
    passage = {"offset": 7, "infons": {}, "text": text, "sentences": [], "annotations": annotations, "relations": []}
    return json.dumps({"source": "", "documents": [{"id": "1", "infons": {}, "passages": [passage]}]}, indent=2)


def bioc_xml(text: str, spans: Spans) -> str:
    annotations = "".join(
        f'<annotation id="{i}"><infon key="type">{kind}</infon><location offset="{7 + a}" length="{b - a}"/>'
        f"<text>{escape(text[a:b])}</text></annotation>"
        for i, (a, b, kind) in enumerate(spans)
    )
    passage = f"<passage><offset>7</offset><text>{escape(text)}</text>{annotations}</passage>"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE collection SYSTEM "BioC.dtd">\n'
    return f"{head}<collection><source/><document><id>1</id>{passage}</document></collection>\n"


def pubtator(text: str, spans: Spans) -> str:
    title, _, abstract = text.partition("\n")
    marks = "".join(f"12\t{a}\t{b}\t{' '.join(text[a:b].split())}\t{kind}\tD1\n" for a, b, kind in spans)
    return f"12|t|{title}\n12|a|{abstract}\n{marks}12\tCID\tD1\tD2\n\n"


DOC_BIN = base64.b64decode(
    b"eJzrWl6WWlScmZ+32EDPcGliSUlR8WRHX79lJfnZqXnFRxlP/DGx8OIqnb2FmQECahgh9H6B/Hb1hnZvRjTxHYwT9xZE3/7MxIAK"
    b"JvxUYNxkOc8EXXzjninT+j8rZcDMV7S/yaw6xyljC4fP9Ve1s3MZ0cR3ikl19779o4xuznyoQnRxPlFj3YLvPQXo4jU41LtkXxFf"
    b"2Mosiy7eWXVi+88odi508UWH1vi8uVm/Hl38/dk7eY8cI1ahixuW+GpHHN0sjS4u+MPt0GerzDJ08eyirVEzereyoounTS22iv8a"
    b"e5ABh3p08WXFBYnJqcVHhBlBgAFMMEAIhuU5qXnpJRnFRzgEGSAhsry4pCgzL734DoP0goUKC3UW6i00XeyYkrjcqSgxtxiYWvxS"
    b"y5f75ZdkABUt8S/OyV8W4BoU7O+3JDK/KHtxIlBhEkThkuTE4tTFKaklS9JyUsuXZKQWpS7KTV+cB9SeB9WeD9JeAEyF+XlLC3KA"
    b"jlxUkr+kEmjOkg/zZzQBDSgpntTQsDQtJzG9eFLjpozE4vjSvOy8/PK8eIifDmEVXA2k8+LTi/JLC4onHWGcAEQrS4tTi+JTEksS"
    b"gQINQAQAVFXKAg=="
)
"""What spaCy 3.8 writes of two documents, with attrs ENT_IOB and ENT_TYPE."""

CONLLU = """\
# text = Ada Bramson sah zum Mond
1\tAda\tAda\tPROPN\t_\t_\t2\tnsubj\t_\tNER=B-PER|SpaceAfter=No
2\tBramson\t_\tPROPN\t_\t_\t0\troot\t_\tNER=I-PER
2.1\tnull\t_\t_\t_\t_\t_\t_\t_\tNER=B-PER
3\tsah\t_\tVERB\t_\t_\t2\tx\t_\t_
4-5\tzum\t_\t_\t_\t_\t_\t_\t_\t_
4\tzu\t_\tADP\t_\t_\t2\tx\t_\t_
5\tdem\t_\tDET\t_\t_\t2\tx\t_\t_
6-7\tAmMond\t_\t_\t_\t_\t_\t_\t_\tNER=B-LOC
6\tam\t_\tADP\t_\t_\t2\tx\t_\t_
7\tMond\t_\tNOUN\t_\t_\t2\tx\t_\t_

"""

WEBANNO = """\
#FORMAT=WebAnno TSV 3.3
#T_SP=de.tudarmstadt.ukp.dkpro.core.api.lexmorph.type.pos.POS|PosValue
#T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value
#T_RL=webanno.custom.Relation|label|BT_de.tudarmstadt


#Text=Ada Bramson saw New\\nYork .
1-1\t0-3\tAda\tNNP\t_\tPER[1]\t_\t_\t
1-2\t4-11\tBramson\tNNP\t_\tPER[1]\t_\t_\t
1-3\t12-15\tsaw\tVBD\t_\t_\t_\t_\t
1-4\t16-19\tNew\tNNP\t_\tLOC\\_x[2]\t_\t_\t
1-5\t20-24\tYork\tNNP\t_\tLOC\\_x[2]\t_\t_\t
1-6\t25-26\t.\t.\t_\t_\t_\t_\t

#Text=Oslo
2-1\t27-31\tOslo\tNNP\t_\tLOC\t_\t_\t
"""
