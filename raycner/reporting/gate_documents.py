"""A gate as JSON and as JUnit XML, for CI."""

from typing import Any
from xml.etree import ElementTree

from raycner.console import printable
from raycner.evaluation.gate import GateReport, TypeVerdict, mentions_for


def document(report: GateReport) -> dict[str, Any]:
    """A gate as plain data: scores in percent, losses in points."""
    return {
        "schema": 1,
        "model": report.model,
        "against": report.against,
        "passes": report.passes,
        "sources": list(report.sources),
        "sentences": report.sentences,
        "may_lose": report.allowance.points,
        "allow_unseen": report.allowance.unseen,
        "types": {one.type: _type(one) for one in report.types},
        "notes": list(report.notes),
    }


def _type(one: TypeVerdict) -> dict[str, Any]:
    return {
        "verdict": one.verdict,
        "mentions": one.mentions,
        "before": one.before,
        "after": one.after,
        "loss": one.loss,
        "interval": None if one.interval is None else list(one.interval),
        "may_lose": one.allowed,
        "visible_loss": one.visible,
        "lost": one.lost,
        "found_only_after": one.found_only_after,
        "examples": [{"text": lost.text, "sentence": list(lost.words)} for lost in one.examples],
    }


def junit(report: GateReport) -> bytes:
    """One test case per type: what does not pass is a failure."""
    failures = [one for one in report.types if not _passes(one, report)]
    suite = ElementTree.Element(
        "testsuite", name="raycner gate", tests=str(len(report.types)), failures=str(len(failures)), errors="0"
    )
    for one in report.types:
        case = ElementTree.SubElement(suite, "testcase", classname=printable(report.model), name=printable(one.type))
        if one in failures:
            ElementTree.SubElement(case, "failure", message=printable(reason(one)), type=one.verdict)
        else:
            ElementTree.SubElement(case, "system-out").text = printable(reason(one))
    ElementTree.indent(suite)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def reason(one: TypeVerdict) -> str:
    """A verdict in one sentence."""
    change = f"F1 {one.before:.1f} -> {one.after:.1f}"
    if one.interval is None:
        return f"{change}; no sentence mentions it"
    change += f", loss {one.loss:.1f} [{one.interval.low:.1f}, {one.interval.high:.1f}], allowed {one.allowed:g}"
    if one.verdict == "unseen":
        mentions = "1 mention" if one.mentions == 1 else f"{one.mentions} mentions"
        return f"{change}; with {mentions} a loss below {max(one.visible, one.interval.high):.1f} points can be missed"
    return change


def needed(report: GateReport) -> str:
    """How many mentions an unseen type needs; empty if none is unseen."""
    unseen = [one for one in report.types if one.verdict == "unseen"]
    if not unseen:
        return ""
    points = min(one.allowed for one in unseen)
    if points <= 0:
        return "no number of mentions can show that nothing is lost"
    return f"a loss of {points:g} points needs at least {mentions_for(points)} mentions of a type to be seen"


def _passes(one: TypeVerdict, report: GateReport) -> bool:
    return one.verdict == "passed" or (one.verdict == "unseen" and report.allowance.unseen)
