"""Adapters: low-rank updates of the matrices of a frozen encoder (LoRA), by the library peft.

    W' = W + alpha / rank * B A        A [rank, in], B [out, rank]; B is zero at first, so the encoder is unchanged

Source: LoRA (ICLR 2022).
"""

from dataclasses import dataclass

from torch import nn

from raycner.errors import InputError

SETTING = "model.encoder.adapters"
MARK = "lora_"
"""In the names of the weights of adapters, and of no others."""


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Low-rank updates of the encoder's matrices. With a rank, the encoder's own weights are never trained."""

    rank: int = 0
    """Of each update; 0: no adapters, and the encoder itself is trained."""
    alpha: float = 16.0
    """Updates are scaled by alpha / rank."""
    dropout: float = 0.0
    """On the input of each update."""
    targets: tuple[str, ...] = ()
    """The layers with an update, by the last parts of their names: query, value. Empty: every linear layer."""

    def __post_init__(self) -> None:
        if self.rank < 0 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ValueError("rank is not negative, alpha above 0, and dropout from 0 up to, not including, 1")


def add_adapters(model: nn.Module, config: AdapterConfig, path: str) -> None:
    """Freeze a model and give its layers adapters. Raises `InputError` without peft, and for targets it lacks."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError("peft is not installed", location=SETTING, hint="pip install 'raycner[adapters]'") from None
    model.requires_grad_(False)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for target in config.targets:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            parts = sorted({name.rpartition(".")[2] for name in linear})
            what = f"{path!r} has no linear layer called {target!r}"
            raise InputError(what, location=f"{SETTING}.targets", hint=f"it has {', '.join(parts)}")
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets) or linear,
    )
    inject_adapter_in_model(settings, model)


def merge_adapters(model: nn.Module) -> None:
    """Add the updates to the weights, and remove the adapters."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer.get_base_layer())
    del model.peft_config


def is_adapter(name: str) -> bool:
    """Whether a weight of a model with adapters belongs to an adapter, and not to the frozen model."""
    return MARK in name
