"""The page: what it shows of runs and searches, that it keeps to itself, and that a browser draws its plots."""

import base64
import hashlib
import os
import re
import subprocess
import time
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

import runs as jobs
from audit_site import AXE, SCHEMES, WIDTHS
from browsers import browser as browser
from raycner.__main__ import main
from raycner.analysis.formatting import DASH
from raycner.analysis.significance import Contrast
from raycner.analysis.summary import summary, with_published, with_significance
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.hashing import plain
from raycner.reporting.html.page import MOST_ROWS, MOST_SEEDS, Section, contents, export, html, write
from raycner.reporting.html.plots import curve
from raycner.reporting.tables.search import scores_by_step
from raycner.storage.ledger import EpochRecord, PseudoRecord, RunLedger
from raycner.storage.searches import RoundRecord, SearchRecord, TrialRecord, WinnerRecord
from raycner.storage.store import ObjectStore
from test_report import PLAN, SCORES, run, shifted, with_test_sets

HOSTILE = '</text></svg><script src="http://evil.example/x.js">alert(1)</script>&amp; $\\frac{1}{2}$ _"\''
CONTRAST = Contrast(row="dld(extend_ner)", against="extend_ner", isolates="what is decomposed")
EIGHTEEN = (
    *("CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP", "ORDINAL", "ORG"),
    *("PERCENT", "PERSON", "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART"),
)


def with_epochs(ledger: RunLedger, epochs: int = 3) -> RunLedger:
    """The run with epochs on record and, from its second step on, the account of a teacher's entities."""
    records = []
    for record in ledger.records():
        terms = ("ce", "kd", "dld_positive") if record.index else ("ce",)
        passes = tuple(
            EpochRecord(
                epoch=number,
                losses={
                    term: (1.0 + place) / (number + 1) + ledger.config["seed"] / 20 for place, term in enumerate(terms)
                },
                dev_score=0.5 + 0.1 * number,
                seconds=1.0,
            )
            for number in range(epochs)
        )
        asked = {name: PseudoRecord(proposed=100, kept=60, threshold=0.8, right=45) for name in record.seen}
        records.append(replace(record, epochs=passes, pseudo=asked if record.index else None))
    return RunLedger(ObjectStore("never-written-to"), replace(ledger._page, records=tuple(records)))


def trial(number: int, state: Any, *scores: float, second: float | None = None, **settings: Any) -> TrialRecord:
    """A trial that came to so many steps; Tune keeps its last score apart."""
    values = (scores[-1], *(() if second is None else (second,))) if state != "failed" else ()
    return TrialRecord(
        number=number,
        state=state,
        settings=settings or {"method.weight": 1.0 + number, "method.weighting": "word"},
        values=values,
        scores=scores,
        trained=len(scores),
        shared=0,
        seconds=5.0,
        reason="out of memory" if state == "failed" else "",
    )


def search(*trials: TrialRecord, objectives: tuple[str, ...] = ("score",), run: str = "") -> SearchRecord:
    shares = {"method.weight": 0.7, "method.weighting": 0.3}
    record = RoundRecord(name="dld-1234", steps=4, trials=trials, importances=shares)
    line = "raycner run jobs/demo.yaml method.weight=2.0"
    winner = WinnerRecord(settings={"method.weight": 2.0}, command=line, runs=(run,), baseline=(run,)) if run else None
    return SearchRecord(
        name="dld-1234",
        space="search_spaces/dld.py",
        job=("jobs/demo.yaml",),
        metric="mean_f1",
        objectives=objectives,
        seeds=1,
        strategy="whole_run",
        steps=4,
        rounds=(record,),
        winner=winner,
    )


TRIALS = (
    trial(0, "complete", 0.0, 0.0, 0.0, 0.0),
    trial(1, "complete", 0.0, 0.012, 0.021, 0.033),
    trial(2, "complete", 0.0, 0.008, 0.004, 0.011),
    trial(3, "pruned", 0.0, -0.02),
    trial(4, "pruned", 0.0, -0.011, -0.018),
    trial(5, "failed", 0.0, -0.005),
)


def seeds(**settings: Any) -> list[RunLedger]:
    return [with_epochs(run(shifted(by), PLAN, seed=seed, **settings)) for seed, by in enumerate((0.0, 2.0, 5.0))]


