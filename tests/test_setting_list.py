"""Lists of settings: every setting has a row, and a synonym from elsewhere leads to it."""

import dataclasses

import pytest

import raycner
from raycner.api.setting_list import FAMILIES, describe_settings
from raycner.cli.program import main
from raycner.config import RunConfig
from raycner.errors import InputError
from raycner.hashing import plain
from raycner.methods.method import METHODS
from raycner.setting_docs import setting_docs
from raycner.settings import flat, parse
from raycner.synonyms import SYNONYMS

NAMES = {doc.name for branch in ("", *FAMILIES) for doc in setting_docs(RunConfig, branch)}


def test_every_setting_of_a_run_is_listed() -> None:
    docs = {doc.name: doc for doc in describe_settings()}
    values = flat(plain(RunConfig()))
    chosen = {name for name in values if name.startswith(tuple(f"{family}." for family in FAMILIES))}
    assert values.keys() - chosen <= docs.keys()
    assert {name for name in chosen if name.endswith(".name")} <= docs.keys()
    for name in docs.keys() & values.keys():
        default = docs[name].default
        assert default is not None and parse(default) == values[name], name


def test_a_family_lists_the_settings_of_all_its_members() -> None:
    listed = {(doc.kind, doc.name) for doc in describe_settings("method")}
    for name, member in METHODS.items():
        for field in dataclasses.fields(member):
            assert {(name, f"method.{field.name}"), (name, f"method.{field.name}.name")} & listed
    assert {doc.kind for doc in describe_settings("method.base.kd_weight")} >= {"extend_ner", "cfner"}
    assert [doc.default for doc in describe_settings("method.name")] == ["finetuning"]


def test_a_row_has_type_default_and_the_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    (doc,) = raycner.describe_settings("optim.clip")
    assert (doc.type, doc.default, doc.kind) == ("a number", "1.0", "")
    (doc,) = raycner.describe_settings("optim.fusion")
    assert doc.summary.endswith("0 mixes nothing in.") and len(doc.summary) < len(doc.doc)
    assert main(["settings", "optim.clip"]) == 0
    assert "optim.clip a number 1.0 The largest gradient norm; 0 does not clip." in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("learning_rate", "did you mean optim.lr?"),
        ("warmup", "did you mean optim.warmup?"),
        ("optim.ephocs", "did you mean optim.epochs?"),
        ("zzz", "see `raycner settings`"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        describe_settings(path)
    assert error.value.hint == hint


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("learning_rate=0.1", "did you mean optim.lr?"),
        ("optim.learning-rate=0.1", "did you mean optim.lr?"),
        ("trainer.max_grad_norm=1", "did you mean optim.clip?"),
        ("optim.batch=8", "did you mean optim.batch_size?"),
        ("num_epochs=3", "did you mean optim.epochs?"),
        ("model.model_name=bert-base-cased", "did you mean model.encoder.path?"),
        ("method.memory_size=200", "did you mean scenario.memory.size?"),
        ("optim.first.batch_size=8", "did you mean optim.batch_size?"),
    ],
)
def test_a_setting_of_another_library_is_recognised(override: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        RunConfig.load([override])
    assert str(error.value.hint).startswith(hint)


def test_synonyms_lead_to_settings_that_exist() -> None:
    assert SYNONYMS.keys() <= NAMES
    words = [word for words in SYNONYMS.values() for word in words]
    assert len(words) == len(set(words)), "a word stands for two settings"
