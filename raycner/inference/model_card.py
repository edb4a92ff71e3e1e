"""The model card of an exported step: its types and scores, its usage and its origin."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import yaml

from raycner.addresses import shown
from raycner.analysis.formatting import figure, many
from raycner.analysis.scores import Run, Step
from raycner.console import printable
from raycner.reporting.markdown import escape, render
from raycner.reporting.tables.run import type_table
from raycner.version import __version__

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)

Form = Literal["pipeline", "predictor"]
"""What loads the exported folder: transformers.pipeline, or raycner.Predictor."""

_PIPELINE = """\
```python
from transformers import pipeline

find = pipeline("token-classification", model="THIS_FOLDER", aggregation_strategy="first")
find("Anna flew to Oslo.")
```

A word has the label of its first piece, so `aggregation_strategy` must be `first`; each word was tokenised on its own.
Text is split into words as BERT does, with punctuation marks apart. With a tokenizer that does not split words so
(byte-level BPE), pass a list of words and `is_split_into_words=True`. raycner splits text into sentences first: pass
one sentence at a time to get the same entities. A score is the mean over the words of an entity; raycner's confidence
is that of its least confident word."""
_ONNX = """\
`model.onnx` has the same logits without torch:

```python
import onnxruntime
from transformers import AutoConfig, AutoTokenizer

tokenizer, config = AutoTokenizer.from_pretrained("THIS_FOLDER"), AutoConfig.from_pretrained("THIS_FOLDER")
session = onnxruntime.InferenceSession("THIS_FOLDER/model.onnx")
words = ["Anna", "flew", "to", "Oslo", "."]
inputs = tokenizer([words], is_split_into_words=True, return_tensors="np")
(logits,) = session.run(["logits"], {name: inputs[name] for name in ("input_ids", "attention_mask")})
first_pieces = [inputs.word_ids(0).index(word) for word in range(len(words))]
labels = [config.id2label[row] for row in logits[0, first_pieces].argmax(-1).tolist()]
```"""
_PREDICTOR = """\
```python
from raycner import Predictor

predictor = Predictor.load("THIS_FOLDER")
predictor.text(["Anna flew to Oslo."])
```

`transformers.pipeline` has no such network; raycner loads it."""


@dataclass(frozen=True)
class Rights:
    """What a card says of a model that no run knows."""

    license: str = ""
    """An identifier of the hub, such as apache-2.0; left out when empty."""
    languages: tuple[str, ...] = ()
    """ISO codes of the texts that it reads, such as en."""


def card(
    run: Run, index: int, form: Form, notes: Sequence[str], rights: Rights = Rights(), *, onnx: bool = False
) -> str:
    """A README.md: front matter for the Hugging Face hub, then sections for people. `notes` follow the usage, which
    says how to read an ONNX graph if there is one."""
    step = run.steps[index]
    scores = f"F1 on test after this step, in percent: micro {figure(step.micro)}, macro {figure(step.macro)}."
    parts = [
        f"---\n{_front_matter(run, step, form, rights)}\n---",
        f"# {escape(run.label)}: {many(len(step.f1), 'entity type')} after {many(index + 1, 'step')}",
        "A named entity recogniser that learned its types step by step.",
        "## Use",
        _PIPELINE if form == "pipeline" else _PREDICTOR,
        *([_ONNX] if onnx else []),
        *notes,
        "## Scores",
        scores,
        render(replace(type_table(run, step), title="")),
        "## Recipe",
        _fenced(yaml.safe_dump(_recipe(run.config), sort_keys=False, default_flow_style=None, width=110)),
        "## Provenance",
        "\n".join(_origin(run, step)),
    ]
    return printable("\n\n".join(parts)) + "\n"


def _front_matter(run: Run, step: Step, form: Form, rights: Rights) -> str:
    """YAML that the hub reads: what the model is, and its scores in the form of a leaderboard."""
    from huggingface_hub import EvalResult, ModelCardData

    corpus = " and ".join(PurePath(corpus.source).name for corpus in run.corpora)
    metrics = {
        "micro F1": ("f1", step.micro),
        "macro F1": ("f1", step.macro),
        "micro precision": ("precision", step.micro_precision),
        "micro recall": ("recall", step.micro_recall),
    }
    results = [
        EvalResult(
            task_type="token-classification",
            dataset_type=re.sub("[^a-z0-9]+", "-", corpus.lower()).strip("-") or "corpus",
            dataset_name=corpus,
            dataset_split="test",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value / 100, 4),
        )
        for name, (kind, value) in metrics.items()
    ]
    data = ModelCardData(
        library_name="transformers" if form == "pipeline" else "raycner",
        pipeline_tag="token-classification",
        tags=["named-entity-recognition", "continual-learning", "raycner"],
        license=rights.license or None,
        language=list(rights.languages) or None,
        base_model=_hub_id(run.config),
        model_name=run.label,
        eval_results=results,
    )
    return str(data.to_yaml())


def _hub_id(config: Mapping[str, Any]) -> str | None:
    """The hub id of the encoder; None for a folder, and for an encoder that begins from nothing."""
    path = config["model"]["encoder"].get("path")
    is_id = isinstance(path, str) and _HUB_ID.fullmatch(path) is not None and not Path(path).exists()
    return path if is_id else None


def _fenced(text: str) -> str:
    """YAML in a fence that is longer than any within."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}yaml\n{text}{fence}"


def _code(name: str) -> str:
    """A name as code, of which nothing ends it."""
    return f"`{' '.join(name.replace('`', chr(39)).split())}`"


def _origin(run: Run, step: Step) -> Iterator[str]:
    steps = f"step {step.index + 1} of {len(run.plan)}"
    yield f"- run {_code(run.run)}, {steps}, fingerprint `{step.fingerprint}`"
    for corpus in run.corpora:
        yield f"- corpus {_code(PurePath(corpus.source).name)}, fingerprint `{corpus.fingerprint}`"
        yield from (f"  - {escape(note)}" for note in corpus.notes)
    trained = f"{step.sentences} training sentences in this step; the weights are those of epoch {step.best_epoch + 1}"
    yield f"- {trained if step.epochs else 'adopted: trained elsewhere, or by another run'}"
    yield f"- exported by raycner {__version__}"


def _recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that determine the weights; of local paths, the last name, and of URIs neither user nor options."""
    return {key: _public(value) for key, value in config.items() if key not in ("store", "compute")}


def _public(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _public(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_public(item) for item in value]
    if not isinstance(value, str):
        return value
    return PurePath(value).name if PurePath(value).is_absolute() else shown(value)
