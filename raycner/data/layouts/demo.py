"""The demo corpus: generated sentences with eight entity types, so that the first run needs no download.

Three things make it a corpus for continual learning. Types share sentences, so that one step's entities are another
step's O. Names are shared between types (Jordan is a person or a country), so that only context decides. And a quarter
of all name parts never occurs in training, so that dev and test need more than memory.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence

from raycner.data.entities import Entity
from raycner.data.layouts.layout import LAYOUTS, Layout, Row, check_seed
from raycner.data.sources import PARTS, RawFile

Annotated = tuple[tuple[str, ...], tuple[Entity, ...]]
"""The words of a sentence and its entities."""


@LAYOUTS.register("demo")
class Demo(Layout):
    """The generated corpus."""

    sentences: int = 2000
    """The number of training sentences; dev and test have a quarter of that each."""
    seed: int = 0
    """Seeds the generator."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.sentences < 4:
            raise ValueError(f"sentences={self.sentences} must be at least 4")

    def rows(self, files: Sequence[RawFile], notes: list[str]) -> Iterator[Row]:
        del files
        notes.append(f"generated from seed {self.seed}")
        sizes = (self.sentences, self.sentences // 4, self.sentences // 4)
        for part, number in zip(PARTS, sizes, strict=True):
            for words, entities in sentences(part, number, self.seed):
                yield Row(part, words, entities)


def sentences(part: str, number: int, seed: int) -> Iterator[Annotated]:
    """The first `number` sentences of a part (train, dev, test). Equal arguments make equal sentences."""
    world = _World(random.Random(f"{seed} {part}"), knows_all=part != "train")
    return (_sentence(world) for _ in range(number))


def _sentence(world: "_World") -> Annotated:
    words: list[str] = []
    entities: list[Entity] = []
    for token in _choose_alternatives(world.draw.choice(_TEMPLATES), world.draw).split():
        if not token.startswith("{"):
            words.append(token)
            continue
        slot = token.strip("{}")
        name = _MAKERS[slot](world).split()
        entities.append(Entity(len(words), len(words) + len(name), _TYPES.get(slot, slot)))
        words += name
    words = [_article(word, after) for word, after in zip(words, [*words[1:], "."], strict=True)]
    words[0] = words[0][0].upper() + words[0][1:]
    return tuple(words), tuple(entities)


def _choose_alternatives(template: str, draw: random.Random) -> str:
    """Replace every (this|or this|) by one of its alternatives, inside out."""
    while (group := re.search(r"\(([^()]*)\)", template)) is not None:
        template = template[: group.start()] + draw.choice(group[1].split("|")) + template[group.end() :]
    return template


def _article(word: str, after: str) -> str:
    is_open = after[0].lower() in "aeiou" and not after.lower().startswith(("uni", "eu", "one"))
    return f"{word}n" if word in ("a", "A") and is_open else word


class _World:
    """Where names come from. Training knows three quarters of the parts of names; dev and test know all of them."""

    def __init__(self, draw: random.Random, knows_all: bool) -> None:
        self.draw, self._knows_all = draw, knows_all

    def one(self, pool: list[str]) -> str:
        parts = pool if self._knows_all else [part for i, part in enumerate(pool) if i % 4 != 3]
        return self.draw.choice(parts)

    def number(self, low: int, high: int) -> int:
        return self.draw.randint(low, high)

    def rarely(self, chance: float) -> bool:
        return self.draw.random() < chance


def _person(world: _World) -> str:
    if world.rarely(0.12):
        return world.draw.choice(_SHARED_WITH_PERSON)
    first, last = world.one(_FIRST), _surname(world)
    if world.rarely(0.15):
        return first
    return world.draw.choice([f"{first} {last}", f"{first} {last}", f"{first} {last}", f"{first[0]}. {last}"])


def _surname(world: _World) -> str:
    return world.one(_SURNAME_STEMS) + world.one(_SURNAME_ENDS)


def _location(world: _World) -> str:
    if world.rarely(0.25):
        return world.draw.choice(_SHARED_WITH_LOCATION)
    town = world.one(_TOWN_STEMS) + world.one(_TOWN_ENDS)
    before = world.draw.choice(["", "", "", "", "Port ", "New ", "Upper ", "Saint "])
    return f"{before}{town}"


def _landmark(world: _World) -> str:
    name = world.one(_TOWN_STEMS).capitalize()
    return world.draw.choice([f"Lake {name}", f"Mount {name}", f"{name} Bay", f"{name} Valley", f"Cape {name}"])


def _organization(world: _World) -> str:
    if world.rarely(0.25):
        return world.draw.choice(_SHARED_WITH_ORGANIZATION)
    owner = world.draw.choice([_surname(world), world.one(_TOWN_STEMS) + world.one(_TOWN_ENDS)])
    return f"{owner} {world.one(_FIRMS)}"


def _institution(world: _World) -> str:
    head = world.draw.choice(["Ministry", "Royal Society", "Institute", "League", "Bureau", "Guild"])
    subject = world.one(_SUBJECTS)
    return f"{head} of {subject}" if world.rarely(0.8) else f"{head} of {subject} and {world.one(_SUBJECTS)}"


def _product(world: _World) -> str:
    if world.rarely(0.2):
        return world.draw.choice(_SHARED_WITH_PRODUCT)
    name = world.one(_BRAND_STEMS) + world.one(_BRAND_ENDS)
    model = [f"{world.number(2, 99)}00", f"{world.draw.choice('XZQVT')}{world.number(1, 9)}", "Pro", "Mini", "Deluxe"]
    return f"{name} {world.draw.choice(model)}"


def _work(world: _World) -> str:
    if world.rarely(0.15):
        return world.draw.choice(_SHARED_WITH_WORK)
    adjective, noun = world.one(_ADJECTIVES).capitalize(), world.one(_THINGS).capitalize()
    return world.draw.choice(
        [
            f"The {adjective} {noun}",
            f"The {adjective} {noun}",
            f"A Short History of the {noun}",
            f"My Life as a {adjective} {noun}",
            f"Return of the {noun}",
        ]
    )


def _event(world: _World) -> str:
    subject = world.one(_SUBJECTS)
    town = world.one(_TOWN_STEMS) + world.one(_TOWN_ENDS)
    if world.rarely(0.2):
        town = world.draw.choice(_SHARED_WITH_LOCATION)
    return world.draw.choice(
        [
            f"{town} {subject} {world.one(_GATHERINGS)}",
            f"World {subject} {world.one(_GATHERINGS)}",
            f"Great {subject} {world.one(_GATHERINGS)}",
            f"Battle of {town}",
            f"{town} {world.one(_GATHERINGS)}",
        ]
    )


def _animal(world: _World) -> str:
    if world.rarely(0.15):
        return world.draw.choice(_SHARED_WITH_ANIMAL)
    species = world.one(_SPECIES)
    return f"{world.one(_MARKINGS)} {species}" if world.rarely(0.5) else species


def _day(world: _World) -> str:
    day, month = world.number(1, 28), world.draw.choice(_MONTHS)
    weekday = world.draw.choice(_WEEKDAYS)
    return world.draw.choice(
        [f"{day} {month}", f"{day} {month} {world.number(1890, 2024)}", weekday, f"{weekday} , {day} {month}"]
    )


def _year(world: _World) -> str:
    year, month = world.number(1890, 2024), world.draw.choice(_MONTHS)
    season = world.draw.choice(["spring", "summer", "autumn", "winter"])
    return world.draw.choice([f"{year}", f"{month} {year}", month, f"{season} {year}"])


_MAKERS: dict[str, Callable[[_World], str]] = {
    "animal": _animal,
    "day": _day,
    "event": _event,
    "institution": _institution,
    "landmark": _landmark,
    "location": _location,
    "organization": _organization,
    "person": _person,
    "product": _product,
    "surname": _surname,
    "work": _work,
    "year": _year,
}
_TYPES = {"day": "date", "year": "date", "institution": "organization", "landmark": "location", "surname": "person"}


def _pool(words: str, parting: str | None = None) -> list[str]:
    return words.split(parting)


_SHARED_WITH_PERSON = _pool("""
    Jordan Washington Paris Florence Sydney Victoria Austin Georgia Chelsea Lincoln May April June August Robin
    Martin Emma Hamlet Mercedes Ford Hudson
""")
_SHARED_WITH_LOCATION = _pool("""
    Jordan Washington Paris Florence Sydney Victoria Austin Georgia Chelsea Lincoln Turkey Amazon Casablanca Chicago
    Waterloo Woodstock Phoenix Hudson
""")
_SHARED_WITH_ORGANIZATION = _pool("Apple Amazon Jaguar Puma Ford Mercedes Chelsea Phoenix Mars Shell Dove Lincoln")
_SHARED_WITH_PRODUCT = _pool("Jaguar Mustang Mercedes Beetle Lincoln Mars Dove Victoria Titanic Walkman")
_SHARED_WITH_WORK = _pool("Casablanca Chicago Emma Hamlet Titanic Jaws Cats Frozen")
_SHARED_WITH_ANIMAL = _pool("jaguar puma mustang beetle dove turkey robin martin phoenix crane seal bat")
_FIRST = _pool("""
    Ada Boris Clara Dmitri Elena Felix Greta Hugo Ines Jonas Katya Leon Mabel Nils Olga Pablo Queenie Rosa Stefan
    Thelma Umberto Vera Wanda Xavier Yusuf Zelda Agnes Bruno Cecily Desmond Edith Fergus Gloria Horace Imogen Jasper
    Kamala Lucian Minerva Norbert Ottilie Priya Quentin Rufus Saskia Tobias Ursula Vincent
""")
_SURNAME_STEMS = _pool("""
    Bram Cald Dorn Ever Finch Grim Hart Iver Jens Kowal Lind Mar Norr Oster Pell Quill Rast Sand Thorn Ulv Vick Wex
    Yar Zim
""")
_SURNAME_ENDS = _pool("son ski well man ley berg worth sen er ova ington hart")
_TOWN_STEMS = _pool("""
    Nettle Alder Brindle Copper Drizzle Elm Fennel Goose Hazel Ivy Juniper Kettle Lark Mossy Nutmeg Otter Pebble
    Quince Raven Sorrel Thistle Umber Velvet Willow
""")
_TOWN_ENDS = _pool("brook ham ton bury ford haven mouth stead wick by dale port")
_FIRMS = _pool("Bank|Airways|& Sons|United|Records|Motors|Press|Biscuits|Ltd|Orchestra|Holdings|Umbrellas", "|")
_SUBJECTS = _pool("""
    Puddles Moss Yodelling Cheese Chess Sardine Kite Marmalade Ferret Accordion Pancake Tea Napping Tuba Gnome
    Origami Pickle Trombone Whistling Turnip Mustache Poetry Noodle Snail
""")
_BRAND_STEMS = _pool("Lumo Kest Vapo Zephy Toast Glim Robo Nimbu Frosto Aero Spini Clava")
_BRAND_ENDS = _pool("tron rel matic pod lite max dyne phone")
_ADJECTIVES = _pool("""
    quiet crooked velvet midnight reluctant hungry invisible golden forgotten dancing purple sleepy furious borrowed
    polite last
""")
_THINGS = _pool("""
    lighthouse teapot umbrella staircase piano moustache spoon dictator orchard wardrobe submarine cucumber
    accountant lantern bicycle cathedral
""")
_GATHERINGS = _pool("Festival Championship Cup Open Fair Marathon Olympics Parade")
_SPECIES = _pool("""
    otter axolotl walrus pelican wombat iguana llama hedgehog badger ostrich lobster flamingo tapir armadillo gecko
    narwhal weasel toad moose capybara ferret lemur puffin newt
""")
_MARKINGS = _pool("spotted pygmy snow striped giant bearded woolly three-toed crested red-footed dwarf ring-tailed")
_MONTHS = _pool("January February March April May June July August September October November December")
_WEEKDAYS = _pool("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

_TEMPLATES = [
    line.strip()
    for line in """
    {person} (sold|lent|mailed|gave) a {animal} to (Aunt|Professor|Captain|Sister) {surname} (in|near) {location} .
    {person} (bought|misplaced|repaired|apologised to) a {product} (in|outside) {location} on {day} .
    On {day} , {person} lost a chess game to a {animal} at the {event} .
    In {year} , {organization} (hired|promoted|knighted) a {animal} (to guard|to paint|to run) its {location} office .
    The {institution} (denies|confirms|regrets) that {person} (ate|adopted|married) a {animal} in {year} .
    {organization} will (stop|start) selling the {product} in {location} (before|after) {day} .
    " {work} " , (a musical|an opera) by {person} , (opened|flopped|caught fire) in {location} on {day} .
    {person} (read|hummed|translated) " {work} " to (a nervous|a sleeping|an impatient) {animal} until {day} .
    Nobody in {location} (has|had) finished {work} , (says|whispers|insists) {person} of {organization} .
    The {event} was (cancelled|interrupted|won) (by|because of) a {animal} (from {location}|with a {product}|) .
    Tickets for the {event} (cost|are worth) (more than|less than|as much as) a {product} , said {person} .
    {person} (, who works for {organization} ,|) (crossed|mapped) {landmark} with (only|nothing but) a {product} .
    A {animal} (escaped|was rescued|emigrated) from {landmark} and (joined|sued|now advises) {organization} .
    (Scientists|Poets|Plumbers) at the {institution} taught a {animal} to (use|fix|ignore) the {product} .
    Since {year} , the {event} has been held (at|near|behind) {landmark} , (far from|close to) {location} .
    {organization} and {organization} (merged|quarrelled|danced) at the {event} in {year} .
    (Mayor|Inspector) {surname} (banned|wrote) {work} (on {day}|in {year}|) , to the (joy|horror) of {location} .
    Every {animal} in {location} (adores|distrusts|outlives) the {product} .
    When {person} (moved|fled|cycled) to {location} in {year} , a {animal} (followed|waved|kept the house) .
    Is it true that {person} (proposed to|tripped over|arrested) {person} during the {event} ?
    The {product} (won|ruined|survived) the {event} , (according to|despite) {organization} .
    {person} (flew|drove|rowed) from {location} to {location} (in|on) a {product} , (singing|reciting) {work} .
    (By|Before|After) {day} , the {institution} had (lost|painted|insured) every copy of {work} .
    My neighbour {person} (keeps|hides|trains) a {animal} and a {product} (in the bath|under the stairs|on the roof) .
    {location} (declared|celebrated) {day} a holiday (for|in honour of) {person} and (her|his|their) {animal} .
    In {year} {person} painted {work} , (now|once) on show at the {institution} in {location} .
    (A janitor|An intern) for {organization} called the {animal} " (quite tall|a genius|overdressed) " on {day} .
    The shares of {organization} (fell|rose|giggled) after {person} (dropped|unveiled) the {product} on {day} .
    (Critics|Pigeons|Grandmothers) in {location} (hated|loved) {work} , (yet|and) {organization} (filmed|bought) it .
    {person} trained for the {event} by (chasing|wrestling|outstaring) a {animal} around {landmark} .
    Nothing (happened|rhymed|was stolen) in {location} (in|during) {year} , (except|apart from) the {event} .
    It rained (soup|frogs|politely) over {landmark} on {day} , and (only|even) {person} (had brought|wore) a hat .
    """.strip().splitlines()
]
