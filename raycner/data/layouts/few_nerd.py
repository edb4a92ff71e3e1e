"""Few-NERD: a word and a bare type a line, `coarse-fine`, in the scheme IO."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from raycner.data.layouts.columns import ColumnLayout
from raycner.data.layouts.layout import LAYOUTS, Row
from raycner.data.sources import RawFile
from raycner.data.tag_notation import Notation

FINE = {
    "location": "GPE bodiesofwater island mountain other park road/railway/highway/transit",
    "person": "actor artist/author athlete director other politician scholar soldier",
    "organization": "company education government/governmentagency media/newspaper other politicalparty religion "
    "showorganization sportsleague sportsteam",
    "other": "astronomything award biologything chemicalthing currency disease educationaldegree god language law "
    "livingthing medical",
    "product": "airplane car food game other ship software train weapon",
    "building": "airport hospital hotel library other restaurant sportsfacility theater",
    "art": "broadcastprogram film music other painting writtenart",
    "event": "attack/battle/war/militaryconflict disaster election other protest sportsevent",
}
"""The fine types of each coarse one, in the order in which SpanKL learns them."""
TYPES = tuple(f"{coarse}-{fine}" for coarse, names in FINE.items() for fine in names.split())


@LAYOUTS.register("few_nerd")
class FewNerd(ColumnLayout):
    """Few-NERD, its 66 fine types or its 8 coarse ones.

    A run of words with one fine type is one entity, and stays one when its type is read as the coarse one. Source:
    Ding et al., Few-NERD: A Few-shot Named Entity Recognition Dataset, ACL 2021.
    """

    types: ClassVar[tuple[str, ...]] = (*TYPES, *FINE)

    grain: Literal["fine", "coarse"] = "fine"
    """Which types are read: the 66 fine ones, such as person-actor, or the 8 coarse ones before the dash."""

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        names = {kind: kind if self.grain == "fine" else kind.partition("-")[0] for kind in TYPES}
        yield from self.tag_rows(files, notes, Notation("IO"), names)
