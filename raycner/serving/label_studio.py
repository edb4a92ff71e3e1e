"""The machine learning backend of Label Studio: the served step suggests entities in tasks.

    POST /predict   {"tasks": [{"data": {"text": ...}}], "label_config": "<View>..."}  ->  {"results": [...]}
    POST /setup     {"schema": "<View>..."}  ->  {"model_version": RUN:STEP}
    GET  /health    {"status": "UP", ...}

Label Studio connects to http://HOST:PORT/label-studio; the token is the password of its basic authentication. Nothing
is trained here: an export is taught by `raycner extend`.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, Field

from raycner.data.annotation_tools import Suggestion, label_studio_result
from raycner.data.layouts.xml_document import parse_text
from raycner.errors import InputError
from raycner.hashing import Plain
from raycner.serving.admission import answered
from raycner.serving.answer import Answer
from raycner.serving.service import AnswerService

MOST_CONFIGURATION = 1_000_000
"""Characters of a labelling interface."""


class Task(BaseModel):
    """A task of a project; other fields are ignored."""

    data: dict[str, Any]


class PredictTasks(BaseModel):
    """What Label Studio asks for tasks."""

    tasks: list[Task]
    label_config: str | None = Field(default=None, max_length=MOST_CONFIGURATION)


class Setup(BaseModel):
    """What Label Studio sends when a project is connected."""

    schema_: str | None = Field(default=None, alias="schema", max_length=MOST_CONFIGURATION)


class Interface(NamedTuple):
    """Where a labelling interface shows texts and takes entities."""

    label: str = "label"
    """The name of its Labels."""
    field: str = "text"
    """The name of its Text."""
    key: str = "text"
    """The key of the text in a task's data."""
    types: frozenset[str] = frozenset()
    """The types that it offers; empty: any."""

    @classmethod
    def of(cls, configuration: str) -> "Interface":
        """Raises `InputError` for what is not XML, and where no Labels mark a Text."""
        root = parse_text(configuration, "label_config")
        texts = {node.get("name"): node.get("value", "") for node in root.iter("Text")}
        for labels in root.iter("Labels"):
            field = labels.get("toName")
            if field in texts and texts[field].startswith("$"):
                types = frozenset(label.get("value", "") for label in labels.iter("Label"))
                return cls(labels.get("name", ""), field or "", texts[field][1:], types)
        hint = 'write <Labels name="label" toName="text"> and <Text name="text" value="$text"/>'
        raise InputError("no Labels that mark a Text", location="label_config", hint=hint)


def routes(find_service: Callable[[], AnswerService]) -> APIRouter:
    """The paths of the backend. `find_service` gives the service of this process."""
    router = APIRouter(tags=["Label Studio"])
    service_here = Annotated[AnswerService, Depends(find_service)]

    @router.post("/predict")
    async def predict(asked: PredictTasks, service: service_here) -> dict[str, Any]:
        interface = _interface(asked.label_config)
        texts = [_text(task, interface) for task in asked.tasks]
        answers = await answered(texts, "", service)
        return {"results": [_result(answer, text, interface) for answer, text in zip(answers, texts, strict=True)]}

    @router.post("/setup")
    async def setup(asked: Setup, service: service_here) -> dict[str, str]:
        _interface(asked.schema_)
        return {"model_version": service.live.current.record.address}

    @router.get("/health")
    async def health(service: service_here) -> dict[str, str]:
        model = service.live.current.record.address
        return {"status": "UP", "model_class": "raycner", "model_version": model}

    return router


def _interface(configuration: str | None) -> Interface:
    try:
        return Interface.of(configuration) if configuration else Interface()
    except InputError as error:
        raise HTTPException(422, str(error)) from None


def _text(task: Task, interface: Interface) -> str:
    text = task.data.get(interface.key)
    if not isinstance(text, str):
        raise HTTPException(422, f"a task has no text {interface.key!r} in its data")
    return text


def _result(answer: Answer, text: str, interface: Interface) -> Mapping[str, Plain]:
    suggestions = [
        Suggestion(e.start, e.end, e.type, e.confidence)
        for e in answer.entities
        if not interface.types or e.type in interface.types
    ]
    score = min((s.confidence for s in suggestions), default=1.0)
    regions = label_studio_result(suggestions, text, interface.label, interface.field)
    return {"model_version": answer.model, "score": round(score, 4), "result": regions}
