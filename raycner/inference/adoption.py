"""Adoption: a tagger that was trained elsewhere becomes step 1 of a run, which `extend` then teaches new types.

    a Hugging Face token classifier   an encoder and one linear layer: its rows become those of a linear head
    a folder of `raycner export`      the network as it is
    a step of a run, RUN:STEP         the network as it is, whatever protocol the run has

Types can be dropped and renamed on the way. The step is named by a digest of the model's files and labels. It is never
trained, and it is scored on the test files that come with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raycner.config import RunConfig
from raycner.data.retyping import Retyping
from raycner.data.scenarios.scenario import Scenario
from raycner.data.type_synonyms import synonym
from raycner.errors import InputError
from raycner.evaluation.agreement import Agreement
from raycner.events import EventHandler
from raycner.hashing import Plain, fingerprint, plain
from raycner.inference.evaluate import is_hub_id
from raycner.inference.pipeline_check import compare_with_pipeline, made_sentences
from raycner.inference.predictor import DESCRIPTION, read_description
from raycner.inference.token_classifier import refuse_other_checkpoints
from raycner.inference.trained_step import restore
from raycner.networks.adopted_tagger import AdoptedTagger
from raycner.networks.encoders.pretrained import identity
from raycner.networks.hugging_face import HuggingFaceCheckpoint
from raycner.networks.network import Network
from raycner.networks.retyping import retyped
from raycner.orchestration import run_steps
from raycner.orchestration.recipe import EXTENSION
from raycner.orchestration.runner import run
from raycner.storage.aliases import find_alias
from raycner.storage.ledger import RunLedger, TrainingRecord
from raycner.storage.manifests import is_key
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.plan import StepSpec, plan
from raycner.version import __version__

HINT = "name a token classifier of Hugging Face, a folder of `raycner export`, or RUN:STEP of the store"


@dataclass(frozen=True)
class TestFiles:
    """The annotated files on which an adopted step is scored."""

    __test__ = False  # no class of pytest's

    paths: tuple[str, ...] = ()
    layout: str | None = None
    reading: Mapping[str, Any] | None = None

    @property
    def corpus(self) -> dict[str, Plain]:
        """The settings of the step's corpus."""
        paths = [path if "://" in path else str(Path(path).expanduser().absolute()) for path in self.paths]
        return {"name": "scored_only", "paths": paths, "layout": self.layout, "reading": dict(self.reading or {})}


@dataclass(frozen=True)
class Adoption:
    """A run with the adopted model as its step."""

    ledger: RunLedger
    check: Agreement | None
    """None for a model of raycner's own."""


@dataclass(frozen=True)
class Model:
    """A model that was read, and is not in the store yet."""

    network: Network
    digest: str
    tagger: AdoptedTagger | None = None
    """The token classifier that it was made from."""


def adopt(
    path: str,
    name: str,
    store: ObjectStore,
    emit: EventHandler,
    *,
    test: TestFiles = TestFiles(),  # a frozen value
    labels: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    allow_similar: bool = False,
    sentences: int = 500,
    encoder: str | None = None,
    allow_pickle: bool = False,
) -> Adoption:
    """Adopt a model as the run `name` of one step.

    Args:
        path: a folder or hub id of a token classifier, a folder of `raycner export`, or a step of the store.
        test: annotated files on which the step is scored.
        labels: the labels by row, instead of those of config.json.
        rename: the model's types under new names.
        drop: types that the step is not to have.
        allow_similar: whether the test files may have types that are probably the model's under other names.
        sentences: how many sentences are compared with `transformers.pipeline`: of the test files, or made ones.
        encoder: where the encoder of a step lies, if it has moved.
        allow_pickle: also read weights that are pickled, as tensors alone.

    Raises `InputError` for a model that is no tagger with a linear head, and for a name that another run has.
    """
    require_name(store, name)
    model = _read(path, store, labels, rename or {}, encoder, allow_pickle=allow_pickle)
    if labels and model.tagger is None:
        raise InputError("only token classifiers have labels", location="--labels", hint="leave it out")
    complete, model = model, with_types(model, Retyping(drop=tuple(drop), rename={} if model.tagger else rename or {}))
    config = RunConfig.from_settings(_settings(model, name, test, store), {})
    before = RunLedger.find(store, name)
    if before is not None and before.planned[0].fingerprint != model.digest:
        hint = "choose another --name"
        raise InputError(f"another model is adopted as {name!r}", location=str(store), hint=hint)
    _, scenario = run_steps.prepare(config, emit)
    _require_common_types(model.network.inventory.types, scenario, allow_similar=allow_similar)
    check = _check(complete, scenario, sentences)
    commit(store, plan(config, scenario)[0], model.network)
    return Adoption(run(config, emit), check)


def require_name(store: ObjectStore, name: str) -> None:
    """Raise `InputError` for a name that no run may have."""
    if not is_key(name) or "/" in name:
        hint = "use letters, digits, '.', '_' and '-'"
        raise InputError(f"{name!r} cannot name a run", location="--name", hint=hint)
    if find_alias(store, name) is not None:
        raise InputError(f"an alias is called {name!r}", location="--name", hint="choose another name")


