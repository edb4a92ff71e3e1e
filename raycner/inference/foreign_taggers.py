"""Foreign taggers: models of other libraries, which are asked for the entities of sentences and for nothing else.

Any object with the method of `Tagger` can take their place:

    class Gazetteer:
        def entities(self, sentences):
            return [[Entity(i, i + 1, "city") for i, word in enumerate(words) if word in CITIES] for words in sentences]
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from raycner.data.entities import Entity
from raycner.errors import InputError
from raycner.inference.token_classifier import TokenClassifier
from raycner.networks.encoders.encoder import Words
from raycner.networks.hugging_face import HuggingFaceCheckpoint

log = logging.getLogger(__name__)
SPACY = "spacy:"
"""How the address of an installed pipeline of spaCy begins: spacy:en_core_web_sm."""


class Tagger(Protocol):
    """Finds entities."""

    def entities(self, sentences: Sequence[Words]) -> Sequence[Iterable[Entity]]:
        """The entities of each sentence, which do not overlap; offsets count words."""


class HuggingFaceTagger:
    """A token classifier, by the label of the first piece of each word."""

    def __init__(self, classifier: TokenClassifier) -> None:
        self._classifier = classifier

    @classmethod
    def load(cls, address: str, *, allow_pickle: bool = False) -> Self:
        """The classifier of a folder or hub id. Weights that transformers does not use, such as a CRF's, are named."""
        classifier = TokenClassifier.load(address, allow_pickle=allow_pickle)
        checkpoint = HuggingFaceCheckpoint(
            address, location=address, problem="labels without all weights", hint="", allow_pickle=allow_pickle
        )
        try:
            checkpoint.token_classifier(hint="")
        except InputError as error:
            log.warning("%s: %s", address, error.what)
        return cls(classifier)

    def entities(self, sentences: Sequence[Words]) -> list[list[Entity]]:
        predicted = self._classifier.words(sentences)
        return [[Entity(e.start, e.end, e.type) for e in row] for row in predicted]


class SpacyTagger:
    """A pipeline of spaCy, which reads the given words instead of its own."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    @classmethod
    def load(cls, name: str) -> Self:
        """An installed pipeline, or a folder that spaCy wrote. Raises `InputError` without spaCy, and for neither."""
        try:
            import spacy
        except ImportError:
            hint = "install it: pip install 'raycner[spacy]'"
            raise InputError("spaCy is not installed", location=name, hint=hint) from None
        try:
            return cls(spacy.load(Path(name) if Path(name).is_dir() else name))
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"spaCy cannot load it ({reason})", location=name, hint="name a pipeline of spaCy"
            ) from None

    def entities(self, sentences: Sequence[Words]) -> list[list[Entity]]:
        from spacy.tokens import Doc

        documents = (Doc(self._pipeline.vocab, words=[*words]) for words in sentences)
        return [[Entity(e.start, e.end, e.label_) for e in d.ents] for d in self._pipeline.pipe(documents)]


def load_tagger(address: str, *, allow_pickle: bool = False) -> Tagger:
    """The tagger at an address: spacy:NAME, a folder of spaCy, or a folder or hub id of a token classifier.

    Raises `InputError` for anything else, and for a model that needs code of its own.
    """
    if address.startswith(SPACY):
        return SpacyTagger.load(address.removeprefix(SPACY))
    folder = Path(address).expanduser()
    if (folder / "config.cfg").is_file() and (folder / "meta.json").is_file():
        return SpacyTagger.load(str(folder))
    return HuggingFaceTagger.load(address, allow_pickle=allow_pickle)
