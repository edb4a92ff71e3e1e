"""Names that probably mean one type: another case, another separator, a usual abbreviation."""

from collections.abc import Iterable

from raycner.data.type_names import appearance

SYNONYMS = (
    {"per", "pers", "person", "people", "personname"},
    {"loc", "location", "geoloc", "place"},
    {"org", "organization", "organisation", "orgname"},
    {"prod", "product"},
    {"misc", "miscellaneous"},
    {"evt", "event"},
    {"dis", "disease"},
    {"chem", "chemical"},
    {"mail", "email", "emailaddress"},
    {"tel", "phone", "phonenumber", "telephone"},
)


def synonym(name: str, others: Iterable[str]) -> str:
    """The first of the other names that probably means the same type; empty if none does.

    >>> synonym("person", ["LOC", "PER"]), synonym("e-mail", ["E_MAIL"]), synonym("PER", ["LOC", "PER"])
    ('PER', 'E_MAIL', '')
    """
    return next((other for other in others if other != name and _meaning(other) == _meaning(name)), "")


def _meaning(name: str) -> str:
    """One name for all that mean the same."""
    letters = "".join(character for character in appearance(name).casefold() if character.isalnum())
    return next((min(group) for group in SYNONYMS if letters in group), letters)
