"""The HTTP interface of a service.

    POST /predict     {"text": "..."}, {"texts": [...]} or {"documents": [{"id": ..., "text": ...}]}
    GET  /healthz     what is served; needs no token
    GET  /metrics     numbers in the text format of Prometheus
    GET  /docs        this interface, as OpenAPI describes it

A service of several aliases answers by the first one, or by the alias that the header `serve_multiplexed_model_id`
names. The paths below /label-studio are the machine learning backend of Label Studio (`label_studio.py`). A request
bears `Authorization: Bearer TOKEN` if the service has one. Offsets count characters, ends exclusive.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raycner.serving import label_studio
from raycner.serving.admission import answered, token_of
from raycner.serving.answer import Answer
from raycner.serving.service import AnswerService
from raycner.version import __version__

ALIAS_HEADER = "serve_multiplexed_model_id"
"""The header by which Ray Serve sends a request to a replica that has the model in memory."""
BYTES_PER_CHARACTER = 12
"""Of a request body: JSON may write a character outside the basic plane as two escapes of six bytes."""


class Document(BaseModel):
    """A text with a name of its own."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(max_length=200)
    text: str


class Predict(BaseModel):
    """One text, several, or documents."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = None
    texts: list[str] | None = None
    documents: list[Document] | None = None


class EntityAnswer(BaseModel):
    """An entity of a text."""

    start: int
    end: int
    type: str
    confidence: float
    text: str


class TextAnswer(BaseModel):
    """The entities of one text, and RUN:STEP of the step that answered."""

    model: str
    entities: list[EntityAnswer]
    id: str | None = None


class Predicted(BaseModel):
    """The answers, in the order of the texts."""

    answers: list[TextAnswer]


def web_app(find_service: Callable[[], AnswerService]) -> FastAPI:
    """The application. `find_service` gives the service of this process."""
    app = FastAPI(title="raycner", version=__version__, description="Entities of texts.")
    app.add_middleware(BodyLimit, find_service=find_service)
    service_here = Annotated[AnswerService, Depends(find_service)]

    alias_header = Annotated[str, Header(alias=ALIAS_HEADER, convert_underscores=False)]

    def admitted(request: Request, service: service_here) -> None:
        if not service.config.admits(token_of(request.headers.get("authorization", ""))):
            raise HTTPException(401, "a token is required: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    @app.post("/predict", dependencies=[Depends(admitted)])
    async def predict(asked: Predict, service: service_here, alias: alias_header = "") -> Predicted:
        started, status = perf_counter(), 500
        try:
            answers = await _answers(asked, alias, service)
            status = 200
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            service.metrics.requests.labels(str(status)).inc()
            service.metrics.seconds.observe(perf_counter() - started)
        return answers

    @app.get("/healthz")
    async def healthz(service: service_here) -> dict[str, Any]:
        return service.health()

    @app.get("/metrics", dependencies=[Depends(admitted)])
    async def metrics(service: service_here) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    app.include_router(label_studio.routes(find_service), prefix="/label-studio", dependencies=[Depends(admitted)])

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        """Where and what, and never the input."""
        del request
        flaws = [{"loc": list(flaw["loc"]), "msg": flaw["msg"]} for flaw in error.errors()]
        return JSONResponse({"detail": flaws}, 422)

    return app


async def _answers(asked: Predict, alias: str, service: AnswerService) -> Predicted:
    texts, names = _texts(asked)
    answers = await answered(texts, alias, service)
    return Predicted(answers=[_answer(answer, name) for answer, name in zip(answers, names, strict=True)])


def _texts(asked: Predict) -> tuple[list[str], Sequence[str | None]]:
    """The texts of a request, and the names of the documents."""
    given = [part for part in (asked.text, asked.texts, asked.documents) if part is not None]
    if len(given) != 1:
        raise HTTPException(422, "write one of text, texts and documents")
    if asked.documents is not None:
        return [document.text for document in asked.documents], [document.id for document in asked.documents]
    texts = [asked.text] if asked.text is not None else list(asked.texts or ())
    return texts, [None] * len(texts)


def _answer(answer: Answer, name: str | None) -> TextAnswer:
    entities = [
        EntityAnswer(start=e.start, end=e.end, type=e.type, confidence=round(e.confidence, 4), text=e.text)
        for e in answer.entities
    ]
    return TextAnswer(model=answer.model, entities=entities, id=name)


class BodyLimit:
    """Refuses bodies that are longer than the texts of a request may be, before they are read whole."""

    def __init__(self, app: ASGIApp, find_service: Callable[[], AnswerService]) -> None:
        self._app, self._find_service = app, find_service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = BYTES_PER_CHARACTER * self._find_service().config.max_characters + 4096
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            await _refuse(send, limit)
            return
        await self._app(scope, _limited(receive, limit), send)


def _limited(receive: Receive, limit: int) -> Callable[[], Awaitable[Message]]:
    """A receiver that ends the connection after so many bytes, whatever length the header gave."""
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        return message if read <= limit else {"type": "http.disconnect"}

    return limited


async def _refuse(send: Send, limit: int) -> None:
    body = json.dumps({"detail": f"the body is longer than {limit} bytes"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
