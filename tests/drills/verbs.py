"""What is killed in drawn drills: the lines of each verb, and the deck from which a number draws verb and victim."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import runs
from drills.kill_switch import ANY, PROGRAMS

RUN = "demo-fg_pg-dld-extend_ner"
"""The beginning of the name of the finished run in the template."""
TINY = (*runs.SMALL, "store=store", "compute.workers=0")
TRAIN = ("run", *TINY)
SPACE = """from raycner import Study

def space(trial):
    trial.suggest_float("method.base.kd_weight", 0.1, 10.0, log=True)

STUDY = Study(base="jobs/demo.yaml", overrides={overrides!r}, space=space, trials=3, pruning="none", finalists=1,
              first=[{{"method.base.kd_weight": weight}} for weight in (1.0, 0.5, 2.0)])
"""
"""All trials are given, so that every search has the same ones. Trial 0 is run first, two more follow."""
STEPS = (
    *("run", *TINY, "scenario.order=[]", "scenario.protocol.name=steps", "method={name: extend_ner}"),
    "scenario.protocol.steps=[{types: [city, person], corpus: {name: columns, path: news}}]",
)
"""The run that `extend` teaches a new type."""
ROWS = "plain: [method.name=finetuning]\nkd: [method.name=extend_ner]\n"


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One or several command lines that run at once; `{place}` stands for the folder of a drill."""

    lines: tuple[tuple[str, ...], ...]
    victims: Mapping[str, int]
    """Role or program -> how many cards of the deck have it."""
    starts_ray: bool = False
    """Then each line is a process of its own; else it is forked from one that has imported everything."""
    is_submitted: bool = False
    """As a job of a cluster, whose head the drill starts."""
    is_fresh: bool = False
    """Whether it starts with an empty store, not with the template's."""
    removed: str = ""
    """A pattern of what the template has and the place of the drill lacks."""
    statuses: frozenset[int] = frozenset({0})
    """With which a line may end while another one disturbs it."""
    again: frozenset[int] = frozenset({0})
    """With which the first line may end when it runs again: 2 if it refuses to replace what is complete."""


GC = ("store", "gc", "--yes", "--store", "store")
SEARCH = ("search", "space.py")
SEARCH_ON_RAY = (*SEARCH, "compute.workers=1", "compute.max_concurrent_trials=2")
ON_RAY = {"is_fresh": True, "starts_ray": True}
VERBS = {
    "run": Verb(lines=(TRAIN,), victims={"driver": 70}, is_fresh=True),
    "prepare": Verb(lines=(("prepare", *TINY),), victims={"driver": 10}, is_fresh=True),
    "compare": Verb(
        lines=(("compare", *TINY, "--rows", "rows.yaml", "--html", "out/table.html"),),
        victims={"driver": 25},
        is_fresh=True,
    ),
    "evaluate": Verb(
        lines=(("evaluate", RUN, "--test", "eval.decoding=argmax", "--html", "out/scores.html", "--bootstrap=20"),),
        victims={"driver": 10},
    ),
    "extend": Verb(
        lines=(("extend", "demo-steps", "--types", "food", "--source", "reviews", "--corpus", "columns"),),
        victims={"driver": 30},
    ),
    "adopt": Verb(
        lines=(("adopt", "exported", "--name", "base", "--test", "test.txt", "--sentences=16"),),
        victims={"driver": 10},
    ),
    "gate": Verb(
        lines=(("gate", f"{RUN}:3", "--against", f"{RUN}:2", "--allow-unseen", "--junit=out/gate.xml"),),
        victims={"driver": 5},
    ),
    "promote": Verb(lines=(("promote", RUN, "production", "--why", "drill"),), victims={"driver": 10}),
    "export": Verb(
        lines=(("export", RUN, "out/exported"),),
        victims={"driver": 15},
        statuses=frozenset({0, 2}),
        again=frozenset({0, 2}),
    ),
    "predict": Verb(lines=(("predict", RUN, "texts/a.txt", "--output", "out/a.jsonl"),), victims={"driver": 10}),
    "report": Verb(lines=(("report", "--html", "out/report.html", "--plots", "out/plots"),), victims={"driver": 10}),
    "gc": Verb(lines=(GC,), victims={"gc": 8}, removed="store/runs/demo-steps-*"),
    "gc next to a run": Verb(lines=(TRAIN, GC), victims={"driver": 4}, is_fresh=True, statuses=frozenset({0, 2})),
    "search": Verb(lines=(SEARCH,), victims={"driver": 15}, is_fresh=True),
    "run, 2 workers": Verb(
        lines=((*TRAIN, "compute.workers=2"),),
        victims={"driver": 2, "worker": 4, "controller": 1, "raylet": 1, "gcs": 1},
        **ON_RAY,
    ),
    "search on Ray": Verb(lines=(SEARCH_ON_RAY,), victims={"driver": 3, "trial": 3, "raylet": 1, "gcs": 1}, **ON_RAY),
    "two searches at once": Verb(lines=(SEARCH_ON_RAY,) * 2, victims={"driver": 1, "trial": 1}, **ON_RAY),
    "compare --parallel": Verb(
        lines=(("compare", *TINY, "--rows", "rows.yaml", "--parallel", "2", "--html", "out/table.html"),),
        victims={"driver": 1, "task": 2, "raylet": 1, "gcs": 1},
        **ON_RAY,
    ),
    "predict --ray": Verb(
        lines=(("predict", RUN, "texts", "--ray", "2", "--output", "out/predictions"),),
        victims={"driver": 1, "reader": 2, "raylet": 1, "gcs": 1},
        starts_ray=True,
    ),
    "ray job submit": Verb(
        lines=((*TRAIN, "compute.workers=1", "store={place}/store"),),
        victims={"driver": 1, "worker": 1, "raylet": 1, "gcs": 1},
        is_submitted=True,
        **ON_RAY,
    ),
}
DECK = [(verb, victim) for verb in VERBS for victim, cards in VERBS[verb].victims.items() for _ in range(cards)]


@dataclass(frozen=True)
class Draw:
    """What a number stands for."""

    number: int
    verb: str
    victim: str
    progress: float
    """After which share of the changes of `role`, from 0 to 1."""
    cut: float | None
    """The share of a draft that has been written."""

    @property
    def role(self) -> str:
        """Whose changes count: a victim that is no Python process dies by those of all."""
        return ANY if self.victim in PROGRAMS else self.victim

    @classmethod
    def of(cls, number: int) -> "Draw":
        """The deck is shuffled and dealt to its end, again and again: every pair occurs in every deal."""
        deal, card = divmod(number, len(DECK))
        verb, victim = Random(f"deal {deal}").sample(DECK, len(DECK))[card]
        draw = Random(f"drill {number}")
        return cls(number, verb, victim, draw.random(), draw.choice((None, draw.random())))
