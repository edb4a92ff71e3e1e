"""Studies: files of search_spaces, what a file may define, and how trials are scored."""

import math
import shlex
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.tuning.objective import DevScores, Objective
from raycner.tuning.pruning import SuccessiveHalving
from raycner.tuning.round import PREFIX, Round, Rung
from raycner.tuning.study import SearchPlan, at_range_ends, load, random_draws
from raycner.tuning.warm_start import fit

SPACES = sorted((Path(__file__).parent.parent / "search_spaces").glob("*.py"))
HEAD = "from raycner import Study\n"
SEEDS = "STUDY = Study(base='jobs/demo.yaml', space=lambda t: t.suggest_int('seed', 0, 9)"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_fifty_draws_of_every_space_are_settings_that_can_be_run(path: Path) -> None:
    study = load(str(path))
    plan = SearchPlan.of(study, [], str(path))
    trials = list(random_draws(study.space, 50))
    names = {name for trial in trials for name in trial.params}
    assert names, "a space suggests something"
    for trial in trials:
        for settings in (trial.params, *at_range_ends(trial)):
            assert isinstance(plan.config(settings), RunConfig)
    assert study.first, "the published values are trial 0"


def test_every_method_that_has_settings_has_a_space() -> None:
    assert {"dld", "extend_ner", "cfner", "self_training", "add_ner", "lucir", "podnet"} <= {p.stem for p in SPACES}


