"""Adoption: a tagger that was trained elsewhere becomes step 1 of a run."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from raycner.api.progress import Progress, event_handler
from raycner.api.runs import Run
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from raycner.api.jobs import Overrides
    from raycner.evaluation.agreement import Agreement
    from raycner.inference.distillation import Distillation
    from raycner.inference.foreign_taggers import Tagger


def adopt(
    model: str | PathLike[str],
    name: str,
    *,
    store: str | PathLike[str] = "store",
    test: Sequence[str | PathLike[str]] = (),
    layout: str | None = None,
    reading: Mapping[str, object] | None = None,
    labels: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    allow_similar: bool = False,
    sentences: int = 500,
    encoder: str | None = None,
    allow_pickle: bool = False,
    progress: Progress = True,
) -> "tuple[Run, Agreement | None]":
    """Adopt a tagger as the run `name` of one step, which `Run.extend` then teaches new types.

        run, check = raycner.adopt("my_classifier", "base", test=["news.conll"], rename={"PER": "person"})
        longer = run.extend(["product"], "my/reviews")

    `model` is a folder or hub id of a Hugging Face token classifier with one linear layer over its encoder, a folder of
    `raycner export`, or a step RUN:STEP of any protocol. `test` are annotated files on which every step is scored;
    `layout` and `reading` say how they are read, where their names do not. `labels` are the labels in the order of the
    classifier's rows, instead of those of config.json, `rename` gives its types new names, and `drop` names types that
    the step is not to have. The test files may have types that are probably the model's under other names only with
    `allow_similar`. `encoder` is where the pretrained encoder of a step lies, if it has moved.

    The check compares the step with `transformers.pipeline` on so many sentences, of the test files or else made ones;
    `check.differences` lists where they differ. It is None for an exported step. Raises `InputError` for a model that
    is no tagger with a linear head.
    """
    from raycner.inference import adoption

    with event_handler(progress) as handler:
        adopted = adoption.adopt(
            fspath(model),
            name,
            ObjectStore(fspath(store)),
            handler,
            test=adoption.TestFiles(tuple(fspath(file) for file in test), layout, reading),
            labels=labels,
            rename=rename,
            drop=drop,
            allow_similar=allow_similar,
            encoder=encoder,
            sentences=sentences,
            allow_pickle=allow_pickle,
        )
    return Run(adopted.ledger, ObjectStore(fspath(store))), adopted.check


def adopt_by_predictions(
    model: "str | PathLike[str] | Tagger",
    name: str,
    text: Sequence[str | PathLike[str]],
    overrides: "Overrides" = (),
    /,
    *,
    store: str | PathLike[str] = "store",
    annotations: str | PathLike[str] = "",
    source: str = "",
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    allow_pickle: bool = False,
    progress: Progress = True,
    **settings: object,
) -> "tuple[Run, Distillation]":
    """Adopt a tagger that cannot become a step itself: step 1 learns what it predicts in `text`.

        run, made = raycner.adopt_by_predictions("spacy:en_core_web_sm", "base", ["texts/"],
                                                 {"model.encoder.path": "sentence-transformers/all-MiniLM-L6-v2"})

    `model` is spacy:NAME, a folder of spaCy, a folder or hub id of a Hugging Face token classifier, or any object with
    a method `entities(sentences)`, which returns the entities of each sentence of words. `text` are files, folders or
    patterns. The predictions are written to the folder `annotations` (NAME-annotations if empty), `rename` and `drop`
    change their types, and `overrides` and `settings` say how the step is trained. `source` is what ledgers call an
    object. A tenth of the sentences is held out: `made.agreement` compares the step with the tagger there.

    Raises `InputError` for a model that cannot be loaded, text in which it finds nothing, and a name that another run
    has.
    """
    from raycner.api.jobs import load_config
    from raycner.data.retyping import Retyping
    from raycner.inference import distillation
    from raycner.inference.foreign_taggers import load_tagger

    address = fspath(model) if isinstance(model, str | PathLike) else source or type(model).__name__
    tagger = load_tagger(address, allow_pickle=allow_pickle) if isinstance(model, str | PathLike) else model
    folder = Path(fspath(annotations) or f"{name}-annotations")
    retyping = Retyping(drop=tuple(drop), rename=dict(rename or {}))
    predictions = distillation.predict_text(tagger, address, [fspath(file) for file in text]).retyped(retyping)
    first = distillation.settings_of(predictions, name, folder, ObjectStore(fspath(store)).uri)
    config = load_config(first, overrides, settings)
    with event_handler(progress) as handler:
        made = distillation.distil(predictions, config, folder, handler)
    return Run(made.ledger, ObjectStore(config.store)), made
