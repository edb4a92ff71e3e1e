"""Network: an encoder and a head, from words to entities, over one inventory of types."""

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raycner.data.entities import Sentence, TypeInventory
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.networks.batch import Batch, RememberedStates, WordStates
from raycner.networks.class_statistics import ClassStatistics
from raycner.networks.encoders import ENCODERS, EncoderConfig, States, Tokens
from raycner.networks.encoders.encoder import Words
from raycner.networks.heads import HEADS
from raycner.networks.heads.head import GrowthConfig, Head, HeadConfig, Prediction


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """An encoder, a head, and how the head grows."""

    encoder: EncoderConfig = field(default_factory=ENCODERS["pretrained"])
    head: HeadConfig = field(default_factory=HEADS["linear"])
    growth: GrowthConfig = GrowthConfig()

    def __post_init__(self) -> None:
        module, init = self.head.module, self.growth.init
        if init in module.refused_inits and self.growth.imprint == "none":
            raise ValueError(f"growth.init={init} {module.refused_inits[init]}")
        if self.growth.imprint != "none" and not module.can_imprint:
            raise ValueError(f"head {self.head.name!r} has no rows to imprint: set growth.imprint=none")
        if self.growth.align and not module.can_imprint:
            raise ValueError(f"head {self.head.name!r} has no rows to align: set growth.align=false")
        if self.head.has_spare_rows and (init == "reset" or self.growth.imprint != "none"):
            raise ValueError("growth.init=reset and growth.imprint replace the rows that head.preallocate has trained")

    def require_sizes(self, weights: Mapping[str, Tensor], location: str) -> None:
        """Raise `InputError` where the settings ask for a network that is much larger than these weights."""
        most = max([10_000, *(length for tensor in weights.values() for length in tensor.shape)])
        sizes = {**self.encoder.sizes(), **{key: size for key, size in vars(self.head).items() if type(size) is int}}
        for name, size in sizes.items():
            if size > most:
                hint = "the weights and the description of the network do not belong together: make them again"
                raise InputError(f"{name}={size} is not the size of its weights", location=location, hint=hint)

    def identity(self) -> str:
        """A digest of the pretrained weights of encoder and head."""
        return self.encoder.identity() + self.head.identity()