@cache
def everything() -> list[Section]:
    """Two systems over three seeds, their bound, published figures, a paired comparison and a search."""
    ours, bound = seeds(), run(shifted(9.0), PLAN, label="finetuning", protocol="joint", method={"name": "finetuning"})
    other = run(shifted(-4.0), PLAN, label="extend_ner", method={"name": "extend_ner"}, shares=False)
    report = with_significance(with_published(summary([*ours, bound, other])), [CONTRAST])
    return contents(report, [search(*TRIALS, run=ours[0].run)])


@cache
def drawn_once() -> dict[str, str]:
    """The SVG of each of these plots, by name."""
    return drawn(everything())


@cache
def page_once() -> str:
    """The page of all this."""
    return html(everything())


def many_types(seed: int = 0) -> RunLedger:
    scores = [[95.0 - 4 * (step - place) - place for place in range(step + 1)] for step in range(18)]
    return with_epochs(
        run(scores, [[name] for name in EIGHTEEN], seed=seed, label="cfner", method={"name": "cfner"}), epochs=8
    )


class Reader(HTMLParser):
    """What a page would load, what is open when it ends, and which identifiers it gives."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loads: list[str] = []
        self.anchors: list[str] = []
        self.identifiers: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [] if tag in self.VOID else [tag]
        attributes = dict(attrs)
        self.identifiers += [attributes["id"]] if attributes.get("id") else []
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "data", "action"} and value:
                (self.anchors if value.startswith("#") else self.loads).append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader(page)
    assert reader.open == []
    return reader


def drawn(sections: list[Section]) -> dict[str, str]:
    """The SVG of each plot, by name."""
    return {plot.name: plot.svg() for section in sections for plot in section.all_plots()}


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_a_page_shows_every_run_with_its_scores():
    page = page_once()
    text = " ".join(" ".join(read(page).words).split())
    for word in (
        "dld(extend_ner)",
        "extend_ner",
        "finetuning, joint",
        "average macro",
        "gap to joint",
        "final micro P",
    ):
        assert word in text
    assert "63.5" in page and "65.8±2.5" in page
    assert "paired differences" in text and "dld(extend_ner) - control: extend_ner shows: what is decomposed" in text
    assert "Gap to the joint bound by type" in text and "never learned" in text
    assert "CoNLL2003 FG-1-PG-1: ours and what is published" in text


def test_extra_test_sets_are_a_table_of_each_seed():
    page = " ".join(" ".join(read(html(contents(summary([with_test_sets()])))).words).split())
    assert "Extra test sets, seed 0" in page and "news micro 66.7 61.5 macro 66.7 57.5 tweets" in page
    assert "Extra test sets" not in page_once()


def test_unfinished_runs_are_shown_and_not_averaged():
    half = with_epochs(run(SCORES[:2], PLAN, label="half", shares=False))
    begun = run([], PLAN, label="begun")
    sections = contents(summary([*seeds(), half, begun]))
    text = " ".join(read(html(sections)).words)
    assert "half, seed 0: unfinished, 2 of 4 steps done" in text
    names = drawn(sections)
    assert not any("begun" in words(svg) for name, svg in names.items() if name.endswith(("old-and-new", "forgetting")))
    assert {"scenario-1-micro", "scenario-1-2-types", "scenario-1-2-losses"} <= names.keys()
    assert "scenario-1-3-types" not in names


def test_a_single_step_has_no_curve():
    names = drawn(contents(summary([run([[50.0, 60.0]], [["LOC", "PER"]])])))
    assert set(names) == {"scenario-1-1-types"}


@pytest.mark.parametrize("scores", [[[90.0], [90.0, 91.0]], [[0.0], [0.0, 0.0]]])
def test_an_axis_of_scores_begins_at_0_and_has_room_for_the_highest_marker(scores: list[list[float | None]]) -> None:
    (comparison,) = summary([run(scores, [["LOC"], ["PER"]])]).comparisons
    (axes,) = curve("micro", comparison, "micro").draw().axes
    low, high = axes.get_ylim()
    assert low == 0 and high > 1.05 * axes.dataLim.y1


def test_a_heatmap_shows_each_score_and_the_forgetting():
    texts = words(drawn_once()["scenario-1-2-types"])
    assert texts.count("82.3") == 3  # as LOC is learned, and macro and micro after the first step
    for figure in ("62.3", "47.3", "32.3", "87.3", "15.0", "57.3"):
        assert figure in texts
    assert texts.count("20.0") == 2 and texts.count(DASH) == 1
    assert [word for word in texts if word in ("LOC", "MISC", "ORG", "PER", "macro", "micro", "lost")] == [
        *("lost", "LOC", "MISC", "ORG", "PER", "macro", "micro")
    ]


def test_a_type_that_occurs_nowhere_leaves_its_cell_empty():
    texts = words(drawn(contents(summary([run([[None], [40.0, 60.0]], [["LOC"], ["PER"]])])))["scenario-1-1-types"])
    assert texts.count("0.0") == 2  # macro and micro of the first step; its only type has nothing to say


def test_every_term_of_the_loss_has_its_panel():
    svg = drawn_once()["scenario-1-2-losses"]
    assert [word for word in words(svg) if word in ("ce", "kd", "dld_positive")] == ["ce", "kd", "dld_positive"]
    assert "dev micro-F1 (%)" in words(svg) and "step 4" in words(svg)


def test_losses_that_are_no_numbers_leave_a_gap():
    ledger = with_epochs(run(SCORES, PLAN))
    first, *rest = ledger.records()
    broken = replace(first, epochs=tuple(replace(e, losses={"ce": float("nan")}) for e in first.epochs))
    report = summary([RunLedger(ObjectStore("never-written-to"), replace(ledger._page, records=(broken, *rest)))])
    assert report.runs[0].steps[0].epochs[0].losses == {"ce": None}
    assert "nan" not in drawn(contents(report))["scenario-1-1-losses"].lower()


def test_pseudo_labels_are_plotted_and_described():
    svg = drawn_once()["scenario-1-2-teacher"]
    assert {"proposed", "kept", "precision", "entities"} <= set(words(svg))
    assert "75.0" in read(page_once()).words
    assert "scenario-1-1-teacher" not in drawn_once()


def test_published_curves_and_averages_are_drawn_only_where_asked_for():
    names = drawn_once()
    assert "scenario-1-published-averages" in names
    assert "cfner, DLD" in words(names["scenario-1-published-averages"])
    assert "scenario-1-published-averages" not in drawn(contents(summary(seeds())))


def test_a_search_shows_its_trials_the_importances_and_the_winners_line():
    sections = everything()
    names = drawn_once()
    assert {"complete", "pruned", "failed", "trial 0"} <= set(words(names["search-1-1-trials"]))
    assert {"method.weight", "0.70", "method.weighting", "0.30"} <= set(words(names["search-1-1-importances"]))
    text = " ".join(read(html(sections)).words)
    assert "raycner run jobs/demo.yaml method.weight=2.0" in text
    assert "6 trials (3 complete, 2 pruned, 1 failed)" in text and "trial 5 failed: out of memory" in text
    assert "+3.3" in text and "search-1-1-front" not in names


def test_a_trial_is_drawn_to_the_step_it_ended_at():
    complete, pruned, failed = TRIALS[1], TRIALS[4], TRIALS[5]
    assert scores_by_step(complete) == pytest.approx([0.0, 1.2, 2.1, 3.3])
    assert scores_by_step(pruned) == pytest.approx([0.0, -1.1, -1.8])
    assert scores_by_step(failed) == pytest.approx([0.0, -0.5])


def test_two_objectives_leave_a_front():
    both = (trial(0, "complete", 0.0, 0.0, second=0.0), trial(1, "complete", 0.0, 0.02, second=-0.01))
    beaten = trial(2, "complete", 0.0, -0.01, second=-0.02)
    names = drawn(contents(summary(seeds()), [search(*both, beaten, objectives=("old", "new"))]))
    texts = words(names["search-1-1-front"])
    assert {"old types (points)", "new types (points)", "0", "1"} <= set(texts) and "2" not in texts


def test_the_settings_on_the_page_run_again(tmp_path: Path):
    config = RunConfig.load([*jobs.SMALL, "method.base.kd_weight=2.5", "at.2.method.weight_positive=0.5"])
    ledger = run(SCORES, PLAN)
    ledger = RunLedger(ObjectStore("never-written-to"), replace(ledger._page, run="demo-1", config=plain(config)))
    page = html(contents(summary([ledger])))
    (link,) = (load for load in read(page).loads if load.startswith("data:application/yaml;base64,"))
    file = tmp_path / "demo-1.yaml"
    file.write_bytes(base64.b64decode(link.partition(",")[2]))
    assert f"raycner run {file.name}" in page
    assert RunConfig.load([str(file)]) == config
    assert yaml.safe_load(file.read_text()) == plain(config)


def with_weights(count: int, **settings: Any) -> list[RunLedger]:
    """So many rows of one run each."""
    ledgers = [with_epochs(run(SCORES, PLAN, method={"name": "dld", "weight": n}, **settings)) for n in range(count)]
    return [RunLedger(one._store, replace(one._page, run=f"{one.run}-{n}")) for n, one in enumerate(ledgers)]


def test_of_many_runs_the_first_rows_are_drawn_and_the_rest_is_said_to_be_left_out():
    (section,) = contents(summary(with_weights(400)))
    drawn = [part for part in section.parts if part.recipes]
    assert len(drawn) == MOST_ROWS
    assert len(list(section.all_plots())) == 6 + 4 * MOST_ROWS
    assert len(section.tables[0].rows) == 400
    left_out = f"Left out: the plots, the tables by type and the settings of the last {400 - MOST_ROWS} rows"
    assert [line for line in section.paragraphs if line.startswith(left_out)]
    (all_drawn,) = contents(summary(with_weights(MOST_ROWS)))
    assert not [line for line in all_drawn.paragraphs if "Left out" in line]


def test_small_scenarios_are_drawn_in_full_and_large_ones_share_the_rest():
    small, large = with_weights(2, protocol="one"), with_weights(40, protocol="two")
    sections = contents(summary([*small, *large, *with_weights(40, protocol="three")]))
    assert [sum(bool(part.recipes) for part in one.parts) for one in sections] == [2, 14, 14]
    many = [one for number in range(MOST_ROWS + 10) for one in with_weights(1, protocol=f"p{number}")]
    assert sum(bool(part.recipes) for one in contents(summary(many)) for part in one.parts) == MOST_ROWS


def test_of_many_seeds_the_first_have_details():
    ledgers = [with_epochs(run(SCORES, PLAN, seed=seed)) for seed in range(MOST_SEEDS + 2)]
    (section,) = contents(summary(ledgers))
    row = section.parts[0]
    assert "Left out: the tables by type and the settings of the last 2 seeds." in row.paragraphs
    assert len(row.recipes) == MOST_SEEDS == len(row.parts[0].tables)
    assert "thin: each seed" not in next(plot.caption for plot in row.plots if plot.name.endswith("losses"))


def test_text_from_files_is_escaped():
    hostile = with_epochs(run([[50.0], [40.0, 60.0]], [[HOSTILE], ["_hidden\x00\x1b"]], label=HOSTILE, run=HOSTILE))
    twin = with_epochs(run([[50.0], [40.0, 60.0]], [[HOSTILE], ["_hidden\x00\x1b"]], label="_twin", run="twin"))
    report = with_significance(summary([hostile, twin]), [Contrast(row=HOSTILE, against="_twin", isolates=HOSTILE)])
    sections = contents(report, [search(trial(0, "failed", **{HOSTILE: HOSTILE}), run=HOSTILE)])
    reader = read(html(sections))
    assert reader.tags.count("script") == 1  # our own
    assert HOSTILE in "".join(reader.words)
    svgs = drawn(sections)
    assert any("_twin" in words(svg) for svg in svgs.values()), "matplotlib leaves out names that begin so"
    assert all("<script" not in svg and "\x00" not in svg for svg in svgs.values())


def test_the_page_loads_nothing():
    reader = read(page_once())
    assert {load.partition(",")[0] for load in reader.loads} == {"data:application/yaml;base64"}
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page_once())
    assert not {"link", "img", "iframe", "object", "embed"} & set(reader.tags)


def test_the_page_runs_its_own_script_alone():
    page = page_once()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert not re.search(r"\son\w+=", page)


def test_tables_whose_rows_have_names_can_be_sorted():
    page = page_once()
    assert page.count('<table class="sortable">') > 3
    after = html(contents(summary([with_test_sets()]))).partition("Extra test sets")[2]
    assert '<table class="sortable">' not in after.partition("</table>")[0]


def test_points_say_what_they_are():
    curve = drawn_once()["scenario-1-macro"]
    assert "<title>dld(extend_ner), step 1: 82.3\N{PLUS-MINUS SIGN}2.5</title>" in curve
    assert "tip:" not in curve
    hostile = run([[50.0], [40.0, 60.0]], [[HOSTILE], ["x"]], label=HOSTILE)
    assert "<script" not in "".join(drawn(contents(summary([hostile]))).values())


def test_figures_begin_at_zero():
    for name, svg in drawn_once().items():
        if name.endswith(("-micro", "-macro", "-cost", "-losses", "-averages")):
            assert "0" in words(svg) or "0.0" in words(svg), name


def test_what_each_system_lost_of_each_type_is_one_heat_map():
    texts = words(drawn_once()["scenario-1-forgetting-by-type"])
    assert {"LOC", "MISC", "ORG", "20.0", "15.0"} <= set(texts) and "PER" not in texts


def test_precision_and_recall_of_each_type_are_points():
    svg = drawn_once()["scenario-1-2-precision-recall"]
    assert {"LOC", "MISC", "ORG", "PER", "recall (%)"} <= set(words(svg))
    assert "<title>PER: precision 100.0, recall" in svg


def test_a_search_is_drawn_by_each_setting_and_by_all():
    names = drawn_once()
    assert "method.weight" in words(names["search-1-1-slices"])
    assert "<title>trial 1: method.weight=2.0, +3.3 points</title>" in names["search-1-1-slices"]
    assert {"weight", "score", "+3.3", "+0.0"} <= set(words(names["search-1-1-parallel"]))
    mixed = [
        trial(n, "complete", 0.01 * n, **{"method.form": form, "optim.lr": 10.0**-n}) for n, form in enumerate("aba")
    ]
    texts = words(drawn(contents(summary(seeds()), [search(*mixed)]))["search-1-1-slices"])
    assert {"a", "b", "1", "0.01"} <= set(texts)


def test_identifiers_are_unique_and_links_resolve():
    page = page_once()
    reader = read(page)
    assert len(reader.identifiers) == len(set(reader.identifiers))
    wanted = {anchor[1:] for anchor in reader.anchors} | set(re.findall(r"url\(#([^)]*)\)", page))
    assert wanted <= set(reader.identifiers)


def test_a_page_is_the_same_each_time():
    assert html(everything()) == page_once()


def test_every_plot_is_exported_as_png_and_svg(tmp_path: Path):
    sections = contents(summary(seeds()), [search(*TRIALS)])
    number = export(sections, tmp_path / "plots")
    names = drawn(sections)
    files = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert set(files) == {f"{name}.{form}" for name in names for form in ("png", "svg")} and number == len(names)
    for name, content in files.items():
        assert content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")


def test_a_path_that_cannot_be_written_is_rejected(tmp_path: Path):
    (tmp_path / "file").touch()
    for deed in (write, export):
        with pytest.raises(InputError, match="cannot be written"):
            deed([], tmp_path / "file" / "inner")


def test_report_html_writes_one_file_and_prints_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = ObjectStore(str(tmp_path / "store"))
    page = run(SCORES, PLAN, run="conll-1")._page
    fields = {"label": page.label, "config": page.config, "corpora": page.corpora, "planned": page.planned}
    ledger = RunLedger.create(store, page.run, **fields)
    for record in page.records:
        ledger.append(record)
    search(*TRIALS, run="conll-1").write(store)
    asked = ["report", "--store", str(tmp_path / "store"), "--html", str(tmp_path / "new" / "report.html")]
    assert main([*asked, "--plots", str(tmp_path / "plots"), "--published"]) == 0
    output = capsys.readouterr()
    assert output.out == "" and "report.html" in output.err
    html = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "Search dld-1234" in html and "ours and what is published" in html
    assert len(list((tmp_path / "plots").glob("*.png"))) > 5
    assert main([*asked, "conll"]) == 0
    assert "Search dld-1234" not in (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*asked[:-1], str(tmp_path / "plots")]) == 2
    assert "cannot be written" in capsys.readouterr().err


PROBE = """
<script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("figure.plot")].map(figure => {
    const box = figure.querySelector("svg").getBoundingClientRect();
    const shapes = [...figure.querySelectorAll("svg path, svg text")].filter(shape => {
      const bounds = shape.getBoundingClientRect();
      return bounds.width > 0 || bounds.height > 0;
    });
    return `${figure.id} ${Math.round(box.width)} ${Math.round(box.height)} ${shapes.length}`;
  });
  const page = document.documentElement;
  document.title = [`page ${page.scrollWidth} ${page.clientWidth}`, ...seen].join("; ");
});
</script>
"""
"""Measures what the browser has drawn, and says it in the page's title."""


