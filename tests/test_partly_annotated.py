"""Steps whose source annotates some old types too, or marks only some entities of a type."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import raycner
from fixtures_tiny import spoken
from raycner import InputError
from raycner.__main__ import main
from raycner.data.entities import Entity, Sentence, encode
from raycner.methods.extend_ner import ExtendNER
from raycner.networks.losses import distillation
from test_your_model import write_columns


def marked(folder: Path, every: int) -> Path:
    """Sentences in which food is marked in one of so many sentences, and everywhere in dev and test."""
    for seed, (part, number) in enumerate({"train": 60, "dev": 16, "test": 16}.items()):
        folder.mkdir(exist_ok=True)
        blocks = []
        for i, (words, entities) in enumerate(spoken(number, seed)):
            food = [e for e in entities if e.type == "food" and (part != "train" or i % every == 0)]
            pairs = zip(words, encode(food, len(words)), strict=True)
            blocks.append("".join(f"{word} {tag}\n" for word, tag in pairs))
        (folder / f"{part}.txt").write_text("\n".join(blocks), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def base(trained: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an adopted step that has learned animals and cities; and the sources next to it."""
    place = tmp_path_factory.mktemp("partly")
    raycner.adopt("columns:1", "base", store=shutil.copytree(trained, place / "store"), progress=False)
    for seed, (part, number) in enumerate({"train": 40, "dev": 10, "test": 10}.items()):
        write_columns(place / "both" / f"{part}.txt", number, seed, {"food", "city", "animal"})
    marked(place / "some", 3)
    return place


RATES = {"optim.epochs": 2, "optim.batch_size": 8, "optim.lr": 0.02, "optim.head_lr": 0.02}


def test_old_types_that_are_annotated_too_are_learned_and_scored(base: Path) -> None:
    run = raycner.load_run("base", store=base / "store")
    source = base / "both"
    plain = run.extend(["food"], source, RATES, progress=False)
    both = run.extend(["food"], source, RATES, annotated=["city"], progress=False)
    assert plain.steps[1].fingerprint != both.steps[1].fingerprint
    gold = sum(e.type == "city" for _, entities in spoken(10, 2) for e in entities)
    of_city, without = both.steps[1].test["city"], plain.steps[1].test["city"]
    assert of_city[0] + of_city[2] == gold > 0 and not any(without), "hidden where the step does not say so"
    assert both.config["scenario"]["protocol"]["steps"][1]["annotated"] == ["city"]


class Answering:
    """A student or teacher with one output."""

    def __init__(self, output: Any, head: Any) -> None:
        self.output, self.head = output, head

    def __call__(self, _: object) -> Any:
        return self.output


def test_words_without_annotation_are_left_to_the_teacher(base: Path) -> None:
    """The loss does not move the logits of the new type where it may be unmarked, and it does where it is not."""
    run = raycner.load_run("base", store=base / "store")
    partly = run.extend(["food"], base / "some", RATES, partly=["food"], progress=False)
    network = partly.predictor()._network
    words = ("Nobody", "eats", "soup")
    marked_sentence = Sentence(0, words, frozenset({Entity(2, 3, "food")}))
    tokens = network.tokenize([words])
    gradients = []
    for open_types in (frozenset({"food"}), frozenset()):
        batch = network.collate([replace(marked_sentence, open=open_types)], tokens, [0])
        output = network(batch)
        output = replace(output, logits=output.logits.detach().requires_grad_())
        teacher = replace(output, logits=output.logits.detach()[..., :5] + torch.arange(5.0))
        terms = ExtendNER().losses(Answering(output, network.head), Answering(teacher, network.head), batch)
        (kd,) = torch.autograd.grad(terms["kd"].total, output.logits, retain_graph=True)
        (ce,) = torch.autograd.grad(terms["ce"].total, output.logits)
        assert ce[0, 2, 5:].abs().sum() > 0, "what is marked is learned"
        gradients.append(kd[0, :2, 5:].abs().sum())
        old = kd[0, :2, :5].abs().sum()
        assert old > 0, "the old types are held"
    assert gradients[0] == 0 < gradients[1]


def test_marked_entities_suffice(base: Path) -> None:
    """Where two of three sentences leave food unmarked, more of it is found if the step knows."""
    run = raycner.load_run("base", store=base / "store")
    rates = {**RATES, "optim.epochs": 8}
    shares = []
    for partly in ((), ("food",)):
        tp, _, fn = run.extend(["food"], base / "some", rates, partly=partly, progress=False).steps[1].test["food"]
        shares.append(tp / (tp + fn))
    assert shares[1] > shares[0]


def test_several_types_with_a_memory(base: Path) -> None:
    run = raycner.load_run("base", store=base / "store")
    settings = {**RATES, "optim.epochs": 1, "scenario.memory.size": 3}
    first = run.extend(["food"], base / "some", settings, progress=False)
    for seed, (part, number) in enumerate({"train": 30, "dev": 10, "test": 10}.items()):
        write_columns(base / "zoo" / f"{part}.txt", number, seed, {"person"})
    second = first.extend(["person"], base / "zoo", {"at.3.optim.epochs": 1}, progress=False)
    assert second.types == ("animal", "city", "food", "person")
    assert second.steps[2].sentences > 30, "sentences of step 2 are learned again"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--types", "food", "--annotated", "town"], "no step so far learns 'town'"),
        (["--types", "food", "--annotated", "food"], "`annotated` are types of earlier steps"),
        (
            ["--types", "food", "--partly", "food", "method.name=self_training"],
            "takes words without annotation for O",
        ),
    ],
)
def test_bad_input(arguments: list[str], expected: str, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["--source", str(base / "both"), "--store", str(base / "store")]
    assert main(["extend", "base", *arguments, *source]) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]


def test_a_first_step_needs_full_annotations(base: Path, tiny_layers: list[str], tmp_path: Path) -> None:
    steps = f"scenario.protocol.steps=[{{types: [food], partly: [food], corpus: {{path: {base / 'some'}}}}}]"
    with pytest.raises(InputError, match="the first step, which has no teacher, takes words"):
        raycner.plan([*tiny_layers, "scenario.protocol.name=steps", steps, f"store={tmp_path}"])


def test_open_tags_take_no_mass() -> None:
    """Distillation with the open tags masked equals that of the student without these tags."""
    z, z_old = torch.randn(2, 3, 7), torch.randn(2, 3, 5)
    unknown = torch.tensor([[False] * 5 + [True] * 2] * 2)
    where = torch.ones(2, 3, dtype=torch.bool)
    masked = distillation(z.masked_fill(unknown[:, None], float("-inf")), z_old, where)
    assert torch.allclose(masked.total, distillation(z[..., :5], z_old, where).total)
