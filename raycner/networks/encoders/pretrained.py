"""Pretrained transformers of Hugging Face: each word is tokenised separately, and its first piece gives its state.

Shapes: B sentences, T words, L pieces, R rows of W pieces, H width. The rows are the sentences, unless one of them is
longer than the encoder's input: see `windows.py`.
"""

import copy
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from raycner.errors import InputError
from raycner.hashing import Plain, not_hashed, omit_default_from_hash
from raycner.networks.encoders import windows
from raycner.networks.encoders.adapters import AdapterConfig, add_adapters, is_adapter, merge_adapters
from raycner.networks.encoders.encoder import (
    ENCODERS,
    Encoder,
    EncoderConfig,
    Pieces,
    States,
    Tokens,
    Words,
    digest,
    pick,
)
from raycner.networks.encoders.token_classification import IDENTITY, Parts
from raycner.networks.hugging_face import HuggingFaceCheckpoint

DIMENSIONS = ("vocab_size", "hidden_size", "intermediate_size", "type_vocab_size")
"""Settings of config.json that give the sizes of a network."""
DETERMINING_SUFFIXES = {".safetensors", ".bin", ".json", ".txt", ".model"}
"""Suffixes of the files that determine a pretrained encoder: weights, shape, tokenizer."""
DROPOUTS = {
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),  # BERT
    *("dropout", "attention_dropout", "activation_dropout"),  # BART
}
"""The names of dropouts in the configurations of transformers."""

PROJECTION = "head"
"""What token classifiers call their layers between encoder and classifier."""
CHUNK = 1000
"""Sentences tokenised at a time where only their ids are wanted."""


@ENCODERS.register("pretrained")
class Pretrained(EncoderConfig):
    """Any transformer encoder of Hugging Face, by the Auto classes; of an encoder-decoder, its encoder."""

    path: str = not_hashed(default="bert-base-cased")
    """A folder, or a hub id (bert-base-cased is the encoder of the CFNER family)."""
    dropout: float = 0.0
    """For every dropout of the encoder. BERT publishes 0.1; the measured recipe uses 0."""
    output_dropout: float = omit_default_from_hash(0.0)
    """On the states that the head reads. Published: 0.1 (SpanKL)."""
    embeddings: Literal["touched", "full", "frozen"] = "touched"
    """The word-embedding rows that a step trains. touched: those of the pieces in its training sentences, which equals
    full exactly without weight decay (the others have no gradient) and is much cheaper; a table that scales its vectors
    is trained in full."""
    frozen: Literal["never", "after_first", "always"] = omit_default_from_hash("never")
    """The steps that leave the encoder as it is and train the head alone: none, all but the first, or all. Its states
    are then computed once per step. With `model.growth.freeze_old=true` the scores of old types change only where new
    types outscore them."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """auto: eager on a CPU, where the backward pass of the fused kernel is slow; sdpa on a GPU. flash_attention_2 skips
    the padding; it needs a GPU, bf16 and the package flash-attn."""
    max_length: int = 512
    """The most pieces that the encoder reads at once, or fewer where the checkpoint allows fewer. Longer sentences are
    read in overlapping windows of this length."""
    adapters: AdapterConfig = omit_default_from_hash(AdapterConfig())
    """Low-rank updates that are trained in place of the encoder. A step then stores them and the head, and reads the
    encoder from `path`; exports have them merged."""
    checkpointing: bool = not_hashed(default=False)
    """Keep only the states between layers for the backward pass, and compute each layer again there: about a third more
    time, and much less memory for many slots. The gradients are the same."""
    projection: bool = omit_default_from_hash(False)
    """Keep the layers that a token classifier has between its encoder and its last one (ModernBERT)."""
    allow_pickle: bool = not_hashed(default=False)
    """Also load pickled weights (pytorch_model.bin), as tensors alone. Without it, weights must be safetensors."""

    def __post_init__(self) -> None:
        if not (0 <= self.dropout < 1 and 0 <= self.output_dropout < 1) or self.max_length < 3:
            raise ValueError("dropout is from 0 up to, not including, 1, output_dropout too, and max_length at least 3")

    def build(self, memory: Plain = None, *, fresh: bool) -> "Transformer":  # noqa: ARG002
        return self.checkpoint().read(lambda: Transformer(self, fresh=fresh))

    def identity(self) -> str:
        return identity(self.path)

    def sizes(self) -> Mapping[str, int]:
        if self.keeps_base:  # then its weights are those of the checkpoint, whose sizes are checked as they are loaded
            return {}
        shape = self.checkpoint().config()
        values = {name: getattr(shape, name, None) for name in DIMENSIONS}
        return {name: value for name, value in values.items() if isinstance(value, int)}

    def has_classifier(self) -> bool:
        from transformers import AutoModel, AutoModelForTokenClassification

        shape = _with_plain_head(self.checkpoint().config())
        try:
            with torch.device("meta"):
                model = AutoModel.from_config(shape, trust_remote_code=False)
                encoder = model.get_encoder() if shape.is_encoder_decoder else model
                classifier = AutoModelForTokenClassification.from_config(shape, trust_remote_code=False)
        except ValueError:
            return False
        except Exception as error:  # not every architecture can be built without memory
            what = f"transformers does not tell without its weights whether {shape.model_type} has a token classifier"
            raise InputError(what, location="model.encoder.path", hint="export a step to see") from error
        return Parts.of(classifier, encoder) is not None

    def checkpoint(self) -> HuggingFaceCheckpoint:
        """The files at `path`."""
        return HuggingFaceCheckpoint(
            self.path,
            location="model.encoder.path",
            problem=f"no encoder at {self.path!r}",
            hint="name a folder with config.json, safetensors weights and tokenizer, or a hub id that can be reached",
            allow_pickle=self.allow_pickle,
        )

    @property
    def is_frozen(self) -> bool:
        return self.frozen != "never"

    @property
    def keeps_base(self) -> bool:
        return self.adapters.rank > 0

    @property
    def first(self) -> "Pretrained":
        return Pretrained(**{**vars(self), "frozen": "never"}) if self.frozen == "after_first" else self


def identity(path: str) -> str:
    """A digest of the files of a checkpoint, or its hub id."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path
    return digest(file for file in sorted(folder.iterdir()) if file.suffix in DETERMINING_SUFFIXES and file.is_file())


