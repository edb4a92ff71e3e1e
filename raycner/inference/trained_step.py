"""A trained step as an evaluation reads it: its network with a decoding, a bias of new types, and thresholds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from raycner.config import EvalConfig, RunConfig
from raycner.data.scenarios.scenario import Experience, Scenario
from raycner.errors import InputError
from raycner.evaluation.thresholds import thresholds_of
from raycner.hashing import Plain
from raycner.networks.devices import place
from raycner.networks.hugging_face import on_this_machine
from raycner.networks.network import ModelConfig, Network
from raycner.settings import build, merge
from raycner.storage.ledger import RunLedger, StepRecord, ThresholdRecord
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint


@dataclass(frozen=True)
class TrainedStep:
    """A finished step of a run, ready to predict."""

    ledger: RunLedger
    record: StepRecord
    network: Network
    """With the decoding of the evaluation."""
    new_type_bias: float
    thresholds: ThresholdRecord | None
    """The least confidence of an entity, by type; None where the head's own decides."""

    @property
    def name(self) -> str:
        """RUN:STEP."""
        return f"{self.ledger.run}:{self.record.index + 1}"


def load_step(
    address: str, store: ObjectStore, encoder: str | None = None, read_out: Mapping[str, Plain] | None = None
) -> TrainedStep:
    """The step RUN or RUN:STEP of a store, read as its run's evaluation reads it.

    `encoder` is the path of the pretrained encoder, if it has moved since training. `read_out` are settings of `eval`
    that change how it is read; thresholds that dev decides are then chosen again, on the dev of the step. Raises
    `InputError` when there is no such step, when it is incomplete, and for a setting that it does not have.
    """
    return load_record(store, *find_step(address, store), encoder, read_out)


def load_record(
    store: ObjectStore,
    ledger: RunLedger,
    record: StepRecord,
    encoder: str | None = None,
    read_out: Mapping[str, Plain] | None = None,
) -> TrainedStep:
    """`load_step` of a record of a ledger."""
    evaluation = build(EvalConfig, ledger.config.get("eval") or {}, "eval")
    asked = build(EvalConfig, read_out or {}, "eval", evaluation)
    network = restore(store, ledger, record, encoder, asked)
    thresholds = record.thresholds
    if asked != evaluation or (thresholds is None and asked.threshold is not None):
        thresholds = _choose(store, ledger, record, network, read_out or {})
    new_type_bias = record.calibration.delta if record.calibration else 0.0
    return TrainedStep(ledger, record, network, new_type_bias, thresholds)


def _choose(
    store: ObjectStore, ledger: RunLedger, record: StepRecord, network: Network, read_out: Mapping[str, Plain]
) -> ThresholdRecord | None:
    """The thresholds of another read-out than the run's own."""
    config = RunConfig.recorded(merge(ledger.config, {"eval": dict(read_out)}))
    if not config.eval.chooses_thresholds:
        return thresholds_of(config.eval, network, ())
    dev = experience_of(config, store, ledger, record).dev
    return thresholds_of(config.eval, place(network, config.optim.precision), dev)


def experience_of(config: RunConfig, store: ObjectStore, ledger: RunLedger, record: StepRecord) -> Experience:
    """The sentences of a step. Raises `InputError` where the ledger does not tell them."""
    scenario = Scenario.of_run(config.scenario, store, [corpus.fingerprint for corpus in ledger.corpora])
    if not 0 <= record.index < len(scenario):
        what = f"an inconsistent ledger: its corpora have no step {record.index + 1}"
        raise InputError(what, location=ledger.run, hint="remove the run's ledger.json and run it again")
    return scenario[record.index]


def restore(
    store: ObjectStore,
    ledger: RunLedger,
    record: StepRecord,
    encoder: str | None = None,
    evaluation: EvalConfig | None = None,
) -> Network:
    """The network of a finished step, with the decoding of an evaluation, or else of its head.

    A ledger is data: a checkpoint that it names is read from this machine, and is never asked of a hub. Raises
    `InputError` when the store no longer has the step.
    """
    model = build(ModelConfig, ledger.config.get("model") or {}, "model")
    paths = {part: getattr(getattr(model, part), "path", None) for part in ("encoder", "head")}
    local = {part: {"path": encoder or _local(path)} for part, path in paths.items() if path is not None}
    if encoder is not None:
        local["encoder"] = {"path": encoder}
    model = build(ModelConfig, local, "model", model)
    checkpoint = StepCheckpoint.find(store, record.fingerprint)
    if checkpoint is None:
        what = f"step {record.index + 1} is no longer in the store, or damaged"
        hint = "run it again: the same command trains the missing steps"
        raise InputError(what, location=ledger.run, hint=hint)
    return checkpoint.network(replace(model, head=evaluation.head(model.head)) if evaluation else model)


def _local(path: str) -> str:
    """The checkpoint that a ledger names, on this machine."""
    folder = on_this_machine(path)
    if folder is None:
        what = f"no encoder at {path!r} on this machine"
        hint = "name a folder, or a hub id to download, with --encoder"
        raise InputError(what, location="model.encoder.path", hint=hint)
    return folder