def _read(
    path: str,
    store: ObjectStore,
    labels: Sequence[str],
    rename: Mapping[str, str],
    encoder: str | None,
    *,
    allow_pickle: bool,
) -> Model:
    """The model at a path, of a hub, or in the store."""
    folder = Path(path).expanduser()
    if (folder / DESCRIPTION).is_file():
        return _exported(path)
    if not folder.is_dir():
        try:
            return model_of_step(path, store, encoder)
        except InputError as error:
            if not is_hub_id(path) or "no run is called" not in error.what:
                raise
    return _token_classifier(path, labels, rename, allow_pickle=allow_pickle)


def _exported(path: str) -> Model:
    """The network of a folder that `raycner export` wrote for a Predictor."""
    description, weights = read_description(Path(path).expanduser())
    network = Network.restore(description.model, description.inventory, description.memory, weights)
    model = plain(description.model, hashed=True)
    digest = fingerprint({"adopted": 1, "files": identity(path), "model": model})
    return Model(retyped(_calibrated(network, description.new_type_bias, path)), digest)


def model_of_step(address: str, store: ObjectStore, encoder: str | None) -> Model:
    """The network of a step in the store."""
    ledger, record = find_step(address, store)
    network = restore(store, ledger, record, encoder)
    new_type_bias = record.calibration.delta if record.calibration else 0.0
    digest = fingerprint({"adopted": 1, "step": record.fingerprint, "new_type_bias": new_type_bias})
    return Model(retyped(_calibrated(network, new_type_bias, address)), digest)


def _calibrated(network: Network, new_type_bias: float, path: str) -> Network:
    """The network, whose every output is as its calibrated predictions are."""
    if new_type_bias:
        if not network.head.can_bake_in:
            what = f"its predictions are calibrated, which head {network.config.head.name!r} cannot hold"
            raise InputError(what, location=path, hint="set eval.calibration=none in its run")
        network.head.bake_in(new_type_bias)
    return network


def with_types(model: Model, retyping: Retyping) -> Model:
    """The model with other types. Its name depends on the model's and on what was done."""
    if not retyping:
        return model
    merged = {"merge": {new: list(parts) for new, parts in retyping.merge.items()}} if retyping.merge else {}
    changes = {"drop": sorted(retyping.drop), "rename": dict(retyping.rename), **merged}
    return Model(retyped(model.network, retyping), fingerprint({"adopted": model.digest, **changes}))


def _token_classifier(path: str, labels: Sequence[str], rename: Mapping[str, str], *, allow_pickle: bool) -> Model:
    """The network of a Hugging Face token classifier."""
    checkpoint = HuggingFaceCheckpoint(
        path, location=path, problem="cannot be adopted", hint=HINT, allow_pickle=allow_pickle
    )
    refuse_other_checkpoints(checkpoint.settings(), path)
    tagger = AdoptedTagger.of(checkpoint, labels, rename)
    return Model(tagger.network, tagger.digest, tagger)


def _settings(model: Model, name: str, test: TestFiles, store: ObjectStore) -> dict[str, Plain]:
    """The settings of the run: one step, and how later ones are trained."""
    config = model.network.config
    step = {"types": list(model.network.inventory.types), "adopted": model.digest, "corpus": test.corpus}
    return {
        "store": store.uri,
        "scenario": {
            "corpus": {"name": "columns"},
            "protocol": {"name": "steps", "run_name": name, "steps": [step]},
        },
        "model": {"encoder": plain(config.encoder), "head": plain(config.head)},
        **EXTENSION,
    }


def _require_common_types(types: Sequence[str], scenario: Scenario, *, allow_similar: bool) -> None:
    """Raise `InputError` where the test files call a type otherwise than the model."""
    if not scenario[0].test:
        return
    annotated = scenario.corpora[0].types
    for name in annotated:
        other = "" if name in types or allow_similar else synonym(name, types)
        if other:
            what = f"the files annotate {name!r}, the model predicts {other!r}"
            raise InputError(what, location="--test", hint=f"add --rename {other}={name}, or --allow-similar")
    if not set(annotated) & set(types):
        what = f"the files annotate {', '.join(annotated)}: no type of the model"
        raise InputError(what, location="--test", hint=f"the model has {', '.join(types)}; rename some with --rename")


def _check(model: Model, scenario: Scenario, number: int) -> Agreement | None:
    tagger = model.tagger
    if tagger is None:
        return None
    given = [s.words for split in scenario[0].test for s in split.sentences(range(min(number, len(split))))]
    return compare_with_pipeline(tagger, given or made_sentences(tagger.tokenizer, number))


def commit(store: ObjectStore, spec: StepSpec, network: Network, notes: Sequence[str] = ()) -> None:
    """Write the network as the adopted step of this name, unless the store has it."""
    types = network.inventory.types
    record = TrainingRecord(
        index=0,
        fingerprint=spec.fingerprint,
        new=types,
        seen=types,
        sentences=0,
        epochs=(),
        best_epoch=0,
        seconds=0.0,
        workers=0,
        version=__version__,
        notes=tuple(notes),
    )
    StepCheckpoint.commit(store, spec, network, record)
