"""The model card of an exported step: what it finds and how well, how it is used, and where it comes from."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePath
from typing import Any, Literal

import yaml

from raycner.analysis.formatting import figure
from raycner.analysis.scores import Run

Form = Literal["pipeline", "predictor"]
"""What loads the folder: transformers.pipeline, or raycner.Predictor."""

_PIPELINE = """\
```python
from transformers import pipeline

find = pipeline("token-classification", model="THIS_FOLDER", aggregation_strategy="first")
find("Anna flew to Oslo.")
```

The first piece of a word speaks for the word, so `aggregation_strategy` is to be `first`; each word was cut into
pieces on its own. Text is cut into words as BERT does, punctuation marks by themselves. With a tokenizer that does not
part words so (byte-level BPE), give a list of words, and `is_split_into_words=True`. raycner cuts text into sentences
first: give one at a time to find the same. A score is the mean over an entity's words, where raycner's confidence is
that of the least sure word."""
_PREDICTOR = """\
```python
from raycner import Predictor

predictor = Predictor.load("THIS_FOLDER")
predictor.text(["Anna flew to Oslo."])
```

This network is none that `transformers.pipeline` knows; raycner reads it."""


def card(run: Run, index: int, form: Form, notes: Sequence[str]) -> str:
    """A README.md: front matter for the Hugging Face hub, then sections for people. `notes` stand with the usage."""
    step = run["steps"][index]
    said = {
        "library_name": "transformers" if form == "pipeline" else "raycner",
        "pipeline_tag": "token-classification",
        "tags": ["named-entity-recognition", "continual-learning", "raycner"],
    }
    rows = [
        f"| {k + 1} | {kind} | {figure(step['f1'][kind])} |"
        for k, kinds in enumerate(run["plan"][: index + 1])
        for kind in kinds
    ]
    origin = [f"- run `{run['run']}`, step {index + 1} of {len(run['plan'])}, fingerprint `{step['fingerprint']}`"]
    for corpus in run["corpora"]:
        name = PurePath(corpus["source"]).name
        origin += [f"- corpus `{name}`, fingerprint `{corpus['fingerprint']}`", *(f"  - {n}" for n in corpus["notes"])]
    origin += [
        f"- {step['sentences']} training sentences in this step; epoch {step['best_epoch'] + 1} was kept",
        f"- raycner {version('raycner')}",
    ]
    parts = [
        f"---\n{yaml.safe_dump(said, sort_keys=False)}---",
        f"# {run['label']}: {len(step['f1'])} entity types after {index + 1} step{'s' * (index > 0)}",
        "A named entity recogniser that learned its types step by step.",
        "## Use",
        _PIPELINE if form == "pipeline" else _PREDICTOR,
        *notes,
        "## Scores",
        f"F1 on test after this step, in percent: micro {figure(step['micro'])}, macro {figure(step['macro'])}.",
        "\n".join(["| learned in step | type | F1 |", "|---|---|---|", *rows]),
        "## Recipe",
        f"```yaml\n{yaml.safe_dump(_recipe(run['config']), sort_keys=False, default_flow_style=None, width=110)}```",
        "## Provenance",
        "\n".join(origin),
    ]
    return "\n\n".join(parts) + "\n"


def _recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that determine what is learned; of local paths, the last name."""
    return {key: _public(value) for key, value in config.items() if key not in ("store", "compute")}


def _public(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _public(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_public(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value