@pytest.mark.parametrize("width", [1280, 500, 390])
def test_a_browser_draws_the_plots(browser: str, tmp_path: Path, width: int):
    report = with_published(summary([many_types(), many_types(1)]))
    sections = [*everything(), *contents(report, [])]
    sections = [*sections[:-1], renamed(sections[-1])]
    opened = html(sections).replace('<meta http-equiv="Content-Security-Policy"', '<meta name="without"')
    frame = tmp_path / "frame.html"
    frame.write_text(opened.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    head = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}"]
    asked = [*head, f"--window-size={width},2000", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()]
    dumped = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120).stdout
    title = re.search(r"<title>(.*?)</title>", dumped)
    assert title, dumped[:500]
    page, *plots = title[1].split("; ")
    _, across, available = page.split()
    assert int(across) <= int(available), "the page itself scrolls sideways"
    names = [plot.name for section in sections for plot in section.all_plots()]
    assert [plot.split()[0] for plot in plots] == names
    for plot in plots:
        _, wide, high, shapes = plot.split()
        assert int(wide) > 200 and int(high) > 60 and int(shapes) > 10, plot


def renamed(section: Section) -> Section:
    """The section under a name of its own, for a page with another section of the same name."""
    plots = [plot._replace(name=f"other-{plot.name}") for plot in section.plots]
    parts = [renamed(part) for part in section.parts]
    return replace(section, anchor=f"other-{section.anchor}", plots=plots, parts=parts)