def written(folder: Path, text: str) -> str:
    path = folder / "space.py"
    path.write_text(HEAD + text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1", "no STUDY in this file"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("STUDY = Study(base='jobs/none.yaml', space=print)", "jobs/none.yaml: cannot read it"),
        (
            "STUDY = Study(base='jobs/demo.yaml', space=lambda t: t.suggest_float('method.wieght_positive', 1, 2))",
            "space.py: method.wieght_positive: no such setting; did you mean",
        ),
        (
            "STUDY = Study(base='jobs/demo.yaml', space=lambda t: t.suggest_float('method.weight_positive', -1e-9, 2))",
            "space.py: method: temperature is above 0, and weights are not negative",
        ),
        (
            "STUDY = Study(base='jobs/demo.yaml', space=lambda t: t.suggest_float('seed', 0, 1), first=[{'sed': 1}])",
            "space.py: first: sed: no such setting",
        ),
        (
            f"{SEEDS}, first=[{{'seed': 1, 'optim.lr': 0.1}}])",
            "space.py: first.optim.lr: the space does not suggest it",
        ),
        (f"{SEEDS}, layers=('seed=1',))", "space.py: Study.layers: no such field; it is now called `overrides`"),
        (
            f"{SEEDS}, first=[{{}}])",
            "space.py: first: ",
        ),
    ],
)
def test_a_study_that_cannot_be_run_is_rejected_before_the_first_trial(tmp_path: Path, text: str, line: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        SearchPlan.of(load(path), [], path)
    assert line in str(error.value)


def test_more_trials_are_the_same_study_and_another_metric_is_not(tmp_path: Path) -> None:
    path = written(tmp_path, "STUDY = Study(base='jobs/demo.yaml', space=lambda t: t.suggest_float('optim.lr', 1, 2))")
    study = load(path)
    name = SearchPlan.of(study, [], path).name
    assert SearchPlan.of(study, ["store=elsewhere", "compute.workers=3"], path, {"trials": 99}).name == name
    assert SearchPlan.of(study, ["seed=1"], path).name != name
    assert SearchPlan.of(study, [], path, {"strategy": "per_step"}).name != name


def test_the_command_of_a_winner_loads_exactly_its_settings() -> None:
    plan = SearchPlan.of(load("search_spaces/extend_ner.py"), ["scenario.order=[person, location]"], "x.py")
    settings = {
        "method.kd_weight": 1 / 3,
        "method.adaptive": True,
        "optim.warmup": 1e-7,
        "optim.first.epochs": None,
        "store": "a folder: #1",
        "seed": 3,
    }
    program, verb, *layers = shlex.split(plan.command(settings))
    assert (program, verb) == ("raycner", "run")
    assert RunConfig.load(layers) == plan.config(settings)
    assert plan.config(settings).optim.first.epochs is None
    assert "method.kd_weight=0.3333333333333333" in layers


def test_a_conditional_setting_is_asked_for_only_where_it_means_something() -> None:
    study = load("search_spaces/cfner.py")
    for trial in random_draws(study.space, 50):
        curriculum = trial.params.get("method.curriculum", False)
        assert ("method.confidence_start" in trial.params) == curriculum


# ---- the objective


def dev(new: str, **tp_fp_fn: tuple[int, int, int]) -> DevScores:
    return DevScores(tp_fp_fn, (new,))


PUBLISHED = [dev("a", a=(8, 2, 2)), dev("b", a=(5, 5, 5), b=(6, 4, 4))]
BETTER = [dev("a", a=(8, 2, 2)), dev("b", a=(7, 3, 3), b=(6, 4, 4))]
WORSE = [dev("a", a=(8, 2, 2)), dev("b", a=(1, 9, 9), b=(8, 2, 2))]


def test_a_score_is_the_mean_gain_over_trial_0() -> None:
    objective = Objective("macro_f1", 1.0, [PUBLISHED])
    assert objective([PUBLISHED])["score"] == 0
    assert objective([BETTER])["score"] == pytest.approx((0.0 + (0.65 - 0.55)) / 2)
    assert objective([BETTER[:1]])["score"] == 0, "after the first step all are alike"


def test_a_trial_that_stops_early_does_not_look_better_for_it() -> None:
    falling = [
        dev("a", a=(9, 1, 1)),
        dev("b", a=(6, 4, 4), b=(7, 3, 3)),
        dev("c", a=(5, 5, 5), b=(5, 5, 5), c=(5, 5, 5)),
    ]
    baseline = [
        dev("a", a=(9, 1, 1)),
        dev("b", a=(7, 3, 3), b=(7, 3, 3)),
        dev("c", a=(4, 6, 6), b=(4, 6, 6), c=(5, 5, 5)),
    ]
    objective = Objective("macro_f1", 0.0, [baseline])
    stopped, finished = objective([falling[:2]])["score"], objective([falling])["score"]
    assert stopped < 0 < finished


def test_two_objectives_part_old_types_from_new_ones() -> None:
    objectives = Objective("old_new", 0.0, [PUBLISHED])([WORSE])
    assert objectives["old"] == pytest.approx(0.1 - 0.5)
    assert objectives["new"] == pytest.approx((0.0 + 0.2) / 2)


def test_seeds_are_paired_and_caution_takes_standard_errors_off() -> None:
    bold, careful = (Objective("macro_f1", caution, [PUBLISHED, PUBLISHED]) for caution in (0.0, 2.0))
    gains = [Objective("macro_f1", 0.0, [PUBLISHED])([run])["score"] for run in (BETTER, WORSE)]
    mean = sum(gains) / 2
    error = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / 1) / math.sqrt(2)
    assert bold([BETTER, WORSE])["score"] == pytest.approx(mean)
    assert careful([BETTER, WORSE])["score"] == pytest.approx(mean - 2 * error)


