"""Checkpoints of strangers: their code is never run, pickles need a setting, and what is missing or broken is named."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from raycner.errors import InputError
from raycner.inference.token_classifier import TokenClassifier
from raycner.networks.encoders.pretrained import Pretrained, Transformer
from raycner.networks.heads.triplets import Triplets
from raycner.networks.hugging_face import on_this_machine
from raycner.networks.weights import load_weights

Edit = Callable[[Path], None]
CODE = """
from pathlib import Path
from transformers import PretrainedConfig, PreTrainedTokenizerFast
Path(__file__).with_name("RAN").touch()
Path({marker!r}).touch()
class EvilConfig(PretrainedConfig):
    model_type = "evil"
class EvilTokenizer(PreTrainedTokenizerFast):
    pass
"""


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def checkpoint(tiny_bert: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "checkpoint"))


def of_another_model(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig"})


def of_a_known_model(folder: Path) -> None:
    edit_json(folder / "config.json", auto_map={"AutoConfig": "evil.EvilConfig"})


def of_the_tokenizer(folder: Path) -> None:
    edit_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil.EvilTokenizer"]})


def of_a_kernel(folder: Path) -> None:
    edit_json(folder / "config.json", attn_implementation="somebody/kernel")


@pytest.mark.parametrize("edit", [of_another_model, of_a_known_model, of_the_tokenizer, of_a_kernel])
@pytest.mark.parametrize("fresh", [True, False])
def test_code_of_a_checkpoint_never_runs(
    edit: Edit, fresh: bool, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(checkpoint)
    (checkpoint / "evil.py").write_text(CODE.format(marker=str(tmp_path / "RAN")))
    answers = io.StringIO("y\n" * 5)
    monkeypatch.setattr(sys, "stdin", answers)
    with pytest.raises(InputError, match="never executed"):
        Transformer(Pretrained(path=str(checkpoint)), fresh=fresh)
    assert answers.tell() == 0, "the user's own text was read"
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize("edit", [of_another_model, of_a_known_model])
def test_code_of_a_checkpoint_never_runs_at_the_other_doors(
    edit: Edit, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(checkpoint)
    (checkpoint / "evil.py").write_text(CODE.format(marker=str(tmp_path / "RAN")))
    answers = io.StringIO("y\n" * 5)
    monkeypatch.setattr(sys, "stdin", answers)
    with pytest.raises(InputError, match="never executed"):
        TokenClassifier.load(str(checkpoint))
    with pytest.raises(InputError, match="never executed"):
        Triplets(path=str(checkpoint)).shape(32)
    assert answers.tell() == 0
    assert not (tmp_path / "RAN").exists()


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_a_pickled_checkpoint_needs_the_setting(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    torch.save(weights, checkpoint / "pytorch_model.bin")
    with pytest.raises(InputError, match="no encoder at"):
        Transformer(Pretrained(path=str(checkpoint)), fresh=True)
    read = Transformer(Pretrained(path=str(checkpoint), allow_pickle=True), fresh=True)
    torch.testing.assert_close(
        read.model.embeddings.word_embeddings.weight, weights["embeddings.word_embeddings.weight"]
    )


def test_a_pickle_that_is_more_than_tensors_is_refused_unread(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Evil(tmp_path / "RAN")}, checkpoint / "pytorch_model.bin")
    with pytest.raises(InputError, match="no encoder at") as error:
        Transformer(Pretrained(path=str(checkpoint), allow_pickle=True), fresh=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "RAN").exists()


def without_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    remaining = {name: tensor for name, tensor in weights.items() if "layer.1" not in name}
    save_file(remaining, folder / "model.safetensors", metadata={"format": "pt"})


def half(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def with_a_huge_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes((1 << 62).to_bytes(8, "little") + file.read_bytes()[8:])


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def of_another_width(folder: Path) -> None:
    edit_json(folder / "config.json", intermediate_size=40)


def with_a_list_for_a_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def with_text_for_a_number(folder: Path) -> None:
    edit_json(folder / "config.json", hidden_size="wide")


def with_more_layers_than_a_float_holds(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=10**400)


def of_an_endless_shape(folder: Path) -> None:
    """A tensor without elements whose shape overflows what torch counts with."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [0, 1 << 63], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def with_a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3}')


@pytest.mark.parametrize(
    "edit",
    [
        without_a_layer,
        half,
        with_a_huge_header,
        empty,
        of_another_width,
        with_a_list_for_a_config,
        with_text_for_a_number,
        with_more_layers_than_a_float_holds,
        of_an_endless_shape,
        with_a_broken_tokenizer,
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(edit: Edit, checkpoint: Path) -> None:
    edit(checkpoint)
    with pytest.raises(InputError, match="no encoder at") as error:
        Transformer(Pretrained(path=str(checkpoint)), fresh=True)
    assert "\n" not in str(error.value)


def test_weights_of_an_endless_shape_are_refused(checkpoint: Path) -> None:
    of_an_endless_shape(checkpoint)
    with pytest.raises(InputError, match="no readable weights"):
        load_weights(checkpoint / "model.safetensors")


def test_missing_weights_are_named(checkpoint: Path) -> None:
    without_a_layer(checkpoint)
    with pytest.raises(InputError, match=r"no weights for .*layer\.1.* and \d+ more"):
        Transformer(Pretrained(path=str(checkpoint)), fresh=True)


def test_a_checkpoint_without_a_pooler_is_whole(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    remaining = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    assert len(remaining) < len(weights)
    save_file(remaining, checkpoint / "model.safetensors", metadata={"format": "pt"})
    Transformer(Pretrained(path=str(checkpoint)), fresh=True)


def test_a_checkpoint_of_a_ledger_is_never_asked_of_a_hub(checkpoint: Path) -> None:
    assert on_this_machine(str(checkpoint)) == str(checkpoint)
    assert on_this_machine("somebody/never-downloaded") is None
    assert on_this_machine("no hub id: ../../x") is None
