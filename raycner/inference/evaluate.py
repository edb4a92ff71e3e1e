"""evaluate: how well a step, an exported folder or a Hugging Face token classifier predicts annotated sentences.

evaluation = evaluate("demo-fg_pg-dld", test=True)
evaluation.report.scores.micro.f1
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from raycner.analysis.provenance import step_provenance, threshold_note
from raycner.analysis.scores import scores, threshold_name
from raycner.config import RunConfig
from raycner.data.annotated import read_annotated
from raycner.data.entities import Entity
from raycner.errors import InputError
from raycner.evaluation.entity_report import EntityEvaluation, entity_report
from raycner.evaluation.entity_scores import ScoredSentence
from raycner.hashing import Plain
from raycner.inference.predictor import DESCRIPTION, PredictedEntity, Predictor
from raycner.inference.token_classifier import TokenClassifier
from raycner.inference.trained_step import experience_of, load_step
from raycner.networks.encoders.encoder import Words
from raycner.registry import suggest
from raycner.storage.run_names import find_step
from raycner.storage.store import ObjectStore

TOGETHER = 2048
"""Sentences predicted between two reports of progress."""


class EntityPredictor(Protocol):
    """Whatever finds entities in sentences of words."""

    @property
    def types(self) -> tuple[str, ...]: ...

    @property
    def decoder(self) -> str | None: ...

    def words(self, sentences: Sequence[Words]) -> list[list[PredictedEntity]]: ...


@dataclass(frozen=True, slots=True)
class GoldSentences:
    """What is to be predicted."""

    sources: tuple[str, ...]
    sentences: Sequence[tuple[tuple[str, ...], frozenset[Entity]]]
    visible: Sequence[Collection[str]] | None
    """The types that are annotated in each sentence; None where any may be."""
    notes: tuple[str, ...]


def evaluate(
    model: str | Path,
    files: Sequence[str | Path] = (),
    *,
    test: bool = False,
    store: str = "store",
    layout: str | None = None,
    reading: Mapping[str, object] | None = None,
    types: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    decoding: str | None = None,
    threshold: float | str | None = None,
    encoder: str | None = None,
    allow_pickle: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    most: int = 10,
    examples: int = 2,
    on_progress: Callable[[int], object] = lambda _: None,
) -> EntityEvaluation:
    """Evaluate on annotated files, or with `test` on the test part of the step's own run.

    Args:
        model: RUN or RUN:STEP of the store, a folder of `raycner export`, or a folder or hub id of a token classifier.
        files: files, folders or patterns of any layout; of a folder with a test part, that part.
        layout, reading: how the files are read, where their names do not tell.
        types: the types to score, as the files call them; all that the model predicts when empty.
        rename: the model's types under the names that the files use, where these differ.
        decoding, threshold: how a step is read out, where not as its run's `eval.decoding` and `eval.threshold` say.
        encoder: where the run's pretrained encoder lies, if it has moved.
        allow_pickle: also load a token classifier from pickled weights.
        resamples, seed: of the bootstrap; 0 resamples compute no intervals.
        most, examples: how many kinds of mistakes are reported, and with how many sentences each.
        on_progress: receives the number of sentences predicted so far.

    Raises `InputError` for a model or a file that cannot be read, and where nothing can be scored.
    """
    if bool(files) == test:
        what = "a test part and files together" if test else "neither files nor a test part to evaluate on"
        raise InputError(what, location="evaluate", hint="name files, or add --test for the run's own test part")
    annotated = run_test_part(str(model), store) if test else annotated_files(files, layout, reading)
    return evaluate_on(
        annotated,
        str(model),
        store=store,
        types=types,
        rename=rename,
        decoding=decoding,
        threshold=threshold,
        encoder=encoder,
        allow_pickle=allow_pickle,
        resamples=resamples,
        seed=seed,
        most=most,
        examples=examples,
        on_progress=on_progress,
    )


def annotated_files(
    files: Sequence[str | Path], layout: str | None = None, reading: Mapping[str, object] | None = None
) -> GoldSentences:
    """The sentences of annotated files."""
    gold = read_annotated([str(file) for file in files], layout, reading)
    return GoldSentences(gold.names, [(s.words, s.entities) for s in gold.sentences], None, gold.notes)


def evaluate_on(
    annotated: GoldSentences,
    address: str,
    *,
    store: str = "store",
    types: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    decoding: str | None = None,
    threshold: float | str | None = None,
    encoder: str | None = None,
    allow_pickle: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    most: int = 10,
    examples: int = 2,
    on_progress: Callable[[int], object] = lambda _: None,
) -> EntityEvaluation:
    """`evaluate` on sentences that were read before."""
    read_out = {key: value for key, value in (("decoding", decoding), ("threshold", threshold)) if value is not None}
    predictor = load_predictor(address, store, encoder, allow_pickle=allow_pickle, read_out=read_out)
    names = _names(predictor.types, rename or {})
    scored_types, notes = _scored_types(list(dict.fromkeys(names.values())), annotated, types)
    sentences = []
    for start in range(0, len(annotated.sentences), TOGETHER):
        chunk = annotated.sentences[start : start + TOGETHER]
        for (words, entities), predicted in zip(chunk, predictor.words([w for w, _ in chunk]), strict=True):
            sentences.append(
                ScoredSentence(words, entities, frozenset(Entity(p.start, p.end, names[p.type]) for p in predicted))
            )
        on_progress(len(sentences))
    if annotated.visible is not None:
        sentences = [s.restricted(visible) for s, visible in zip(sentences, annotated.visible, strict=True)]
    sentences = [sentence.restricted(scored_types) for sentence in sentences]
    notes += _extra_types(sentences)
    if isinstance(predictor, Predictor) and predictor.thresholds is not None:
        notes.append(threshold_note(predictor.thresholds))
    if isinstance(predictor, TokenClassifier) and predictor.unread:
        notes.append(f"{predictor.unread} words lie beyond the longest input of the model; nothing is predicted there")
    report = entity_report(sentences, scored_types, resamples=resamples, seed=seed, most=most, examples=examples)
    return EntityEvaluation(
        model=address,
        sources=annotated.sources,
        report=report,
        sentences=tuple(sentences),
        notes=(*annotated.notes, *notes),
        steps=_steps(address, store, predictor, names, scored_types),
        provenance=_provenance(address, store, predictor),
    )


def load_predictor(
    address: str,
    store: str = "store",
    encoder: str | None = None,
    *,
    allow_pickle: bool = False,
    read_out: Mapping[str, Plain] | None = None,
) -> EntityPredictor:
    """The predictor of a step, of an exported folder, or of a Hugging Face token classifier.

    `read_out` are settings of `eval` that change how a step is read out. Folders are read out as they were exported.
    """
    folder = Path(address).expanduser()
    if folder.is_dir() and read_out:
        what = f"a folder is read out as it was exported, without {' and '.join(read_out)}"
        raise InputError(what, location=address, hint="name a RUN of the store")
    if (folder / DESCRIPTION).is_file():
        return Predictor.load(folder)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            hint = "name a RUN, a folder of `raycner export`, or a Hugging Face token classifier"
            raise InputError("neither an exported step nor a token classifier", location=address, hint=hint)
        return TokenClassifier.load(address, allow_pickle=allow_pickle)
    try:
        return Predictor.of_step(load_step(address, ObjectStore(store), encoder, read_out))
    except InputError as error:
        if not is_hub_id(address) or "no run is called" not in error.what:
            raise
        return TokenClassifier.load(address, allow_pickle=allow_pickle)


def _steps(
    address: str, store: str, predictor: EntityPredictor, names: Mapping[str, str], scored: Collection[str]
) -> tuple[tuple[str, ...], ...]:
    """The scored types that each step brought, under the names of the files."""
    if Path(address).expanduser().is_dir() or isinstance(predictor, TokenClassifier):
        return ()
    ledger, record = find_step(address, ObjectStore(store))
    plan = [[names.get(name, name) for name in step.new] for step in ledger.planned[: record.index + 1]]
    groups = [tuple(name for name in group if name in scored) for group in plan]
    return tuple(filter(None, groups)) if set(scored) <= {name for group in groups for name in group} else ()


def _provenance(address: str, store: str, predictor: EntityPredictor) -> str:
    """How the scores were obtained: the decoder, and of a step all that its run records."""
    decoder = predictor.decoder
    if Path(address).expanduser().is_dir() or isinstance(predictor, TokenClassifier):
        return f"Decoder {decoder}." if decoder else ""
    ledger, record = find_step(address, ObjectStore(store))
    run = replace(scores(ledger), decoder=decoder)
    if isinstance(predictor, Predictor) and predictor.thresholds is not None:
        run = replace(run, threshold=threshold_name(predictor.thresholds))
    return step_provenance(run, run.steps[record.index])


def is_hub_id(address: str) -> bool:
    """OWNER/NAME, as no run is called."""
    return address.count("/") == 1 and not address.startswith(("/", ".", "~"))


def run_test_part(address: str, store: str) -> GoldSentences:
    """The sentences that a step of a run is tested on, with the types that are annotated in each."""
    if Path(address).expanduser().is_dir():
        hint = "name files, or a RUN of the store"
        raise InputError("a folder has no test part of its own", location=address, hint=hint)
    place = ObjectStore(store)
    ledger, record = find_step(address, place)
    parts = experience_of(RunConfig.recorded(ledger.config), place, ledger, record).test
    sentences = [(s.words, s.entities) for part in parts for s in part.sentences()]
    if not any(entities for _, entities in sentences):
        raise InputError("no gold entity in the test part", location=ledger.run, hint="name annotated files instead")
    return GoldSentences(
        sources=tuple(f"test part of {part.corpus.source}" for part in parts),
        sentences=sentences,
        visible=[part.visible for part in parts for _ in range(len(part))],
        notes=(),
    )


def _names(model_types: Sequence[str], rename: Mapping[str, str]) -> dict[str, str]:
    """The name of each of the model's types in the files."""
    for name in rename:
        if name not in model_types:
            raise InputError(f"the model has no type {name!r}", location="--rename", hint=suggest(name, model_types))
    return {name: rename.get(name, name) for name in model_types}