def test_the_winners_of_a_step_are_tried_at_the_next(tmp_path: Path) -> None:
    space = "space=lambda t: t.suggest_float('optim.lr', 1e-5, 1e-2), strategy='per_step', trials=8"
    text = f"STUDY = Study(base='jobs/demo.yaml', {space}, first=[{{'optim.lr': 1e-3}}])"
    plan = SearchPlan.of(load(written(tmp_path, text)), [], "space.py")
    runs_so_far = ({"at.2.optim.lr": 2e-3, "at.3.optim.lr": 3e-3}, {"at.2.optim.lr": 2e-3, "at.3.optim.lr": 1e-3})
    rungs = [Rung(1.0, Objective("mean_f1", 1.0, []))]
    round_ = Round(name="r", plan=plan, step=4, steps=4, prefixes=runs_so_far, corpora=[], rungs=rungs)
    assert round_.first() == [
        {"optim.lr": 1e-3, PREFIX: 0},
        {"optim.lr": 1e-3, PREFIX: 1},  # the published value, which the second run has at step 3 too
        {"optim.lr": 3e-3, PREFIX: 0},
    ]
    assert round_.settings(round_.first()[-1]) == {**runs_so_far[0], "at.4.optim.lr": 3e-3}
    assert Round(name="r", plan=plan, step=2, steps=2, prefixes=[{}], corpora=[], rungs=rungs).first() == [
        {"optim.lr": 1e-3}
    ]


def test_too_many_trials_at_once_are_a_warning() -> None:
    study = load("search_spaces/extend_ner.py")
    assert study.trials == 24 and study.too_many_at_once(8) == ""
    assert study.too_many_at_once(9).startswith("9 of 24 trials run at once, so TPE proposes most of them before")
    assert replace(study, trials=100).too_many_at_once(10) == ""
    assert "at most --parallel 10," in replace(study, trials=100).too_many_at_once(11)
    assert replace(study, sampler="random").too_many_at_once(24) == ""


def round_of(tmp_path: Path, **fields: object) -> Round:
    plan = SearchPlan.of(load(written(tmp_path, SEEDS + ")")), [], "space.py", fields)
    rungs = [Rung(share, Objective("mean_f1", 1.0, [])) for share in plan.study.rungs]
    return Round(name="r", plan=plan, step=None, steps=8, prefixes=[{}], corpora=[], rungs=rungs)


def test_rungs_are_shares_of_the_sentences_and_then_steps(tmp_path: Path) -> None:
    assert round_of(tmp_path).rung_ends == (2, 4)
    assert round_of(tmp_path, grace=1, reduction=3).rung_ends == (1, 3)
    assert round_of(tmp_path, rungs=(0.1, 0.5, 1.0)).rung_ends == (8, 16, 18, 20)
    assert not round_of(tmp_path, pruning="none").prunes
    for rungs in ((), (0.5,), (0.5, 0.25, 1.0), (0.0, 1.0)):
        with pytest.raises(InputError, match="rising shares above 0, the last of which is 1"):
            round_of(tmp_path, rungs=rungs)


def test_rungs_name_another_study(tmp_path: Path) -> None:
    assert round_of(tmp_path, rungs=[1.0]).plan.name == round_of(tmp_path).plan.name
    assert round_of(tmp_path, rungs=[0.5, 1.0]).plan.name != round_of(tmp_path).plan.name


def test_half_of_the_trials_that_reach_a_rung_continue() -> None:
    study = optuna.create_study(direction="maximize", pruner=SuccessiveHalving((2, 4), 2))
    ended = []
    for score in (0.0, 0.3, 0.2, 0.1, 0.4, 0.3):
        trial = study.ask()
        trial.report(score, 1)
        assert not trial.should_prune(), "no rung"
        trial.report(score, 2)
        ended.append(trial.should_prune())
    assert ended == [False, False, False, True, False, False]
    late = study.ask()
    late.report(0.15, 2)
    assert late.should_prune(), "the fifth of seven"


def test_what_fits_of_settings_of_another_space() -> None:
    def space(trial: optuna.Trial) -> None:
        trial.suggest_float("weight", 0.0, 1.0)
        if trial.suggest_categorical("adaptive", [False, True]):
            trial.suggest_int("k", 1, 3)

    assert fit(space, {"weight": 0.5, "adaptive": True, "k": 3}) == ({"weight": 0.5, "adaptive": True, "k": 3}, {})
    settings, left_out = fit(space, {"weight": 2.0, "adaptive": False, "k": 3})
    assert settings == {"adaptive": False}
    assert left_out == {"weight": "outside its range", "k": "not in the space"}
