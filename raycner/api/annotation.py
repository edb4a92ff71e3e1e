"""Annotation: the sentences whose correction teaches a new type fastest, with the entities that a step suggests."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from raycner.data.annotation_tools import TOOLS
from raycner.errors import InputError

if TYPE_CHECKING:
    from raycner.inference.annotation import RankedSentence


def annotate(
    model: str,
    *files: str | PathLike[str],
    types: Sequence[str],
    examples: str = "",
    top: int = 200,
    store: str | PathLike[str] = "store",
    form: str | None = None,
    encoder: str | None = None,
    seed: int = 0,
) -> "AnnotationBatch":
    """Choose the sentences of files that teach `types` fastest, with what a step suggests.

        batch = raycner.annotate("news-steps", "reviews/", types=["product"], examples="iPhone 15,Walkman")
        batch.write("batch.json", "labelstudio")
        longer = raycner.load_run("news-steps").extend(["product"], "corrected.json", corpus="label_studio")

    `model` is a step RUN or RUN:STEP, or an exported folder. `examples` are mentions with commas between them that
    occur in the files, or an annotated file in which some are annotated: sentences with words like these come first. A
    type that the step has learned needs none; without any, the sentences of which the step is least sure come first.
    `form` is that of the files, as in `raycner predict`. Raises `InputError` for files without text, and for examples
    without a mention.
    """
    from raycner.data.passages import passages, with_forms
    from raycner.inference.annotation import rank
    from raycner.inference.predictor import Predictor

    if not types or not all(types):
        raise InputError("no type to annotate", location="--types", hint="write --types product")
    inputs = with_forms([fspath(file) for file in files], form)
    predictor = Predictor.of(model, fspath(store), encoder)
    texts = (passage for file, of_file in inputs for passage in passages(file, of_file))
    ranking = rank(predictor, texts, types, examples, top, seed)
    every = tuple(dict.fromkeys([*predictor.types, *types]))
    return AnnotationBatch(ranking.sentences, every, model, ranking.read, ranking.examples)


class AnnotationBatch:
    """Sentences to be corrected, the most useful first."""

    def __init__(
        self, sentences: "Sequence[RankedSentence]", types: Sequence[str], model: str, read: int, examples: int
    ) -> None:
        self.sentences = tuple(sentences)
        self.types = tuple(types)
        """The types that a tool offers: those of the step, then the new ones."""
        self.model = model
        """The step that suggests."""
        self.read = read
        """The number of distinct sentences among which these were chosen."""
        self.examples = examples
        """The number of sentences with a mention of `examples`."""

    def write(self, path: str | PathLike[str], tool: str) -> None:
        """Write the form of a tool: labelstudio, prodigy, doccano, brat (a folder) or jsonl.

        Raises `InputError` for another tool, and where it cannot be written.
        """
        if tool not in TOOLS:
            raise InputError(
                f"no format is called {tool!r}", location="--format", hint=f"write one of {', '.join(TOOLS)}"
            )
        texts = [sentence.suggested(self.model) for sentence in self.sentences]
        try:
            TOOLS[tool].write(texts, self.types, Path(path))
        except OSError as error:
            what = f"cannot be written ({error.strerror})"
            raise InputError(what, location=fspath(path), hint="name another file") from None

    def __len__(self) -> int:
        return len(self.sentences)

    def __repr__(self) -> str:
        return f"<AnnotationBatch: {len(self)} of {self.read} sentences, with suggestions of {self.model}>"
