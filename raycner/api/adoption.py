"""Adoption: a tagger that was trained elsewhere becomes step 1 of a run."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING

from raycner.api.progress import Progress, event_handler
from raycner.api.runs import Run
from raycner.storage.store import ObjectStore

if TYPE_CHECKING:
    from raycner.evaluation.agreement import Agreement


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
