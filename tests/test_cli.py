"""The command line as a person meets it: what it prints, and the one line that bad input gets."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import runs
from raycner.__main__ import main
from raycner.cli.program import VERBS, parse

KINDS = ("method", "model.encoder", "scenario.corpus")
CONLL = "Ada B-person\nsaw O\nOslo B-city\n. O\n\n" * 30


def error_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a rejected command prints; it prints nothing else."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    line = printed.err.rstrip("\n")
    assert line.startswith("raycner: ") and "\n" not in line and "Traceback" not in line
    return line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["reprot"], "no verb is called 'reprot'; did you mean report?"),
        (["fly"], "no verb is called 'fly'; known: adopt, "),
        ([], "VERB; see `raycner --help`"),
        (["run", "--sede=3"], "`raycner run` has no option '--sede=3'"),
        (["run", "--lgo", "json"], "`raycner run` has no option '--lgo'; did you mean --log?"),
        (["run", "--log", "jsn"], "--log: invalid choice: 'jsn'"),
        (["store", "lst"], "invalid choice: 'lst'"),
        (["store", "gc", "--yse"], "`raycner store gc` has no option '--yse'; did you mean --yes?"),
        (["store", "ls", "here"], "one argument too many: 'here'; see `raycner store ls --help`"),
        (["report", "--store", "b\udcff"], "'b\\udcff': bytes that are not UTF-8"),
        (["prepare", "scenario.corpus.path=b\udcff"], "scenario.corpus.path: bytes that are not UTF-8"),
        (["compare", "jobs/demo.yaml"], "--rows; see `raycner compare --help`"),
    ],
)
def test_a_bad_command_gets_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert expected in error_line(capsys, *arguments)


def test_a_folder_with_a_name_that_is_not_utf_8_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text("Ada B-person\n")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("")
    assert "cannot be listed: a name in it is not UTF-8" in error_line(capsys, "inspect", str(tmp_path))


def test_options_may_stand_among_config_files() -> None:
    args = parse(["run", "a.yaml", "--log", "json", "b.yaml", "seed=3"])
    assert (args.configs, args.log) == (["a.yaml", "b.yaml", "seed=3"], "json")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_the_help_of_a_verb_has_examples_that_parse(verb: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    name = verb.__name__.rpartition(".")[2]
    with pytest.raises(SystemExit) as ended:
        parse([name, "--help"])
    assert ended.value.code == 0
    _, _, examples = capsys.readouterr().out.partition("examples:\n")
    commands = [line.partition("raycner ")[2] for line in examples.splitlines()]
    assert commands and all(command.startswith(name) for command in commands)
    for command in commands:
        assert callable(parse(shlex.split(command)).func)


def test_the_help_needs_none_of_the_heavy_modules() -> None:
    code = "import sys; from raycner.cli.program import parser_of_all_verbs; parser_of_all_verbs()[0].format_help()\n"
    code += "print(*sorted({'torch', 'ray', 'optuna', 'transformers', 'numpy', 'pydantic'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture
def columns(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        (folder / f"{part}.conll").write_text(CONLL, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["method.nmae=dld"], "method.nmae: no such setting; did you mean name?"),
        (["optim.epoch=3"], "optim.epoch: no such setting; did you mean epochs?"),
        (["scenari.corpus=demo"], "scenari: no such setting; did you mean scenario?"),
        (["method.name=extendner"], "method.name: no method is called 'extendner'; did you mean extend_ner?"),
        (["method.name=dld"], "method.base.name: no method is chosen"),
        (["method.name=dld", "method.base.name=cosine"], "method.base.name: no method is called 'cosine'"),
        (["method.base.kd_wieght=2"], "method.base.kd_wieght: no such setting; did you mean kd_weight?"),
        (["optim.lr=fast"], "optim.lr: "),
        (["optim.epochs=2.5"], "optim.epochs: "),
        (["optim.select=old"], "optim.select: "),
        (["seed=true story"], "seed: "),
        (["optim.epochs=-1"], "optim: epochs, updates"),
        (
            ["scenario.protocol.first=2", "scenario.protocol.per_step=2"],
            "scenario.protocol.first: first=2 and then per_step=2 do not divide 3 types",
        ),
        (["scenario.order=[location, persn]"], "scenario.order: type 'persn' is not annotated"),
        (["model.head={name: cosine, norm_axis: sequence}", "compute.workers=2"], "model.head.norm_axis: "),
        (["model.encoder.name=pretrained", "model.encoder.path=no/such/folder"], "model.encoder.path: no encoder at"),
        (["model.encoder.vectors=no/such/file"], "model.encoder.vectors: cannot read word vectors"),
        (
            ["method={name: self_training, thresholds: {persn: 0.5}}"],
            "no type called 'persn' is learned; did you mean person?",
        ),
        (["no/such/job.yaml"], "no/such/job.yaml: cannot read it"),
        (
            ["scenario.corpus.name=colums", "scenario.corpus.path=x"],
            "scenario.corpus.name: no layout is called 'colums'",
        ),
        (["scenario.corpus.name=columns"], "scenario.corpus.path: the layout columns needs files"),
    ],
)
def test_bad_settings_get_one_line(
    settings: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = {kind for kind in KINDS for s in settings if s.startswith((f"{kind}.name", f"{kind}="))}
    small = [s for s in runs.SMALL if not s.startswith(tuple(f"{kind}." for kind in chosen))]
    line = error_line(capsys, "run", *small, f"store={tmp_path / 'store'}", *settings)
    assert expected in line
    assert not list(tmp_path.glob("store/steps/*")), "a rejected run left a step"


def test_a_missing_corpus_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "nowhere"
    line = error_line(capsys, "run", f"scenario.corpus={{name: columns, path: {where}}}", f"store={tmp_path / 'store'}")
    assert str(where) in line
    assert not (tmp_path / "store" / "corpora").exists()


def test_a_broken_line_is_named_by_file_and_number(
    columns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (columns / "train.conll").write_text(CONLL + "Bo\n", encoding="utf-8")
    line = error_line(
        capsys, "prepare", f"scenario.corpus={{name: columns, path: {columns}}}", f"store={tmp_path / 's'}"
    )
    assert f"{columns / 'train.conll'}:{CONLL.count(chr(10)) + 1}" in line


def test_a_store_that_cannot_be_written_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    line = error_line(capsys, "run", *runs.SMALL, f"store={tmp_path / 'file' / 'store'}")
    assert "file" in line


def test_a_method_on_a_head_it_cannot_train_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from raycner.methods.extend_ner import ExtendNER
    from raycner.networks.heads.head import Head

    class Spans(Head):  # type: ignore[type-arg]
        """A family of heads that no method here trains."""

    monkeypatch.setattr(ExtendNER, "heads", (Spans,))
    settings = [s for s in runs.SMALL if not s.startswith("method.")]
    line = error_line(capsys, "run", *settings, f"store={tmp_path}", "method.name=extend_ner")
    assert "method.name: method 'extend_ner' trains Spans, not head 'linear'" in line


def test_the_script_ends_with_the_status(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "raycner", "run", "optim.lr=fast", f"store={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("raycner: optim.lr") and "Traceback" not in done.stderr


def test_a_warning_of_the_hub_is_printed_once() -> None:
    code = "from raycner.cli.program import main; main(['store', 'ls']); import huggingface_hub.utils.logging as hub"
    code += "; hub.get_logger('huggingface_hub.file_download').warning('Retrying in 1s')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("Retrying in 1s") == 1


def test_plan_marks_what_the_store_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [*runs.SMALL, f"store={tmp_path}"]
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["plan", *configs]) == 0
    assert capsys.readouterr().out.count("missing") == 3
    assert main(["run", *configs]) == 0
    capsys.readouterr()
    assert main(["plan", *configs]) == 0
    assert capsys.readouterr().out.count("in the store") == 3
    assert main(["plan", *configs, "method.base.kd_weight=2"]) == 0
    printed = capsys.readouterr().out
    assert (printed.count("in the store"), printed.count("missing")) == (1, 2)


def test_prepare_prints_what_it_read(columns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (columns / "dev.conll").unlink()
    assert main(["prepare", f"scenario.corpus={{name: columns, path: {columns}}}", f"store={tmp_path / 's'}"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "sentences 27 3 30" in printed
    assert "city" in printed and "person" in printed
    assert "note tags read as BIO (detected)" in printed


def test_report_shows_runs_side_by_side_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = [*runs.SMALL, f"store={tmp_path}", "scenario.corpus.sentences=60", "optim.epochs=1", "optim.first.epochs=1"]
    tiny = [setting for setting in tiny if not setting.startswith("method.")]
    for method in ("finetuning", "extend_ner"):
        assert main(["run", *tiny, f"method.name={method}"]) == 0
    capsys.readouterr()
    assert main(["report", "--store", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "finetuning" in printed and "extend_ner" in printed
    assert main(["report", "--store", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 2 and len(document["runs"]) == 2
    assert main(["report", "--store", str(tmp_path), "demo-fg_pg-extend"]) == 0
    assert "finetuning" not in capsys.readouterr().out
    assert "no run is called 'nosuch'" in error_line(capsys, "report", "--store", str(tmp_path), "nosuch")
    assert error_line(capsys, "report", "--store", str(tmp_path), "store=s3://b/s").endswith("write --store s3://b/s")


def test_report_of_an_empty_store_prints_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "raycner run" in error_line(capsys, "report", "--store", str(tmp_path))


def test_another_method_drops_settings_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *runs.SMALL, f"store={tmp_path}", "method.name=finetuning"]) == 0
    assert "method.name=finetuning drops base of dld" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("verb", ["prepare", "plan"])
def test_reading_a_long_corpus_prints_progress(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raycner.data.corpora.PROGRESS_EVERY", 100)
    assert main([verb, *runs.SMALL, f"store={tmp_path}"]) == 0
    assert "100 sentences read" in capsys.readouterr().out