class Transformer(Encoder):
    """A pretrained transformer. Each word is tokenised separately, and the state of its first piece is its state."""

    mixed = True

    def __init__(self, config: Pretrained, *, fresh: bool) -> None:
        super().__init__()
        from transformers import AutoModel, AutoModelForTokenClassification

        attention = _attention(config.attention)
        checkpoint = config.checkpoint()
        shape = checkpoint.config()
        for name in DROPOUTS:
            if hasattr(shape, name):
                setattr(shape, name, config.dropout)
        kind = AutoModelForTokenClassification if config.projection else AutoModel
        if fresh or config.keeps_base:
            options = {"config": shape, "attn_implementation": attention, "dtype": torch.float32}
            model = checkpoint.model(kind, unused="decoder.", **options)
        else:
            model = checkpoint.network(kind, shape, attn_implementation=attention)
        self.projection: nn.Module = nn.Identity()
        if config.projection:
            self.projection, model = _projection(model, config.path), model.base_model
        self.tokenizer = checkpoint.tokenizer()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # unused, and DDP requires that every parameter is used
        self.shares_vectors = bool(shape.is_encoder_decoder)
        if self.shares_vectors:
            model = model.get_encoder()  # the decoder belongs to a head: heads/triplets.py
        if config.keeps_base:
            add_adapters(model, config.adapters, config.path)
            self.register_state_dict_post_hook(_leave_out_base)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_pre_hook(_use_own_base)  # type: ignore[no-untyped-call]
        if config.checkpointing:
            _checkpoint_layers(model, config.path)
        self.model = model
        self.width = int(shape.hidden_size)
        self.config = config
        _require_rows(self.tokenizer, model, config.path)
        _read_words_as_inside_a_text(self.tokenizer, config.path)
        self.max_length = min(config.max_length, _longest_input(self.tokenizer, config.path), _positions(model))
        self.pad = self.tokenizer.pad_token_id or 0
        template = self.tokenizer(["a"], is_split_into_words=True)["input_ids"]
        bare = self.tokenizer(["a"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
        at = next(i for i in range(len(template)) if template[i : i + len(bare)] == bare)
        self.prefix, self.suffix = template[:at], template[at + len(bare) :]
        if self.max_length <= len(template) - len(bare):
            what = f"{self.max_length} pieces leave no room for a word between the special ones of {config.path!r}"
            raise InputError(
                what, location="model.encoder.max_length", hint=f"set {len(template) - len(bare) + 1} or more"
            )
        self._pieces: dict[str, list[int]] = {}
        if config.embeddings == "frozen":
            model.get_input_embeddings().weight.requires_grad_(False)

    def tokenize(self, sentences: Sequence[Words]) -> list[Tokens]:
        unseen = list({word for words in sentences for word in words} - self._pieces.keys())
        if unseen:
            pieces = self.tokenizer([[w] for w in unseen], is_split_into_words=True, add_special_tokens=False)[
                "input_ids"
            ]
            unknown = [self.tokenizer.unk_token_id or 0]  # a word of odd spaces only has no piece, but needs a state
            self._pieces.update((word, own or unknown) for word, own in zip(unseen, pieces, strict=True))
        return [self._assemble(words) for words in sentences]

    def pieces(self, words: Words) -> Pieces:
        self.tokenize([words])
        own = [self._pieces[word] for word in words]
        unknown = {self.tokenizer.unk_token_id}
        return Pieces(
            counts=np.fromiter(map(len, own), np.int64, len(own)),
            known=np.fromiter((not unknown.issuperset(ids) for ids in own), np.bool_, len(own)),
            limit=self.max_length - len(self.prefix) - len(self.suffix),
        )

    def tokenizer_digest(self) -> str | None:
        return self._tokenizer_digest

    @cached_property
    def _tokenizer_digest(self) -> str | None:
        """None for a tokenizer in Python, which does not spell its rules out."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        libraries = version("tokenizers"), version("transformers")
        rules = (libraries, backend.to_str(), self.prefix, self.suffix, self.tokenizer.unk_token_id)
        return hashlib.sha256(repr(rules).encode()).hexdigest()

    def _assemble(self, words: Words) -> Tokens:
        pieces = [self._pieces[word] for word in words]
        starts = len(self.prefix) + np.cumsum([0, *map(len, pieces)], dtype=np.int64)[:-1]
        ids = [*self.prefix, *(piece for word in pieces for piece in word), *self.suffix]
        return Tokens(np.asarray(ids, dtype=np.int64), starts)

    def collate(self, sentences: Sequence[Tokens]) -> dict[str, Tensor]:
        starts = [torch.from_numpy(tokens.starts) for tokens in sentences]
        inputs = {"starts": pad_sequence(starts, batch_first=True, padding_value=-1)}
        rows = [tokens.ids for tokens in sentences]
        if max(map(len, rows)) > self.max_length:
            rows, inputs["places"] = windows.cut(rows, self.max_length, len(self.prefix), len(self.suffix))
        ids = [torch.from_numpy(row) for row in rows]
        lengths = torch.tensor([len(i) for i in ids])
        return inputs | {
            "ids": pad_sequence(ids, batch_first=True, padding_value=self.pad),
            "attend": torch.arange(int(lengths.max()))[None] < lengths[:, None],
        }

    def forward(self, inputs: Mapping[str, Tensor]) -> States:
        ids, attend, starts = inputs["ids"], inputs["attend"], inputs["starts"]
        if (places := inputs.get("places")) is None:
            slots, *layers = self._encode(ids, attend)
        else:
            slots, *layers = (windows.stitch(layer, places) for layer in windows.encode(self._encode, ids, attend))
            ids, attend = windows.stitch(ids, places), places >= 0
        if self.config.output_dropout:
            slots = F.dropout(slots, self.config.output_dropout, self.training)
        states = States(pick(slots, starts), slots, tuple(layers), starts, attend)
        if not self.shares_vectors:
            return states
        vectors = self.model.get_input_embeddings()(ids.gather(1, starts.clamp(min=0)))
        return states._replace(vectors=vectors * (starts >= 0)[..., None])

    def _encode(self, ids: Tensor, attend: Tensor) -> tuple[Tensor, ...]:
        """The states [R, W, H] of rows [R, W], and those after every layer."""
        output = self.model(ids, attention_mask=attend.long(), output_hidden_states=True)
        return self.projection(output.last_hidden_state), *output.hidden_states

    @torch.no_grad()
    def vectors(self, texts: Sequence[str]) -> Tensor:
        table, inner = self.model.get_input_embeddings(), slice(len(self.prefix), -len(self.suffix) or None)
        pieces = [torch.from_numpy(tokens.ids[inner]) for tokens in self.tokenize([text.split() for text in texts])]
        return torch.stack([table(ids.to(table.weight.device)).mean(0) for ids in pieces])

    def adapt(self, sentences: Iterable[Words], token_ids: NDArray[np.int64] | None = None) -> None:
        table = self.model.get_input_embeddings()
        is_trained = self.config.embeddings == "touched" and not self.config.keeps_base
        if not is_trained or getattr(table, "embed_scale", 1.0) != 1.0:
            return
        occurring = self._distinct_ids(sentences) if token_ids is None else set(token_ids.tolist())
        self.model.set_input_embeddings(TouchedEmbedding(table, sorted(occurring | {self.pad})))

    def _distinct_ids(self, sentences: Iterable[Words]) -> set[int]:
        distinct: set[int] = set()
        remaining = iter(sentences)
        while chunk := list(islice(remaining, CHUNK)):
            distinct.update(int(i) for tokens in self.tokenize(chunk) for i in tokens.ids)
        return distinct

    def base(self) -> Iterator[nn.Parameter]:
        if self.config.keeps_base:
            yield from (weight for name, weight in self.model.named_parameters() if not is_adapter(name))

    def merge(self) -> "Pretrained":
        if self.config.keeps_base:
            merge_adapters(self.model)
            self.config = Pretrained(**{**vars(self.config), "adapters": AdapterConfig()})
        return self.config

    def save_frame(self, folder: Path) -> None:
        self.model.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder, model_max_length=self.max_length)

    def classifier(self, labels: Sequence[str], weight: Tensor, bias: Tensor) -> Any:
        from transformers import AutoModelForTokenClassification

        shape = copy.deepcopy(self.model.config)
        shape.id2label = dict(enumerate(labels))
        shape.label2id = {label: row for row, label in shape.id2label.items()}
        try:
            shape = shape if self.config.projection else _with_plain_head(shape)
            model = AutoModelForTokenClassification.from_config(shape, dtype=torch.float32, trust_remote_code=False)
        except ValueError:  # an architecture without one
            return None
        parts = Parts.of(model, self.model)
        if parts is None or not parts.fill(self.model, weight, bias):
            return None
        if self.config.projection:
            _projection(model, self.config.path).load_state_dict(self.projection.state_dict())
        return model.eval()

    def finalize(self) -> None:
        table = self.model.get_input_embeddings()
        if isinstance(table, TouchedEmbedding):
            self.model.set_input_embeddings(table.whole())


def _leave_out_base(encoder: nn.Module, weights: dict[str, Tensor], prefix: str, _: Any) -> None:
    """Remove the weights that lie in the files of the encoder from its state, as long as it has adapters."""
    for name in _base(encoder, prefix):
        del weights[name]


def _use_own_base(encoder: nn.Module, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Complete a state without these weights by the encoder's own."""
    weights.update(_base(encoder, prefix))


def _base(encoder: nn.Module, prefix: str) -> dict[str, Tensor]:
    if not isinstance(encoder, Transformer) or not encoder.config.keeps_base:
        return {}
    tensors = encoder.model.state_dict()
    return {f"{prefix}model.{name}": tensor for name, tensor in tensors.items() if not is_adapter(name)}


def _checkpoint_layers(model: nn.Module, path: str) -> None:
    """Make each layer keep its input alone for the backward pass. Raises `InputError` for layers that cannot."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        what = f"the layers of {path!r} cannot be computed again for the backward pass"
        raise InputError(
            what, location="model.encoder.checkpointing", hint="set it to false, or raise optim.accumulate"
        )
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def _with_plain_head(shape: Any) -> Any:
    """A configuration whose token classifier has a head that can be the identity, where it has a head."""
    for name, value in IDENTITY.items():
        if isinstance(getattr(shape, name, None), str):
            setattr(shape, name, value)
    return shape


def _projection(classifier: Any, path: str) -> nn.Module:
    """The layers of a token classifier between its encoder and its last layer."""
    projection = getattr(classifier, PROJECTION, None)
    if not isinstance(projection, nn.Module):
        what = f"{type(classifier).__name__} of {path!r} has no layers before its classifier"
        raise InputError(what, location="model.encoder.projection", hint="leave projection out")
    return projection


def _attention(asked: str) -> str:
    """The implementation that transformers is asked for, which may fetch none from a hub: that would be code."""
    if asked == "auto":
        return "sdpa" if torch.cuda.is_available() else "eager"
    if asked == "flash_attention_2" and not (torch.cuda.is_available() and find_spec("flash_attn")):
        what = "flash_attention_2 needs a GPU and the package flash-attn"
        raise InputError(what, location="model.encoder.attention", hint="leave it at auto")
    return asked


def _require_rows(tokenizer: Any, model: Any, path: str) -> None:
    """Raise `InputError` for a tokenizer with more pieces than the word-embedding table has rows."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        return
    rows, largest = model.get_input_embeddings().weight.shape[0], max(tokenizer.get_vocab().values())
    if largest >= rows:
        what = f"the tokenizer of {path!r} has ids up to {largest}, the embedding table {rows} rows"
        hint = "name a checkpoint whose tokenizer belongs to its weights"
        raise InputError(what, location="model.encoder.path", hint=hint)


def _read_words_as_inside_a_text(tokenizer: Any, path: str) -> None:
    """Make a tokenizer that marks leading spaces read every word as it does after another one.

    Tokenizers of byte-level families do so by `add_prefix_space`, which some of their classes ignore: a space is then
    prepended. Raises `InputError` where that has no effect.
    """
    from tokenizers import normalizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or _reads_words_as_inside_a_text(tokenizer):
        return
    prepended = normalizers.Prepend(" ")
    backend.normalizer = normalizers.Sequence([backend.normalizer, prepended]) if backend.normalizer else prepended
    if not _reads_words_as_inside_a_text(tokenizer):
        what = f"the tokenizer of {path!r} reads a word by itself otherwise than inside a text"
        hint = "name a checkpoint whose tokenizer obeys add_prefix_space"
        raise InputError(what, location="model.encoder.path", hint=hint)


def _reads_words_as_inside_a_text(tokenizer: Any) -> bool:
    """Whether "b" has the pieces that it has in "a b"."""
    word = tokenizer(["b"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
    before, text = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "a b"))
    return bool(text[len(before) :] == word)


def _longest_input(tokenizer: Any, path: str) -> int:
    """The tokenizer's own limit, in pieces."""
    limit = int(tokenizer.model_max_length)
    if limit < 3:
        what = f"the tokenizer of {path!r} reads at most {limit} pieces"
        raise InputError(what, location="model.encoder.path", hint="set model_max_length in tokenizer_config.json")
    return limit


def _positions(model: nn.Module) -> int:
    """The pieces that have a position: in the families of RoBERTa, positions begin after that of padding."""
    declared = getattr(model.config, "max_position_embeddings", None) or -1
    limits = [declared] if declared > 0 else []  # -1: positions are relative
    for name, module in model.named_modules():
        if "position" in name and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    return min(limits, default=sys.maxsize)


class TouchedEmbedding(nn.Module):
    """A word-embedding table in which only the rows that occur are parameters; the others are in a buffer."""

    touched: Tensor
    table: Tensor
    local: Tensor

    def __init__(self, table: nn.Embedding, rows: Sequence[int]) -> None:
        super().__init__()
        touched = torch.tensor(rows, device=table.weight.device)
        self.register_buffer("touched", touched, persistent=False)
        self.register_buffer("table", table.weight.detach())
        local = torch.full((table.num_embeddings,), -1, device=touched.device)
        local[touched] = torch.arange(len(rows), device=touched.device)
        self.register_buffer("local", local, persistent=False)
        self.rows = nn.Parameter(self.table[touched].clone())
        self._padding = table.padding_idx
        self._local_padding = rows.index(table.padding_idx) if table.padding_idx in rows else None

    def forward(self, ids: Tensor) -> Tensor:
        local = self.local[ids]
        touched = F.embedding(local.clamp(min=0), self.rows, self._local_padding)
        if self.training:
            return touched  # training sentences and padding use no other rows
        return torch.where((local >= 0)[..., None], touched, F.embedding(ids, self.table))

    def whole(self) -> nn.Embedding:
        """The full table, with the trained rows in their places."""
        weight = self.table.index_copy(0, self.touched, self.rows.detach())
        return nn.Embedding(weight.size(0), weight.size(1), self._padding, _weight=weight, _freeze=False)