AUDIT = """
<script>
addEventListener("load", async () => {
  const audit = await axe.run(document, {});
  const faults = audit.violations.map(rule => `${rule.id}: ${rule.nodes[0].target}`);
  document.title = [`${audit.passes.length} rules`, ...faults].join("; ");
});
</script>
"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_accessible(browser: str, tmp_path: Path, width: int, scheme: str):
    """By the rules of axe-core, which `npm install --no-save axe-core` puts where this test looks for it."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm install --no-save axe-core")
    frame = tmp_path / "frame.html"
    opened = page_once().replace('<meta http-equiv="Content-Security-Policy"', '<meta name="without"')
    script = f"<script>{AXE.read_text(encoding='utf-8')}</script>{AUDIT}"
    frame.write_text(opened.replace("</body>", f"{script}</body>"), encoding="utf-8")
    head = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    head.append(f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}")
    asked = [*head, f"--window-size={width},2000", "--virtual-time-budget=30000", "--dump-dom", frame.as_uri()]
    dumped = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=240).stdout
    title = re.search(r"<title>(.*?)</title>", dumped)
    assert title and re.fullmatch(r"\d+ rules", title[1]), title and title[1]


def test_a_page_is_whole_and_what_a_killed_report_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    abandoned, recent = (tmp_path / f"page.html~{digit * 32}" for digit in "01")
    for draft in (abandoned, recent):
        draft.write_text("half", encoding="utf-8")
    os.utime(abandoned, (time.time() - 3601,) * 2)
    write([], tmp_path / "page.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", recent.name]
    assert (tmp_path / "page.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_a_page_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "page.html").symlink_to(tmp_path / "elsewhere.html")
    write([], tmp_path / "page.html")
    assert (tmp_path / "page.html").is_symlink() and (tmp_path / "elsewhere.html").stat().st_size
