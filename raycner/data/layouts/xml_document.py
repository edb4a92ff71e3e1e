"""XML documents, parsed without entities of their own: an entity may name other files, or expand without end."""

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from raycner.data.sources import RawFile
from raycner.errors import InputError


def parse(file: RawFile) -> Element:
    """The root of the document. Raises `InputError` for what is not XML, and for an entity that is not XML's."""
    return parse_text(file.text(), file.name)


def parse_text(text: str, name: str) -> Element:
    """`parse` of the text of a document that errors call `name`."""

    def refuse_entity(entity: str, *_: object) -> None:
        location = f"{name}:{parser.CurrentLineNumber}"
        raise InputError(f"an entity of its own, {entity[:60]!r}", location=location, hint="write the text itself")

    tree = TreeBuilder()
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.data
    parser.EntityDeclHandler = parser.SkippedEntityHandler = refuse_entity
    parser.buffer_text = True
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        what = f"not XML: {expat.ErrorString(error.code)}"
        raise InputError(what, location=f"{name}:{error.lineno}", hint="is the file complete?") from None
    return tree.close()
