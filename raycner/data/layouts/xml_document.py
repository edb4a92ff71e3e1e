"""XML documents, parsed without entities of their own: an entity may name other files, or expand without end."""

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from raycner.data.sources import RawFile
from raycner.errors import InputError


def parse(file: RawFile) -> Element:
    """The root of the document. Raises `InputError` for what is not XML, and for an entity that is not XML's."""

    def refuse_entity(name: str, *_: object) -> None:
        location = f"{file.name}:{parser.CurrentLineNumber}"
        raise InputError(f"an entity of its own, {name[:60]!r}", location=location, hint="write the text itself")

    text = file.text()
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
        raise InputError(what, location=f"{file.name}:{error.lineno}", hint="is the file complete?") from None
    return tree.close()