def _scored_types(
    model_types: Sequence[str], annotated: GoldSentences, chosen: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The types to score, and notes about gold types that are left out."""
    for name in chosen:
        if name not in model_types:
            raise InputError(f"the model has no type {name!r}", location="--types", hint=suggest(name, model_types))
    scored = list(chosen or model_types)
    gold = Counter(entity.type for _, entities in annotated.sentences for entity in entities)
    if not set(gold) & set(scored):
        what = f"no gold entity of a scored type: gold has {', '.join(sorted(gold))}"
        raise InputError(what, location=annotated.sources[0], hint=f"the model has {', '.join(model_types)}")
    unknown = {name: number for name, number in gold.items() if name not in model_types}
    unchosen = {name: number for name, number in gold.items() if name in model_types and name not in scored}
    notes = [f"gold types that the model does not have, left out: {_listed(unknown)}"] if unknown else []
    notes += [f"gold types that were not chosen, left out: {_listed(unchosen)}"] if unchosen else []
    return scored, notes


def _extra_types(sentences: Sequence[ScoredSentence]) -> list[str]:
    """A note on predicted types that gold never has: perhaps they are not annotated."""
    gold = {entity.type for sentence in sentences for entity in sentence.gold}
    extra = Counter(e.type for sentence in sentences for e in sentence.predicted if e.type not in gold)
    listed = _listed(extra)
    return [f"predicted types without any gold entity, counted as errors: {listed}"] if extra else []


def _listed(types: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in sorted(types.items()))
