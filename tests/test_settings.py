"""Values: plain data in, frozen dataclasses out, and one spelling of each for its fingerprint."""

import dataclasses
import json
import math
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycner.config import OptimConfig, RunConfig, read
from raycner.data.scenarios.protocol import PROTOCOLS
from raycner.data.scenarios.scenario import ScenarioConfig
from raycner.errors import InputError
from raycner.hashing import canonical, fingerprint, not_hashed, omit_default_from_hash, plain
from raycner.methods.method import METHODS
from raycner.networks.encoders.encoder import ENCODERS
from raycner.networks.heads.head import HEADS, GrowthConfig
from raycner.registry import Registry, suggest
from raycner.renames import as_before
from raycner.settings import build, flat, spell

SHAPES = Registry("shape")


class Shape(ABC):
    family: ClassVar[Registry] = SHAPES
    name: ClassVar[str]


@SHAPES.register("circle")
class Circle(Shape):
    radius: float = 1.0
    label: str | None = not_hashed(default=None)

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise ValueError(f"radius {self.radius}: above 0")


@SHAPES.register("frame")
class Frame(Shape):
    inside: Shape
    margin: int = 2


@SHAPES.register("point")
class Point(Shape):
    pass


@dataclass(frozen=True, kw_only=True)
class Stroke:
    width: float = 0.5
    ends: Literal["round", "flat"] = "round"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shape: Shape = field(default_factory=Circle)
    stroke: Stroke = Stroke()
    filled: bool = False
    copies: int = 1
    limit: int | None = None
    names: tuple[str, ...] = ()
    shades: Mapping[str, float] = field(default_factory=dict)
    strokes: tuple[Stroke, ...] = ()
    path: str = not_hashed(default="here")


def drawn(**given: Any) -> Drawing:
    return build(Drawing, given)


def error_line(**given: Any) -> str:
    with pytest.raises(InputError) as error:
        drawn(**given)
    return str(error.value)


def test_every_leaf_is_coerced_by_its_annotation() -> None:
    made = drawn(
        shape={"radius": "2e-3"},
        stroke={"width": 1, "ends": "flat"},
        filled="true",
        copies="3",
        limit="7",
        names=["a", 5],
        shades={"a": "0.25", 7: 1},
        strokes=[{"width": "1e1"}, {}],
        path=12,
    )
    assert made == Drawing(
        shape=Circle(radius=0.002),
        stroke=Stroke(width=1.0, ends="flat"),
        filled=True,
        copies=3,
        limit=7,
        names=("a", "5"),
        shades={"a": 0.25, "7": 1.0},
        strokes=(Stroke(width=10.0), Stroke()),
        path="12",
    )
    assert isinstance(made.stroke.width, float)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"copeis": 1}, "copeis: no such setting; did you mean copies?"),
        ({"stroke": {"widht": 1}}, "stroke.widht: no such setting; did you mean width?"),
        ({"strokes": [{}, {"widht": 1}]}, "strokes.1.widht: no such setting; did you mean width?"),
        ({"shape": {"name": "frame", "inside": {"name": "frame", "inside": {"name": "circle", "radios": 1}}}},
         "shape.inside.inside.radios: no such setting; did you mean radius?"),
        ({"shape": {"name": "point", "radius": 1}}, "shape.radius: no such setting; point has no settings"),
        ({"shape": {"name": "cirle"}}, "shape.name: no shape is called 'cirle'; did you mean circle?"),
        ({"shape": {"name": ["circle"]}}, "shape.name: no shape is called ['circle']"),
        ({"shape": {"name": "hexagon"}}, "known: circle, frame, point"),
        ({"shape": {"name": "frame"}}, "shape.inside.name: no shape is chosen; known: "),
        ({"shape": {"name": "frame", "inside": {"radius": 1}}},
         "shape.inside.name: no shape is chosen; known: circle, frame, point"),
        ({"shape": {"radius": -1}}, "shape: radius -1.0: above 0"),
        ({"shape": "circle"}, "shape: expected settings, found 'circle'; write shape.KEY=VALUE"),
        ({"copies": "many"}, "found 'many'; expected a whole number"),
        ({"copies": 1.5}, "found 1.5; expected a whole number"),
        ({"copies": None}, "found None; expected a whole number"),
        ({"limit": "x"}, "found 'x'; expected a whole number or nothing"),
        ({"filled": "perhaps"}, "found 'perhaps'; expected true or false"),
        ({"stroke": {"ends": "sharp"}}, "found 'sharp'; expected round or flat"),
        ({"names": "abc"}, "found 'abc'; expected a list of text"),
        ({"strokes": {"width": 1}}, "strokes: expected a list, found {'width': 1}"),
        ({"shades": {"a": "dark"}}, "shades: "),
    ],
)  # fmt: skip
def test_invalid_values_are_rejected_in_one_line(given: dict[str, Any], line: str) -> None:
    message = error_line(**given)
    assert line in message
    assert "\n" not in message


