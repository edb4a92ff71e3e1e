"""Watching: what differs is flagged, what does not is not, and a new type shows as a cluster."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import raycner
from fixtures_tiny import spoken
from raycner.__main__ import main
from raycner.analysis.drift import (
    Candidate,
    DriftMeasure,
    TextSample,
    clusters,
    em_priors,
    new_types,
    psi,
)


def sample(
    draw: np.random.Generator,
    *,
    sentences: int = 400,
    unknown: float = 0.05,
    priors: Sequence[float] = (0.8, 0.15, 0.05),
    confidence: float = 8.0,
    candidates: Sequence[Candidate] = (),
) -> TextSample:
    """Sentences of ten words with these shares."""
    words = 10 * sentences
    kinds = draw.choice(len(priors), size=words, p=priors)
    posteriors = np.eye(len(priors))[kinds] * 3 + draw.normal(size=(words, len(priors)))
    posteriors = np.exp(posteriors) * np.asarray([0.8, 0.15, 0.05])
    return TextSample(
        sentences,
        words,
        int(draw.binomial(words, unknown)),
        draw.beta(confidence, 2, size=words // 10),
        np.arange(words // 10),
        (posteriors / posteriors.sum(1, keepdims=True)).astype(np.float32),
        np.repeat(np.arange(sentences), 10),
        tuple(candidates),
    )


def test_psi_is_zero_for_equal_histograms() -> None:
    draw = np.random.default_rng(0)
    assert psi(np.array([10.0, 20.0]), np.array([10.0, 20.0])) == pytest.approx(0)
    before, now = (draw.multinomial(n, np.full(10, 0.1)).astype(float) for n in (2000, 300))
    assert 0 < psi(before, now) < 0.15 < psi(before, now * np.arange(10))


def test_expectation_maximisation_finds_shifted_shares() -> None:
    draw = np.random.default_rng(1)
    trained, actual = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.1, 0.4])
    kinds = draw.choice(3, size=20_000, p=actual)
    x = draw.normal(size=20_000) + 2.0 * kinds
    likelihood = np.exp(-((x[:, None] - 2.0 * np.arange(3)) ** 2) / 2)
    posteriors = likelihood * trained
    posteriors /= posteriors.sum(1, keepdims=True)
    assert em_priors(posteriors.astype(np.float32), trained) == pytest.approx(actual, abs=0.02)
    assert posteriors.mean(0)[2] < 0.35, "the mean of posteriors is drawn to the trained shares"


@pytest.mark.parametrize("seed", range(5))
def test_the_same_text_is_not_flagged(seed: int) -> None:
    draw = np.random.default_rng(seed)
    measure = DriftMeasure(("a", "b"), sample(draw, sentences=1000))
    assert all(not measure.window(1, sample(draw)).flags for _ in range(5))


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"unknown": 0.2}, "unknown words"),
        ({"confidence": 3.0}, "confidence"),
        ({"priors": (0.8, 0.05, 0.15)}, "types"),
    ],
)
def test_what_changes_is_flagged(change: dict[str, object], flag: str) -> None:
    draw = np.random.default_rng(0)
    measure = DriftMeasure(("a", "b"), sample(draw, sentences=1000))
    window = measure.window(1, sample(draw, **change))  # type: ignore[arg-type]
    assert window.flags == (flag,)
    if flag == "types":
        assert window.priors["b"] == pytest.approx(0.15, abs=0.03)


def candidates(draw: np.random.Generator, number: int, centre: int, forms: int, first: int = 0) -> list[Candidate]:
    """Candidates around a direction, each in a sentence of its own."""
    states = draw.normal(size=(number, 16)) * 0.2 + np.eye(16)[centre]
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    return [
        Candidate(f"w{centre}-{i % forms}", (f"s{first + i}", f"w{centre}-{i % forms}"), 1, state)
        for i, state in enumerate(states)
    ]


def test_a_cluster_of_its_own_may_be_a_new_type() -> None:
    draw = np.random.default_rng(0)
    usual = [one for centre in range(4) for one in candidates(draw, 30, centre, 10, 1000 * centre)]
    reference = sample(draw, candidates=usual)
    again = [one for centre in range(4) for one in candidates(draw, 30, centre, 10, 1000 * centre + 500)]
    new = candidates(draw, 25, 9, 8, 9000)
    assert new_types(sample(draw, candidates=again), reference) == []
    (proposal,) = new_types(sample(draw, candidates=[*again, *new]), reference, lambda words: f"like {words[0]}")
    assert proposal.sentences >= 18 and proposal.before < 2 and proposal.name.startswith("like w9-")
    assert len(proposal.words) == 8 and all("[w9-" in example for example in proposal.examples)
    one_word = candidates(draw, 25, 9, 1, 9000)
    assert new_types(sample(draw, candidates=[*again, *one_word]), reference) == [], "a name that is in the news"


def test_clusters_part_what_is_apart() -> None:
    draw = np.random.default_rng(0)
    states = np.stack([one.state for centre in range(3) for one in candidates(draw, 20, centre, 5)])
    nearest = clusters(states, 3)
    assert {len(set(nearest[20 * k : 20 * k + 20])) for k in range(3)} == {1} and len(set(nearest)) == 3
    assert len(clusters(np.repeat(states[:1], 5, axis=0), 3)) == 5


# ---- on a run


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "usual.txt").write_text("\n".join(" ".join(words) for words, _ in spoken(120, 7)), encoding="utf-8")
    strange = "Zqx vlorp the brumlig of Frangle and ate some quiblo in Snorkville ."
    (folder / "strange.txt").write_text("\n".join([strange] * 60), encoding="utf-8")
    return folder


def test_a_run_is_watched(trained: str, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(texts / "usual.txt"), str(texts / "strange.txt")]
    assert main(["watch", "columns", *files, "--window", "60", "--json", "--alarm", "--store", trained]) == 3
    document = json.loads(capsys.readouterr().out)
    usual, again, strange = document["windows"]
    assert document["reference"]["sentences"] == 32 and (usual["first"], strange["first"]) == (1, 121)
    assert usual["flags"] == again["flags"] == []
    assert "unknown words" in strange["flags"] and strange["unknown"] > 0.4
    assert set(usual["priors"]) == {"animal", "city", "food", "person"}
    drift = raycner.watch("columns", texts / "usual.txt", window=100, store=trained)
    assert not drift.flagged and len(drift.report.windows) == 1, "the rest belongs to the last window"
    drift.write_html(tmp_path / "drift.html")
    assert "Types over time" in (tmp_path / "drift.html").read_text("utf-8")
    assert main(["watch", "columns", files[0], "--window", "60", "--store", trained]) == 0
    assert "unknown words" in capsys.readouterr().out


def test_a_reference_may_be_given(trained: str, texts: Path) -> None:
    usual, strange = texts / "usual.txt", texts / "strange.txt"
    assert raycner.watch("columns", strange, reference=[usual], store=trained).flagged
    assert (
        "unknown words" not in raycner.watch("columns", usual, reference=[usual], store=trained).report.windows[0].flags
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["EMPTY"], "no sentence in them"),
        (["USUAL", "--window", "0"], "a window of 0 sentences"),
        (["USUAL", "--reference", "EMPTY"], "fewer than two sentences"),
    ],
)
def test_bad_input(
    more: list[str], expected: str, trained: str, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    named = {"EMPTY": str(tmp_path / "empty.txt"), "USUAL": str(texts / "usual.txt")}
    assert main(["watch", "columns", *(named.get(one, one) for one in more), "--store", trained]) == 2
    line = capsys.readouterr().err
    assert expected in line and line.count("\n") == 1