class Network(nn.Module):
    """Words to entities: `forward` for training, `predict` for evaluation. A new network's head has no types."""

    def __init__(self, config: ModelConfig, memory: Plain = None, *, fresh: bool = True) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build(memory, fresh=fresh)
        self.head: Head[Any] = config.head.build(self.encoder.width)
        self.head.grow(TypeInventory(), GrowthConfig())  # the columns of no type: O, in most tag heads
        self.bf16 = False
        self.statistics = ClassStatistics()

    @classmethod
    def restore(
        cls,
        config: ModelConfig,
        inventory: TypeInventory,
        memory: Plain,
        weights: Mapping[str, Tensor],
        location: str = "",
    ) -> "Network":
        """The network of a checkpoint, which lies at `location`. Raises `InputError` for weights of another network."""
        config.require_sizes(weights, location)
        network = cls(config, memory, fresh=False)
        network.head.load_shape(inventory)
        network.statistics, own = ClassStatistics.split(weights)
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            flaw = " ".join(str(error).splitlines()[1:2]).strip() or str(error)
            hint = "the weights and the description of the network do not belong together: make them again"
            raise InputError(f"not the weights of this network ({flaw[:200]})", location=location, hint=hint) from None
        return network

    def copy(self) -> "Network":
        """A network for the next step. Weights that no step trains are shared with it."""
        return copy.deepcopy(self, {id(weight): weight for weight in self.encoder.base()})

    def merged(self) -> "Network":
        """The network with all weights in its state, as exports need it: adapters are merged into the encoder."""
        if not self.config.encoder.keeps_base:
            return self
        network = copy.deepcopy(self)
        network.config = replace(self.config, encoder=network.encoder.merge())
        return network

    @property
    def inventory(self) -> TypeInventory:
        return self.head.inventory

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def states(self, batch: Batch) -> States:
        """The encoder's states, in the precision of the weights even if the encoder computes in bf16.

        Those of the columns `WordStates` and `RememberedStates`, where the batch has them.
        """
        if WordStates in batch.columns:
            return States.of_words(batch.column(WordStates).words)
        mixed = self.bf16 and self.encoder.mixed
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            states: States = self.encoder(batch.inputs)
        if mixed:
            states = states._replace(words=states.words.float(), slots=states.slots.float())
        if RememberedStates not in batch.columns:
            return states
        remembered = batch.column(RememberedStates)
        return States.of_words(torch.where(remembered.where, remembered.words.to(states.words), states.words))

    def forward(self, batch: Batch) -> Any:
        return self.head(self.states(batch), batch)

    def predict(
        self, batch: Batch, *, new_type_bias: float = 0.0, thresholds: Mapping[str, float] | None = None
    ) -> list[Prediction]:
        """One prediction per sentence.

        The logits of the newest types are lowered by `new_type_bias`. `thresholds` are the least confidences of
        entities, by type; None reads by the head's own.
        """
        return self.read_out(self.states(batch), batch, new_type_bias=new_type_bias, thresholds=thresholds)

    def read_out(
        self,
        states: States,
        batch: Batch,
        *,
        new_type_bias: float = 0.0,
        thresholds: Mapping[str, float] | None = None,
    ) -> list[Prediction]:
        """`predict` from states. Raises `TypeError` for a bias if the head does not support calibration."""
        if new_type_bias and not self.head.supports_calibration:
            raise TypeError(f"{type(self.head).__name__} has no bias to lower by {new_type_bias}")
        if thresholds is None:
            return self.head.predict(states, batch, new_type_bias=new_type_bias)
        lowest = min(thresholds.values(), default=1.0)
        candidates = self.head.candidates(states, batch, lowest, new_type_bias=new_type_bias)
        return [self.head.select(of_sentence, thresholds) for of_sentence in candidates]

    def read_out_each(
        self, states: States, batch: Batch, biases: Sequence[float], thresholds: Mapping[str, float] | None = None
    ) -> list[list[Prediction]]:
        """`read_out` under each of several new-type biases, for the cost of one where the head can."""
        if thresholds is None and self.head.supports_calibration:
            return self.head.predict_each(states, batch, biases)
        return [self.read_out(states, batch, new_type_bias=bias, thresholds=thresholds) for bias in biases]

    def tokenize(self, sentences: Sequence[Words]) -> list[Tokens]:
        return self.encoder.tokenize(sentences)

    def collate(self, sentences: Sequence[Sentence], tokens: Sequence[Tokens], positions: Sequence[int]) -> Batch:
        """One batch of tokenised sentences; `positions` are their indices in the split."""
        inputs = self.encoder.collate(tokens)
        mask = inputs["starts"] >= 0
        targets = self.head.mask_targets(self.head.targets(sentences), mask)
        unknown = self.head.unknown_tags(sentences) if any(sentence.open for sentence in sentences) else None
        return Batch(torch.as_tensor(positions), inputs, mask, targets, unknown=unknown)

    def start_step(
        self, inventory: TypeInventory, sentences: Iterable[Words], token_ids: NDArray[np.int64] | None = None
    ) -> None:
        """Grow the head by a step's new types, and adapt the encoder to its training sentences."""
        self.head.grow(inventory, self.config.growth)
        if self.config.growth.init == "normal":
            self.head.init_from_type_names(self.encoder)
        self.encoder.adapt(sentences, token_ids)
        self.to(self.device)

    def finalize(self) -> None:
        """End a step: `state_dict` then has the same form, whatever the step froze or left out."""
        self.encoder.finalize()
        self.head.finalize()

    def forward_eval(self, batch: Batch) -> Any:
        """`forward` in eval mode and without gradient."""
        with self.eval_mode():
            return self(batch)

    @contextlib.contextmanager
    def eval_mode(self) -> Iterator[None]:
        """A context in eval mode and without gradient; the previous mode is restored at its end."""
        mode = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(mode)
