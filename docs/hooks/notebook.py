"""The tutorial notebook as a page: its text, its code, and the outputs that it was saved with."""

import html
import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[1] / "tutorial.ipynb"


def on_files(files: Any, config: Any) -> Any:
    """Add the page; MkDocs calls it once per build."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "tutorial.md", content=page()))
    return files


def page() -> str:
    """The notebook as Markdown."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(part for cell in cells for part in _cell(cell)) + "\n"


def _cell(cell: Mapping[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for is_line, outputs in groupby(cell["outputs"], _is_line):
        if is_line:
            yield _listing("".join(map(_text, outputs)).rstrip())
        else:
            yield from map(_output, outputs)


def _is_line(output: Mapping[str, Any]) -> bool:
    """Whether an output is a line of progress."""
    return output["output_type"] != "execute_result" and "image/png" not in output.get("data", {})


def _text(output: Mapping[str, Any]) -> str:
    return "".join(output["text"] if "text" in output else output["data"]["text/plain"])


def _output(output: Mapping[str, Any]) -> str:
    """An image, a table, or the text of a value, as HTML without blank lines, which would end the block in Markdown."""
    data = output["data"]
    if "image/png" in data:
        return f'<p><img alt="plot" src="data:image/png;base64,{"".join(data["image/png"]).strip()}"></p>'
    if "text/html" in data:
        lines = "".join(data["text/html"]).splitlines()
        corner = (line.replace("<th></th>", "<td></td>") for line in lines if line.strip())  # no header names nothing
        return "\n".join(['<div class="output">', *corner, "</div>"])
    return _listing(_text(output))


def _listing(text: str) -> str:
    return f'<div class="output"><pre>{html.escape(text)}</pre></div>'
