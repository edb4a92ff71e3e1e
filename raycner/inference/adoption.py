"""Adoption: a tagger that was trained elsewhere becomes step 1 of a run, which `extend` then teaches new types.

    a Hugging Face token classifier   an encoder and one linear layer: its rows become those of a linear head
    a folder of `raycner export`      the network as it is

The step is named by a digest of the model's files and labels. It is never trained, and it is scored on the test files
that come with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raycner.config import RunConfig
from raycner.data.entities import TypeInventory
from raycner.data.scenarios.scenario import Scenario
from raycner.data.type_synonyms import synonym
from raycner.errors import InputError
from raycner.evaluation.agreement import Agreement
from raycner.events import EventHandler
from raycner.hashing import Plain, fingerprint, plain
from raycner.inference.pipeline_check import compare_with_pipeline, made_sentences
from raycner.inference.predictor import DESCRIPTION, read_description
from raycner.inference.token_classifier import refuse_other_checkpoints
from raycner.networks.adopted_tagger import AdoptedTagger
from raycner.networks.encoders.pretrained import identity
from raycner.networks.hugging_face import HuggingFaceCheckpoint
from raycner.networks.network import Network
from raycner.orchestration import run_steps
from raycner.orchestration.runner import run
from raycner.storage.ledger import RunLedger, TrainingRecord
from raycner.storage.store import ObjectStore, is_key
from raycner.training.checkpoint import StepCheckpoint
from raycner.training.plan import StepSpec, plan
from raycner.version import __version__

HINT = "name a token classifier of Hugging Face, or a folder of `raycner export`"
RECIPE: Mapping[str, Plain] = {"method": {"name": "dld", "base": {"name": "extend_ner"}}}
"""How later steps are trained, unless the user says otherwise."""


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
class _Model:
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
    sentences: int = 500,
    allow_pickle: bool = False,
) -> Adoption:
    """Adopt a model as the run `name` of one step.

    Args:
        path: a folder or hub id of a token classifier, or a folder of `raycner export`.
        test: annotated files on which the step is scored.
        labels: the labels by row, instead of those of config.json.
        rename: the model's types under new names.
        sentences: how many sentences are compared with `transformers.pipeline`: of the test files, or made ones.
        allow_pickle: also read weights that are pickled, as tensors alone.

    Raises `InputError` for a model that is no tagger with a linear head, and for a name that another run has.
    """
    _require_name(name)
    own = (Path(path).expanduser() / DESCRIPTION).is_file()
    if own and (labels or rename):
        raise InputError("an exported step has its types", location=path, hint="leave out --labels and --rename")
    model = _exported(path) if own else _token_classifier(path, labels, rename or {}, allow_pickle=allow_pickle)
    config = RunConfig.from_settings(_settings(model, name, test, store), {})
    before = RunLedger.find(store, name)
    if before is not None and before.planned[0].fingerprint != model.digest:
        hint = "choose another --name"
        raise InputError(f"another model is adopted as {name!r}", location=str(store), hint=hint)
    _, scenario = run_steps.prepare(config, emit)
    _require_common_types(model.network.inventory.types, scenario)
    check = _check(model, scenario, sentences)
    _commit(store, plan(config, scenario)[0], model.network)
    return Adoption(run(config, emit), check)


def _require_name(name: str) -> None:
    if not is_key(name) or "/" in name:
        hint = "use letters, digits, '.', '_' and '-'"
        raise InputError(f"{name!r} cannot name a run", location="--name", hint=hint)


def _exported(path: str) -> _Model:
    """The network of a folder that `raycner export` wrote for a Predictor."""
    description, weights = read_description(Path(path).expanduser())
    inventory = TypeInventory().grow(description.inventory.types)
    try:
        network = Network.restore(description.model, inventory, description.memory, weights)
    except RuntimeError:
        what = f"its head {description.model.head.name!r} has weights for each step"
        raise InputError(what, location=path, hint="extend the run itself") from None
    if description.new_type_bias:
        network.head.bake_in(description.new_type_bias)
    model = plain(description.model, hashed=True)
    return _Model(network, fingerprint({"adopted": 1, "files": identity(path), "model": model}))


def _token_classifier(path: str, labels: Sequence[str], rename: Mapping[str, str], *, allow_pickle: bool) -> _Model:
    """The network of a Hugging Face token classifier."""
    checkpoint = HuggingFaceCheckpoint(
        path, location=path, problem="cannot be adopted", hint=HINT, allow_pickle=allow_pickle
    )
    refuse_other_checkpoints(checkpoint.settings(), path)
    tagger = AdoptedTagger.of(checkpoint, labels, rename)
    return _Model(tagger.network, tagger.digest, tagger)


def _settings(model: _Model, name: str, test: TestFiles, store: ObjectStore) -> dict[str, Plain]:
    """The settings of the run: one step, and the recipe by which later ones are trained."""
    config = model.network.config
    step = {"types": list(model.network.inventory.types), "adopted": model.digest, "corpus": test.corpus}
    return {
        "store": store.uri,
        "scenario": {
            "corpus": {"name": "columns"},
            "protocol": {"name": "steps", "run_name": name, "steps": [step]},
        },
        "model": {"encoder": plain(config.encoder), "head": plain(config.head)},
        **RECIPE,
    }


def _require_common_types(types: Sequence[str], scenario: Scenario) -> None:
    """Raise `InputError` where the test files call a type otherwise than the model."""
    if not scenario[0].test:
        return
    annotated = scenario.corpora[0].types
    for name in annotated:
        other = "" if name in types else synonym(name, types)
        if other:
            what = f"the files annotate {name!r}, the model predicts {other!r}"
            raise InputError(what, location="--test", hint=f"if they are one type, add --rename {other}={name}")
    if not set(annotated) & set(types):
        what = f"the files annotate {', '.join(annotated)}: no type of the model"
        raise InputError(what, location="--test", hint=f"the model has {', '.join(types)}; rename some with --rename")


def _check(model: _Model, scenario: Scenario, number: int) -> Agreement | None:
    tagger = model.tagger
    if tagger is None:
        return None
    given = [s.words for split in scenario[0].test for s in split.sentences(range(min(number, len(split))))]
    return compare_with_pipeline(tagger, given or made_sentences(tagger.tokenizer, number))


def _commit(store: ObjectStore, spec: StepSpec, network: Network) -> None:
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
    )
    StepCheckpoint.commit(store, spec, network, record)
