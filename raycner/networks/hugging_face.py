"""Checkpoints of Hugging Face, read as data: their code is never run, and their weights are whole.

Weights are safetensors. Pickled ones are read only where the user allows it, and then as tensors alone.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from raycner.addresses import refuse_secret
from raycner.errors import InputError

T = TypeVar("T")
NOT_LEARNED = re.compile(r"(^|\.)(pooler|position_ids|token_type_ids)(\.|$)")
"""Names of weights that a checkpoint may lack: nothing that raycner trains depends on them."""
MOST_LAYERS = 1_000
"""Layers that a network may have: each is built before its weights are read."""
RUST_PANIC = "PanicException"
"""What tokenizers raises for files that it believes and cannot follow. It is no Exception, and no module has it."""
ATTENTION = ("attn_implementation", "_attn_implementation")
"""Settings of a checkpoint by which it may name an attention kernel; one with a slash is code from a hub."""


@dataclass(frozen=True)
class HuggingFaceCheckpoint:
    """A folder or hub id. Every method raises `InputError` for what needs its own code, is damaged, or is missing."""

    path: str
    location: str
    """Of errors: the setting or the command's argument that names the checkpoint."""
    problem: str
    """What an error says first, such as "no encoder at 'x'"."""
    hint: str
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        refuse_secret(self.path, self.location)

    @property
    def address(self) -> str:
        """The path as transformers takes it."""
        folder = Path(self.path).expanduser()
        return str(folder) if folder.is_dir() else self.path

    def settings(self) -> dict[str, Any]:
        """Its config.json."""
        from transformers import PretrainedConfig

        settings: dict[str, Any] = self.read(lambda: dict(PretrainedConfig.get_config_dict(self.address)[0]))
        self._refuse_code(settings)
        self._refuse_depth(settings)
        return settings

    def config(self) -> Any:
        """Its configuration, of a class that transformers has."""
        from transformers import AutoConfig

        self.settings()
        return self.read(lambda: AutoConfig.from_pretrained(self.address, trust_remote_code=False))

    def tokenizer(self) -> Any:
        """Its tokenizer for words, of a class that transformers has."""
        from transformers import AutoTokenizer
        from transformers.models.auto.tokenization_auto import get_tokenizer_config

        self._refuse_code(self.read(lambda: dict(get_tokenizer_config(self.address))))
        options = {"use_fast": True, "add_prefix_space": True}
        return self.read(lambda: AutoTokenizer.from_pretrained(self.address, trust_remote_code=False, **options))

    def token_classifier(self, *, hint: str) -> Any:
        """Its network as a token classifier, all of whose weights are used; `hint` is for one with others."""
        from transformers import AutoModelForTokenClassification

        return replace(self, hint=hint).model(AutoModelForTokenClassification, all_used=True, dtype=torch.float32)

    def model(self, auto_class: Any, *, unused: str = "", all_used: bool = False, **options: Any) -> Any:
        """Its network with all weights. Those may be missing whose names begin with `unused`.

        `all_used` also refuses weights that the network does not have, such as those of a CRF.
        """
        self.settings()
        model, loaded = self.read(
            lambda: auto_class.from_pretrained(
                self.address,
                trust_remote_code=False,
                use_safetensors=None if self.allow_pickle else True,
                weights_only=True,
                output_loading_info=True,
                **options,
            )
        )
        lacking = [
            name
            for name in sorted(map(str, loaded["missing_keys"]))
            if not NOT_LEARNED.search(name) and not (unused and name.startswith(unused))
        ]
        if lacking:
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            raise self._refusal(f"the checkpoint has no weights for {', '.join(lacking[:3])}{more}")
        further = [name for name in sorted(map(str, loaded["unexpected_keys"])) if not NOT_LEARNED.search(name)]
        if all_used and further:
            raise self._refusal(f"{type(model).__name__} does not use its weights {', '.join(further[:3])}")
        if loaded.get("mismatched_keys"):
            raise self._refusal("weights have other shapes than config.json says")
        return model

    def network(self, auto_class: Any, config: Any, **options: Any) -> Any:
        """A network of this configuration, whose weights are yet to be loaded."""
        return self.read(lambda: auto_class.from_config(config, trust_remote_code=False, **options))

    def read(self, read: Callable[[], T]) -> T:
        """What `read` returns. Damaged files make the libraries raise exceptions of any kind."""
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            return read()
        except InputError:
            raise
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != RUST_PANIC:
                raise
            reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
            raise self._refusal(reason) from error

    def _refuse_code(self, settings: Mapping[str, Any]) -> None:
        if settings.get("auto_map"):
            named = ", ".join(sorted(map(str, settings["auto_map"])))
            raise self._refusal(f"it needs code of its own (auto_map: {named}), which is never executed")
        if any("/" in str(settings.get(name, "")) for name in ATTENTION):
            raise self._refusal("it names an attention kernel of a hub, which is code, and is never executed")

    def _refuse_depth(self, settings: Mapping[str, Any]) -> None:
        for name, number in settings.items():
            if "layers" in name and isinstance(number, int) and number > MOST_LAYERS:
                raise self._refusal(f"{name} in config.json is above {MOST_LAYERS:,}: no network has so many")

    def _refusal(self, reason: str) -> InputError:
        return InputError(f"{self.problem} ({reason})", location=self.location, hint=self.hint)


def on_this_machine(path: str) -> str | None:
    """Where a checkpoint that a ledger names lies: at the path itself, or in this machine's copy of a hub id.

    Nothing is downloaded. None where neither exists.
    """
    from huggingface_hub import try_to_load_from_cache

    if Path(path).expanduser().exists():
        return path
    try:
        file = try_to_load_from_cache(path, "config.json")
    except ValueError:  # no hub id
        return None
    return str(Path(file).parent) if isinstance(file, str) else None