def test_a_default_lends_its_fields_to_its_own_kind_only() -> None:
    default = Drawing(shape=Circle(radius=3.0, label="big"), copies=4)
    assert build(Drawing, {"shape": {"label": "x"}}, default=default) == Drawing(
        shape=Circle(radius=3.0, label="x"), copies=4
    )
    assert build(Drawing, {"shape": {"name": "point"}}, default=default).shape == Point()
    framed = Frame(inside=Circle(radius=3.0))
    assert build(Shape, {"name": "frame", "margin": 1}, "shape", framed) == Frame(inside=Circle(radius=3.0), margin=1)


def test_a_value_is_passed_through_and_is_frozen() -> None:
    made = drawn(shape=Circle(radius=2.0))
    assert made.shape == Circle(radius=2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.copies = 2
    with pytest.raises(TypeError):
        Circle(2.0)


def test_a_field_without_a_default_is_required() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Demanding:
        number: int | None
        names: tuple[str, ...]

    for fields, missing in (({"names": ["a"]}, "number"), ({"number": 1}, "names")):
        with pytest.raises(InputError, match=f"here.{missing}: missing; write here.{missing}=VALUE"):
            build(Demanding, fields, "here")
    assert build(Demanding, {"number": None, "names": []}) == Demanding(number=None, names=())


def test_a_name_is_registered_once() -> None:
    family = Registry("shape")
    family.register("dot")(type("Dot", (), {}))
    with pytest.raises(TypeError, match="shape 'dot' is defined twice"):
        family.register("dot")(type("Other", (), {}))
    assert list(family) == ["dot"]
    assert family["dot"].name == "dot"


def test_suggestions_are_near_or_all() -> None:
    assert suggest("kd_wieght", ["kd_weight", "threshold"]) == "did you mean kd_weight?"
    assert suggest("zzz", ["b", "a"]) == "known: a, b"
    assert suggest("zzz", []) == "known: none"


strokes = st.builds(Stroke, width=st.floats(0.01, 9), ends=st.sampled_from(["round", "flat"]))
circles = st.builds(Circle, radius=st.floats(0.01, 9), label=st.none() | st.text())
shapes = st.recursive(
    circles | st.just(Point()), lambda inner: st.builds(Frame, inside=inner, margin=st.integers()), max_leaves=4
)
drawings = st.builds(
    Drawing,
    shape=shapes,
    stroke=strokes,
    filled=st.booleans(),
    copies=st.integers(),
    limit=st.none() | st.integers(),
    names=st.lists(st.text(), max_size=3).map(tuple),
    shades=st.dictionaries(st.text(), st.floats(0, 1), max_size=3),
    strokes=st.lists(strokes, max_size=2).map(tuple),
    path=st.text(),
)


@given(value=drawings)
def test_a_value_survives_json(value: Drawing) -> None:
    again = build(Drawing, json.loads(json.dumps(plain(value))))
    assert again == value
    assert canonical(again) == canonical(value)
    assert fingerprint(again) == fingerprint(value)


@given(value=drawings, path=st.text(), label=st.text())
def test_unhashed_fields_leave_the_fingerprint_alone_at_any_depth(value: Drawing, path: str, label: str) -> None:
    moved = dataclasses.replace(value, path=path)
    assert fingerprint(moved) == fingerprint(value)
    one, two = (Drawing(shape=Frame(inside=Circle(label=name))) for name in (label, None))
    assert fingerprint(one) == fingerprint(two)
    assert plain(moved)["path"] == path


@given(one=drawings, two=drawings)
def test_equal_spelling_is_equal_value(one: Drawing, two: Drawing) -> None:
    assert (canonical(one) == canonical(two)) == (plain(one, hashed=True) == plain(two, hashed=True))


def test_the_canonical_spelling_is_fixed() -> None:
    """Names of committed steps are made of it: a change here loses every step that was ever stored."""
    value = Drawing(shape=Frame(inside=Circle(radius=0.5, label="x")), shades={"b": 1.0, "a": 0.1})
    assert canonical(value) == (
        '{"copies":1,"filled":false,"limit":null,"names":[],"shades":{"a":0.1,"b":1.0},'
        '"shape":{"inside":{"name":"circle","radius":0.5},"margin":2,"name":"frame"},'
        '"stroke":{"ends":"round","width":0.5},"strokes":[]}'
    )
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2d"
    assert fingerprint(Point()) != fingerprint(Circle())


def test_a_field_omitted_at_its_default_leaves_old_fingerprints_alone() -> None:
    @dataclass(frozen=True)
    class Before:
        copies: int = 1

    @dataclass(frozen=True)
    class Now(Before):
        folds: int = omit_default_from_hash(default=0)

    assert fingerprint(Now()) == fingerprint(Now(folds=0)) == fingerprint(Before())
    assert len({fingerprint(Now(folds=folds)) for folds in range(3)}) == 3
    assert fingerprint({"inside": [Now(2)]}) == fingerprint({"inside": [Before(2)]})
    assert plain(Now()) == {"copies": 1, "folds": 0}
    assert build(Now, plain(Now(folds=2))) == Now(folds=2)


SECTIONS = {
    "optim": [OptimConfig],
    "scenario": [ScenarioConfig],
    "scenario.protocol": PROTOCOLS.values(),
    "model.encoder": ENCODERS.values(),
    "model.head": HEADS.values(),
    "model.growth": [GrowthConfig],
    "method": METHODS.values(),
    "method.base": METHODS.values(),
}


def test_settings_that_fingerprints_omit_are_read_as_before_where_a_ledger_lacks_them() -> None:
    fields = [
        (section, field) for section, kinds in SECTIONS.items() for kind in kinds for field in dataclasses.fields(kind)
    ]
    omitted = [
        (f"{section}.{field.name}", plain(field.metadata["omitted"]))
        for section, field in fields
        if "omitted" in field.metadata
    ]
    settings = {}
    for name, value in omitted:
        settings |= flat(value, name) if isinstance(value, dict) else {name: value}
    assert len(settings) > 20
    assert [name for name, value in settings.items() if not as_before(name, value)] == []
    assert not as_before("optim.feature_replay", 0.5)
    assert not as_before("at.2.optim.feature_replay", 0.0)
    assert not as_before("scenario.order", "pools")


def test_kinds_with_equal_fields_have_different_fingerprints() -> None:
    family = Registry("metal")
    kinds = [family.register(name)(type(name, (), {"family": family})) for name in ("tin", "zinc")]
    assert len({fingerprint(kind()) for kind in kinds}) == 2


def test_no_number_without_a_spelling_is_hashed() -> None:
    for number in (math.inf, math.nan):
        with pytest.raises(InputError, match="infinite or not a number"):
            canonical(Drawing(shape=Frame(inside=Circle(radius=number))))


# ---- settings as typed on the command line

TEXT = st.text(max_size=12) | st.sampled_from(
    ["null", "true", "1e-3", "~", "", " a ", "a: b", "#", "[", "{a: 1}", "=", "1_0"]
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SETTING = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(value=SETTING)
def test_canonical_forms_are_read_back(value: Any) -> None:
    (read_back,) = read([f"setting={spell(value)}"]).values()
    assert read_back == value and type(read_back) is type(value)


NAMES = TEXT.filter(lambda text: "\0" not in text)
"""Text that a setting may have: no name or path contains NUL."""


@given(
    epochs=st.none() | st.integers(1, 99),
    clip=st.floats(0, 1e9),
    adaptive=st.booleans(),
    store=NAMES,
    order=st.lists(NAMES.filter(str.strip), max_size=3, unique=True),
    encoder=st.none() | NAMES,
)
def test_a_spelled_setting_loads_as_its_value(
    epochs: int | None, clip: float, adaptive: bool, store: str, order: list[str], encoder: str | None
) -> None:
    settings = {"optim.first.epochs": epochs, "optim.clip": clip, "store": store, "scenario.order": order}
    settings |= {"method.name": "extend_ner", "method.adaptive": adaptive}
    settings |= {"model.encoder.name": "bilstm", "model.encoder.vectors": encoder}
    loaded = RunConfig.load([f"{key}={spell(value)}" for key, value in settings.items()])
    assert loaded == RunConfig.from_settings({}, settings)
    assert (loaded.optim.first.epochs, loaded.optim.clip, loaded.store) == (epochs, clip, store)
    assert loaded.model.encoder.vectors == encoder  # type: ignore[attr-defined]


# ---- names that YAML reads as something else


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ("[010]", "YAML reads 010 as 8: put it in quotes, '010', or write 8"),
        ("[PER, 12:30]", "YAML reads 12:30 as 750: put it in quotes, '12:30', or write 750"),
        ("[0x1F]", "YAML reads 0x1F as 31"),
        ("[1_000]", "YAML reads 1_000 as 1000"),
        ("[NO, FR]", "YAML reads a name as False"),
        ("[FR, yes]", "YAML reads a name as True"),
        ("[null]", "YAML reads a name as None"),
        ("[2024-01-01]", "YAML reads a name as datetime.date(2024, 1, 1)"),
        ("[1.10]", "YAML reads a name as 1.1"),
    ],
)
def test_names_that_yaml_reads_as_something_else_are_refused(order: str, what: str, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(f"scenario:\n  order: {order}\n")
    for configs in ([f"scenario.order={order}"], [str(job)]):
        with pytest.raises(InputError) as refused:
            RunConfig.load(configs)
        assert what in str(refused.value) and "in quotes" in str(refused.value)


@pytest.mark.parametrize("order", ["['010', \"NO\", PER]", "[\"010\", 'NO', PER]"])
def test_names_in_quotes_are_names(order: str) -> None:
    assert RunConfig.load([f"scenario.order={order}"]).scenario.order == ("010", "NO", "PER")


def test_numbers_that_are_written_as_they_are_read_are_names() -> None:
    assert RunConfig.load(["scenario.order=[2020, 0, -1]"]).scenario.order == ("2020", "0", "-1")


@pytest.mark.parametrize("setting", ["model.encoder.path=010", "optim.epochs=010", "store=1.10", "store=NO"])
def test_single_settings_are_refused_likewise(setting: str) -> None:
    with pytest.raises(InputError, match="in quotes"):
        RunConfig.load([setting])
