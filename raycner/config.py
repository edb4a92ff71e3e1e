"""The typed configuration of a run, and how config files and dotted overrides become it.

They are merged from left to right, and later ones win: `jobs/demo.yaml clusters/laptop/compute.yaml seed=3`.
YAML holds only what differs from the defaults of the dataclasses.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from raycner.addresses import refuse_texts
from raycner.callbacks.trackers import TRACKERS
from raycner.data.layouts.layout import Layout, layout_over
from raycner.data.scenarios.scenario import ScenarioConfig, recorded
from raycner.errors import InputError
from raycner.hashing import Plain, not_hashed, omit_default_from_hash, plain
from raycner.methods.finetuning import Finetuning
from raycner.methods.method import Method
from raycner.networks.heads.head import HeadConfig
from raycner.networks.network import ModelConfig
from raycner.plugins import load_plugins
from raycner.renames import RENAMED
from raycner.settings import build, flat, merge, nested, parse, renamed
from raycner.yaml_text import load_file

log = logging.getLogger(__name__)
MAY_DIFFER = ("method.", "optim.", "model.growth.")
"""Settings that may differ from step to step."""


@dataclass(frozen=True, kw_only=True)
class FirstStepConfig:
    """Optimisation of the first step; what is not set is as in the later steps."""

    epochs: int | None = None
    lr: float | None = None
    head_lr: float | None = None
    schedule: Literal["linear", "cosine", "milestones", "constant"] | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs {self.epochs}: at least 1")
        if min(self.lr or 0, self.head_lr or 0) < 0:
            raise ValueError("lr and head_lr are not negative")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How a step is optimised. The defaults are the clean recipe that measured best with a 6-layer encoder.

    `epochs` and `batch_size` are by default chosen for the number of sentences of each step, so that a step of a few
    hundred sentences makes as many updates as it needs: see `for_sentences`.
    """

    epochs: int = 0
    """0: as many as `updates` takes, from 3 to 30. Published: 10 or 20 (CFNER family)."""
    updates: int = 500
    """The least number of updates of a step, where `epochs` or `batch_size` is 0: first the batches become smaller,
    then the epochs more."""
    first: FirstStepConfig = FirstStepConfig()
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 2e-4
    """Of the encoder, at batches of 32. Batches that `batch_size: 0` makes smaller lower it (and `head_lr`) by the
    square root of their share of 32."""
    head_lr: float = 1e-3
    momentum: float = 0.9
    """Of sgd."""
    weight_decay: float = 0.0
    """Published: 5e-4 with sgd, 0.01 with adamw."""
    decay: Literal["all", "weights"] = omit_default_from_hash("all")
    """What weight_decay acts on. all: every parameter. weights: neither biases nor the weights of normalisation layers
    (published: SpanKL). The biases of a head are a column of its rows, and decay with them."""
    schedule: Literal["linear", "cosine", "milestones", "constant"] = "linear"
    warmup: float = 0.1
    """The share of the step's updates over which the rate rises from 0; linear and cosine only."""
    milestones: tuple[int, ...] = (5,)
    """Epochs after which the rate is multiplied by `gamma`; milestones only."""
    gamma: float = 0.2
    clip: float = 1.0
    """The largest gradient norm; 0 does not clip."""
    batch_size: int = 0
    """Sentences per update, over all workers together; 0: 32, or fewer, down to 8, in a step that would otherwise make
    fewer than `updates`."""
    batch_tokens: int = 2048
    """At most this many slots (pieces or words, padding included) per update."""
    accumulate: int = not_hashed(default=1)
    """Parts in which each update is computed, one after another: its activations then take the memory of one part. The
    update is the same up to rounding, so steps are not renamed."""
    order: Literal["pools", "shuffle", "corpus"] = omit_default_from_hash("pools")
    """pools: shuffled, then sorted by length in pools of 50 batches, so that little is padding; a small step is one
    pool, in which sentences of like length meet again and again. shuffle: at random, as SpanKL's code. corpus: the
    order of the corpus in every epoch, as CFNER's code."""
    select: Literal["new", "seen", "last"] = "seen"
    """The dev F1 that selects the epoch: new, of the step's own types (published practice, blind to forgetting);
    seen, of all types so far; last: no score, the last epoch is kept. Of epochs with equal scores the latest counts.
    Where dev has no entity of the new types, the last epoch is kept."""
    select_by: Literal["micro", "macro"] = omit_default_from_hash("micro")
    """Which F1 over these types: micro, or the mean over those that occur in dev or in the predictions (published:
    SpanKL)."""
    patience: int = omit_default_from_hash(default=0)
    """End the step when that score has not risen for so many epochs; 0 never does. Published: 30 (progressive)."""
    calibration: Literal["none", "carried"] = "none"
    """carried: the teacher's new-type logits are lowered by the bias that was chosen on dev when its step ended (linear
    head). A step's own weights never change by it. For predictions alone, see `eval.calibration`."""
    fusion: float = omit_default_from_hash(0.0)
    """The share of the weights of the step before in those with which a step ends; 0 mixes nothing in. New rows are the
    step's own."""
    fusion_share: float = omit_default_from_hash(1.0)
    """The share of each tensor that fusion mixes: the weights that matter most to the predictions of the step before,
    by their Fisher information on the step's sentences; 1 mixes all, and computes none."""
    feature_replay: float | Literal["dev"] = omit_default_from_hash(0.0)
    """The weight of features that are drawn for the tags of earlier steps, from which the rows of all tags learn when
    a step ends (linear head); 0 draws none. dev: each step tries 0.5, 1, 2, 0.2 and none, and keeps the rows with the
    best mean of micro- and macro-F1 on dev; where dev has no entity of an old type, 0.5. Of the words of each tag, mean
    and variance are stored, and no text."""
    feature_replay_words: float = omit_default_from_hash(0.0)
    """So many words of a tag in the step's sentences, by the network of the step before, halve that weight for it:
    types that the sentences hold are left to the method. 0: all tags have the same weight."""
    ema: float = omit_default_from_hash(0.0)
    """The decay of a moving average of the weights, as 0.99: dev scores it, and the step ends with it, while updates
    continue from the weights themselves; 0 averages nothing. It rises to this value from 0.1 (0.9 after 81 updates)."""
    precision: Literal["auto", "fp32", "bf16", "fp64"] = "auto"
    """auto: bf16 arithmetic in the encoder where the device does it well (GPU, CPU with AMX), else fp32."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.updates, self.batch_size) < 0:
            raise ValueError("epochs, updates and batch_size are not negative")
        if self.batch_tokens < 1:
            raise ValueError("batch_tokens is at least 1")
        if self.accumulate < 1:
            raise ValueError(f"accumulate {self.accumulate}: at least 1")
        if self.lr < 0 or self.head_lr < 0 or self.clip < 0 or self.weight_decay < 0:
            raise ValueError("lr, head_lr, clip and weight_decay are not negative")
        if not 0 < self.fusion_share <= 1:
            raise ValueError(f"fusion_share {self.fusion_share}: a share above 0, up to 1")
        if min(0.0 if self.feature_replay == "dev" else self.feature_replay, self.feature_replay_words) < 0:
            raise ValueError("feature_replay and feature_replay_words are not negative")
        if not 0 <= self.fusion < 1:
            raise ValueError(f"fusion {self.fusion}: a share from 0 up to, not including, 1")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema {self.ema}: a decay from 0 up to, not including, 1")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup {self.warmup}: a share from 0 up to, not including, 1")
        if self.patience < 0 or (self.patience and self.select == "last"):
            raise ValueError("patience is not negative, and waits for a score: select new or seen with it")

    def for_step(self, index: int) -> "OptimConfig":
        """The values of step `index`, from 0: `first` applies to step 0 only.

        Step 0 replays no feature; it stores the numbers of its tags, the same whatever weight they have later.
        """
        later = replace(self, first=FirstStepConfig())
        if index:
            return later if self.feature_replay else replace(later, feature_replay_words=0.0)
        own = {name: value for name, value in vars(self.first).items() if value is not None}
        return replace(later, feature_replay=float(self.feature_replay != 0), feature_replay_words=0.0, **own)

    def for_sentences(self, sentences: int) -> "OptimConfig":
        """The values of a step of N sentences, with nothing left open: `updates` is 0, for it is spent.

            batch size  b = N * epochs / updates, within 8 ... 32
            epochs      e = updates * b / N, rounded up, within 3 ... 30
            rates       lr * sqrt(b / 32), head_lr * sqrt(b / 32)

        What is set is kept; with a batch size that is set, so are the rates.
        """
        size, epochs = self.batch_size, self.epochs
        if not size:
            size = _within(BATCH_SIZES, sentences * (epochs or EPOCHS[0]) // max(self.updates, 1))
        if not epochs:
            epochs = _within(EPOCHS, math.ceil(self.updates * size / max(sentences, 1)))
        scale = 1.0 if self.batch_size else math.sqrt(size / BATCH_SIZES[1])
        return replace(
            self,
            epochs=epochs,
            batch_size=size,
            updates=0,
            lr=scale * self.lr,
            head_lr=scale * self.head_lr,
        )


BATCH_SIZES = (8, 32)
"""Sentences of the smallest and the largest batch that `optim.batch_size: 0` chooses."""
EPOCHS = (3, 30)
"""The fewest and the most epochs that `optim.epochs: 0` chooses."""


def _within(limits: tuple[int, int], number: int) -> int:
    """The number, or the limit that it exceeds."""
    return min(max(number, limits[0]), limits[1])


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """How a trained step is scored. Nothing here changes a weight, so nothing here is in the fingerprint of a step."""

    calibration: Literal["none", "read_out", "prior"] = "none"
    """read_out: also score with the newest types' logits lowered by a bias that is chosen on dev (tag heads). prior: by
    one that follows from how much of dev the network takes for them, without its labels."""
    counting: Literal["strict", "conlleval"] = "strict"
    """conlleval: also count test as the conlleval script of 2004 counts BIOES tags, neighbours of one type as one
    entity: the count in which the progressive taggers were published. The tags are those that a head of scheme BIOES
    predicts, well-formed or not; the entities of other heads are written in BIOES."""
    decoding: str | None = None
    """Decode otherwise than `model.head.decoding`, in the evaluation only: argmax, strict or constrained (tag heads),
    flat or nested (spans)."""
    threshold: float | Literal["prior", "dev", "dev_per_type"] | None = None
    """The least confidence of an entity, in the evaluation only: a number; prior, the number of the head for a dev that
    is too small to choose by; dev, the one of highest F1 on the step's dev; dev_per_type, one for each type. By default
    `model.head.threshold` (spans), or none."""
    test: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Extra test sets by name, as settings over those of the scenario's corpus: `eval.test.news.path=news/test.conll`,
    or `eval.test.news={name: jsonl, path: news/test.jsonl}`. All sentences of a test set are scored."""

    def __post_init__(self) -> None:
        if not isinstance(self.threshold, str | None) and not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold {self.threshold}: a probability above 0 and below 1, or prior, dev, dev_per_type"
            )
        if self.threshold is not None and self.counting == "conlleval":
            raise ValueError("conlleval counts tags, and a threshold leaves out entities: set one of the two")

    @property
    def chooses_thresholds(self) -> bool:
        """Whether thresholds are chosen on dev."""
        return self.threshold in ("dev", "dev_per_type")

    def head(self, trained: HeadConfig) -> HeadConfig:
        """The head that an evaluation reads. Raises `InputError` for a setting that the head does not have."""
        changed = self.overrides(trained)
        for key in changed:
            if not hasattr(trained, key):
                line = f"head {trained.name!r} has no {key}"
                raise InputError(line, location=f"eval.{key}", hint="leave it out, or choose another head")
        return build(type(trained), changed, "eval", trained)

    def overrides(self, trained: HeadConfig) -> dict[str, Plain]:
        """The settings of the head that this evaluation changes."""
        return {} if self.decoding in (None, getattr(trained, "decoding", None)) else {"decoding": self.decoding}


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Where a run computes. Nothing here determines what is learned, so nothing here is in a fingerprint."""

    workers: int = 0
    """Ray Train workers; 0 trains in this process, without Ray."""
    min_workers: int = 0
    """An elastic worker group starts with so few workers, and grows up to `workers` as nodes join; 0: a fixed size.
    Batches are global, so the objective stays the same; each change restarts the epoch."""
    gpus_per_worker: float = 0.0
    cpus_per_worker: int = 1
    max_failures: int = 3
    """How often a worker group restarts after one of its workers failed."""
    max_concurrent_trials: int = 0
    """The most trials of a search that run at once. 0: with `workers: 0` and without RAY_ADDRESS one at a time, in this
    process without Ray; otherwise as many as the machine or cluster can hold. On a cluster that scales up, nodes start
    for so many."""
    checkpoint_epochs: int = 1
    """Keep a state to resume from inside a step after every so many epochs; 0 keeps none. It is written while training
    continues."""
    checkpoint_seconds: float = 0.0
    """But at most one such state in so many seconds of training."""
    sharding: Literal["none", "optimizer"] = "none"
    """How several workers of a run hold the state of its optimiser. none: each holds all of it. optimizer: each holds
    its share (ZeRO, stage 1), for encoders of a billion parameters and more. The updates are the same."""
    compile: bool = False
    """Compile the encoder by torch.compile before each step. It takes up to a minute, and pays in long steps on a
    GPU."""
    tracker: str = "none"
    """The experiment tracker that receives losses and scores of each epoch and each step, and the scores of each trial
    of a search: none, jsonl, mlflow, tensorboard, wandb, or one of a plugin."""
    tracker_path: str = "tracking"
    """The folder the tracker writes to, on the machine that drives the run; or the URI of an MLflow server."""

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not isinstance(value, str) and value < 0:
                raise ValueError(f"{key} {value}: not negative")
        if self.cpus_per_worker < 1:
            raise ValueError("cpus_per_worker is at least 1")
        if self.min_workers > self.workers:
            raise ValueError(f"min_workers {self.min_workers}: more than workers {self.workers}")
        if self.workers > 1 and 0 < self.gpus_per_worker < 1:
            raise ValueError("several workers of one group cannot share a GPU: set gpus_per_worker to 1 or 0")
        TRACKERS.find(self.tracker, "compute.tracker")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The complete configuration of a run."""

    scenario: ScenarioConfig = field(default_factory=ScenarioConfig)
    """What is learned, in which order."""
    model: ModelConfig = ModelConfig()
    """Encoder, head, growth."""
    method: Method[Any] = field(default_factory=Finetuning)
    """How forgetting is prevented."""
    optim: OptimConfig = OptimConfig()
    eval: EvalConfig = not_hashed(default=EvalConfig())
    """How the trained steps are scored."""
    compute: ComputeConfig = not_hashed(default=ComputeConfig())
    store: str = not_hashed(default="store")
    """Where corpora, steps and ledgers are stored: a folder or any URI."""
    seed: int = 0
    at: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of single steps, by their number from 1, merged over the rest: `at.3.method.weight=0.5`. Only method,
    optim and model.growth may differ from step to step."""
    plugins: tuple[str, ...] = not_hashed(default=())
    """Modules, or files that end in .py, to import first: they may register methods, heads, encoders, layouts and
    protocols. Every node must have them."""

    def __post_init__(self) -> None:
        for number in self.at:
            if not number.isdigit() or number == "0":
                raise InputError(
                    f"{number!r} is no step", location="at", hint="number the steps from 1: at.2.method.weight=1"
                )
            if self.for_step(int(number) - 1).method.needs_prototypes and not self.method.needs_prototypes:
                what = "its method reads prototypes, which the steps before do not store"
                raise InputError(what, location=f"at.{number}.method", hint="set the method for all steps")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed {self.seed}: not negative, and below 2**63")
        module = self.model.head.module
        if not issubclass(module, self.method.heads):
            wanted = " or ".join(kind.__name__ for kind in self.method.heads)
            line = f"method {self.method.name!r} trains {wanted}, not head {self.model.head.name!r}"
            raise InputError(line, location="method.name", hint="choose another method or model.head.name")
        if module.is_solved:
            self._require_labels_and_fixed_states()
        if self.method.needs_trained_encoder and self.model.encoder.is_frozen:
            what = f"method {self.method.label!r} moves the states of an encoder, and a frozen one keeps them"
            raise InputError(what, location="method.name", hint="set model.encoder.frozen=never, or choose another")
        memory = self.scenario.memory
        if self.method.needs_kept_logits and not (memory.size and memory.keep == "logits"):
            what = f"method {self.method.label!r} reads the logits of a memory"
            raise InputError(what, location="scenario.memory", hint="set scenario.memory={size: 20, keep: logits}")
        if memory.size and memory.keep == "states":
            self._require_states_of_words_that_stay()
        if self.optim.calibration == "carried" and not module.can_bake_in:
            raise _no_bias("optim.calibration", "carried", self.model.head.name)
        if self.eval.calibration != "none" and not module.supports_calibration:
            raise _no_bias("eval.calibration", self.eval.calibration, self.model.head.name)
        if self.optim.feature_replay:
            self._require_rows_to_align()
        if self.model.head.has_spare_rows:
            self._require_own_loss()
        self.eval.head(self.model.head)
        if self.eval.chooses_thresholds and (self.optim.calibration, self.eval.calibration) != ("none", "none"):
            what = f"eval.threshold={self.eval.threshold} is chosen for a read-out without calibration"
            raise InputError(what, location="eval.threshold", hint="set calibration=none, or a number")
        self.test_layouts()
        if self.scenario.corpus.allows_overlap and not module.allows_overlap:
            line = f"head {self.model.head.name!r} predicts one tag per word, so its entities cannot overlap"
            raise InputError(
                line, location="scenario.corpus.nested", hint="set model.head={name: spans, decoding: nested}"
            )
        if self.compute.workers > 1 or self.optim.accumulate > 1:
            self._require_words_apart()

    def _require_words_apart(self) -> None:
        """Raise `InputError` for what depends on a whole batch, where it is computed in parts."""
        whole = "set compute.workers=1 and optim.accumulate=1"
        setting = self.model.head.batch_dependent
        if setting:
            value = getattr(self.model.head, setting)
            line = f"{setting}={value} makes a word's logits depend on its whole batch, which one worker must see"
            raise InputError(line, location=f"model.head.{setting}", hint=f"{whole}, or another {setting}")
        if self.method.batch_dependent:
            line = f"method {self.method.label!r} compares the words of a whole batch, which one worker must see"
            raise InputError(line, location="method.name", hint=f"{whole}, or choose another method")

    def _require_labels_and_fixed_states(self) -> None:
        """Raise `InputError` for what a head that is solved in closed form cannot be learned with."""
        head = self.model.head.name
        if not self.method.trains(self.model.head.module):
            line = f"head {head!r} is solved from labels, and method {self.method.name!r} also learns by gradients"
            raise InputError(line, location="method.name", hint="choose self_training or finetuning")
        if not self.model.encoder.first.is_frozen:
            line = f"head {head!r} is solved from the states of all steps, which must not change"
            raise InputError(line, location="model.encoder", hint="set model.encoder.frozen=always")
        if self.model.growth.freeze_old:
            line = f"head {head!r} is solved as a whole, old rows included"
            raise InputError(line, location="model.growth.freeze_old", hint="leave it out")
        if self.optim.ema:
            line = f"head {head!r} is solved in one pass, without updates that could be averaged"
            raise InputError(line, location="optim.ema", hint="leave it out")

    def _require_states_of_words_that_stay(self) -> None:
        """Raise `InputError` for what cannot learn from states that were computed in an earlier step."""
        key = "scenario.memory.keep"
        if not self.model.encoder.is_frozen:
            what = "states stand for words only as long as no step changes the encoder"
            raise InputError(what, location=key, hint="set model.encoder.frozen=after_first, or keep labels")
        if self.model.head.module.reads_slots:
            what = f"head {self.model.head.name!r} reads more of a sentence than the states of its words"
            raise InputError(what, location=key, hint="set model.head.name=linear, or keep labels")
        if self.method.reads_layers:
            what = f"method {self.method.label!r} reads more of the encoder than its last states"
            raise InputError(what, location=key, hint="choose another method, or keep labels")

    def _require_own_loss(self) -> None:
        """Raise `InputError` for what rows of types to come cannot be trained with."""
        key = "model.head.preallocate"
        if not self.method.learns_labels_alone:
            what = f"rows of types to come learn by the head's own loss, and method {self.method.name!r} has others"
            raise InputError(what, location=key, hint="choose finetuning or self_training, or leave it out")
        if self.optim.fusion:
            what = "optim.fusion mixes rows by their place, and types that take over rows move the others"
            raise InputError(what, location=key, hint="set optim.fusion=0, or leave it out")

    def _require_rows_to_align(self) -> None:
        """Raise `InputError` for what features of old tags cannot be replayed with."""
        key = "optim.feature_replay"
        if not self.model.head.module.replays_features:
            what = f"head {self.model.head.name!r} has no rows that features could be drawn for"
            raise InputError(what, location=key, hint="set model.head.name=linear, or leave it out")
        if self.model.growth.freeze_old or getattr(self.model.head, "zero_outside", False):
            what = "it moves the rows of O and of old types, which growth.freeze_old and head.zero_outside hold"
            raise InputError(what, location=key, hint="leave it out, or them")
        if self.optim.calibration == "carried":
            what = "it moves the rows whose bias calibration=carried chooses"
            raise InputError(what, location=key, hint="set optim.calibration=none")

    def test_layouts(self) -> dict[str, Layout]:
        """The layouts of the extra test sets. Raises `InputError` for a setting that a layout does not have."""
        corpus, tests = self.scenario.corpus, self.eval.test.items()
        return {name: layout_over(corpus, settings, f"eval.test.{name}") for name, settings in tests}

    def for_step(self, index: int) -> "RunConfig":
        """The configuration of step `index`, from 0: the run's, with the step's own settings in place."""
        number = str(index + 1)
        if number not in self.at:
            return self
        own = self.at[number]
        for key, value in flat(own).items():
            if not key.startswith(MAY_DIFFER):
                hint = f"only {', '.join(part.rstrip('.') for part in MAY_DIFFER)} may"
                raise InputError("this cannot differ from step to step", location=f"at.{number}.{key}", hint=hint)
            if key in RENAMED and RENAMED[key].replace(value) is not None:
                hint = f"write {RENAMED[key].now}"
                raise InputError("this setting was renamed", location=f"at.{number}.{key}", hint=hint)
        return build(RunConfig, merge(plain(replace(self, at={})), own), f"at.{number}")

    @classmethod
    def load(cls, configs: Iterable[str]) -> "RunConfig":
        """Read YAML files and KEY=VALUE overrides, left to right; later ones win."""
        return cls.from_settings(read(configs), {})

    @classmethod
    def from_settings(cls, base: Mapping[str, Plain], settings: Mapping[str, Plain]) -> "RunConfig":
        """Settings as plain data, with dotted settings merged over them. Plugins that they name are imported first."""
        for key, value in settings.items():
            base = merge(base, renamed(nested(key, value)))
        refuse_texts(base)
        plugins = base.get("plugins", ())
        if isinstance(plugins, (list, tuple)):
            load_plugins(map(str, plugins))
        return build(cls, base)

    @classmethod
    def recorded(cls, settings: Mapping[str, Plain]) -> "RunConfig":
        """The configuration that a ledger holds, whichever version wrote it. Its plugins are not imported."""
        return build(cls, {**recorded(settings), "plugins": []})

    def __reduce__(self) -> tuple[Any, ...]:
        """As plain data: whoever unpickles it, such as a Ray worker, imports the plugins first."""
        return RunConfig.from_settings, (plain(self), {})


def _no_bias(setting: str, value: str, head: str) -> InputError:
    line = f"{value!r} shifts a bias that head {head!r} does not have"
    return InputError(line, location=setting, hint=f"set model.head.name=linear, or {setting}=none")


def read(configs: Iterable[str], base: Mapping[str, Plain] | None = None) -> dict[str, Plain]:
    """YAML files and KEY=VALUE overrides as nested settings, merged over `base` from left to right.

    Settings of earlier versions are read under their new names, with one note.
    """
    merged: dict[str, Plain] = dict(base or {})
    notes: list[str] = []
    for config in configs:
        settings = renamed(_override(config) if "=" in config else _file(config), notes.append)
        merged = merge(merged, settings, note=log.warning)
    if notes:
        log.warning("settings have new names: %s", "; ".join(dict.fromkeys(notes)))
    return merged


def _override(text: str) -> dict[str, Plain]:
    path, _, value = text.partition("=")
    try:
        return nested(path, parse(value))
    except InputError as error:
        raise InputError(error.what, location=path) from None


def _file(name: str) -> dict[str, Plain]:
    settings = load_file(name, "name a YAML file, or write KEY=VALUE")
    if not isinstance(settings or {}, Mapping):
        what = f"expected settings, found {type(settings).__name__}"
        raise InputError(what, location=name, hint="write KEY: VALUE lines")
    return dict(settings or {})
