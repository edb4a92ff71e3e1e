"""Few-NERD: a word and a bare type a line, `coarse-fine`, in the scheme IO."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from raycner.data.layouts.columns import tagged
from raycner.data.layouts.layout import ReadingConfig, Row, from_tags, layout
from raycner.data.sources import RawFile

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


@layout("few_nerd", types=(*TYPES, *FINE))
def few_nerd(files: Sequence[RawFile], reading: ReadingConfig, notes: list[str]) -> Iterator[Row]:
    """Few-NERD, its 66 fine types or its 8 coarse ones (`reading.grain`).

    A run of words with one fine type is one entity, and stays one when its type is read as the coarse one. Source:
    Ding et al., Few-NERD: A Few-shot Named Entity Recognition Dataset, ACL 2021.
    """
    names = {kind: kind if reading.grain == "fine" else kind.partition("-")[0] for kind in TYPES}
    yield from from_tags(lambda: tagged(files, reading), replace(reading, scheme="IO"), notes, names)
