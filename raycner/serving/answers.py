"""Answers: the entities of texts, by the step that an alias names at the moment, in one process.

A promotion is picked up without a pause: the new network is loaded next to the old one and takes its place in one
assignment; questions that are being answered keep the old one. No text is ever logged or kept.
"""

import asyncio
import hashlib
import hmac
import logging
import random
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as Total

from raycner.errors import InputError
from raycner.inference.predictor import PredictedEntity, Predictor
from raycner.storage.aliases import AliasRecord, find_alias, no_alias
from raycner.storage.store import ObjectStore

log = logging.getLogger(__name__)
WAITING_COMPARISONS = 100
"""Requests that wait for the shadow at a time."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """What is served, and within which limits."""

    alias: str
    store: str
    encoder: str | None = None
    """Where the pretrained encoder lies, if it has moved."""
    shadow: str = ""
    """An alias whose step reads every text too; only the number of its disagreements is reported."""
    canary: str = ""
    """An alias whose step answers a share of the requests."""
    canary_share: float = 0.05
    token: bytes = field(default=b"", repr=False)
    """sha256 of the token that requests must bear; empty where none is required."""
    max_texts: int = 64
    """Of one request."""
    max_characters: int = 100_000
    """Of all texts of one request."""
    timeout: float = 30.0
    """Seconds after which a request is given up."""
    refresh: float = 2.0
    """Seconds between two looks at the aliases."""
    max_batch: int = 32
    """Requests that are answered together."""
    batch_wait: float = 0.005
    """Seconds that a request waits for others."""

    def __post_init__(self) -> None:
        if not 0 <= self.canary_share <= 1:
            raise InputError(f"{self.canary_share} is no share", location="--canary", hint="write --canary ALIAS=0.05")

    @staticmethod
    def digest(token: str) -> bytes:
        """What `token` holds of a token."""
        return hashlib.sha256(token.encode()).digest() if token else b""

    def admits(self, token: str) -> bool:
        """Whether a request with this token is answered."""
        return not self.token or hmac.compare_digest(self.digest(token), self.token)


class Question(NamedTuple):
    """A text, and which of the two models answers it."""

    text: str
    by_canary: bool = False


class Answer(NamedTuple):
    """The entities of a text, and RUN:STEP of the step that predicted them."""

    entities: list[PredictedEntity]
    model: str


class LoadedStep(NamedTuple):
    """A step of an alias, in memory."""

    record: AliasRecord
    predictor: Predictor


class AliasModel:
    """The step that an alias names, in memory. Raises `InputError` where there is no such alias, or no such step."""

    def __init__(self, store: ObjectStore, alias: str, encoder: str | None = None) -> None:
        self._store, self._alias, self._encoder = store, alias, encoder
        record = find_alias(store, alias)
        if record is None:
            raise no_alias(store, alias)
        self.current = self._load(record)
        self._one_at_a_time = threading.Lock()

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """The entities of texts, all by one step."""
        with self._one_at_a_time:
            record, predictor = self.current
            return [Answer(entities, record.address) for entities in predictor.text(texts)]

    def refresh(self) -> bool:
        """Load the step that the alias names now; whether it is another one. The old one answers until it is loaded."""
        record = find_alias(self._store, self._alias)
        before = self.current
        if record is None or (record.number, record.when) == (before.record.number, before.record.when):
            return False
        is_new = record.fingerprint != before.record.fingerprint
        self.current = self._load(record) if is_new else LoadedStep(record, before.predictor)
        return is_new

    def _load(self, record: AliasRecord) -> LoadedStep:
        return LoadedStep(record, Predictor.promoted(record, self._store, self._encoder))


class AnswerService:
    """Answers questions, and counts what it did. `refresh` is called now and then, by a thread or a test."""

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        store = ObjectStore(config.store)
        self.live = AliasModel(store, config.alias, config.encoder)
        self.canary = AliasModel(store, config.canary, config.encoder) if config.canary else None
        self.shadow = AliasModel(store, config.shadow, config.encoder) if config.shadow else None
        self.metrics = ServiceMetrics()
        self.metrics.served(self.live.current.record)
        self._draw = random.Random()
        self._shadows = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shadow")
        self._waiting = threading.BoundedSemaphore(WAITING_COMPARISONS)

    def questions(self, texts: Sequence[str]) -> list[Question]:
        """The questions of one request, all for the same model."""
        by_canary = self.canary is not None and self._draw.random() < self.config.canary_share
        return [Question(text, by_canary) for text in texts]

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer the questions of one request, away from the event loop."""
        return await asyncio.to_thread(self.answer, questions)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer questions, in order. Those of one model are predicted together."""
        answers: dict[int, Answer] = {}
        for model, by_canary in ((self.live, False), (self.canary, True)):
            places = [i for i, question in enumerate(questions) if question.by_canary == by_canary]
            if model is not None and places:
                answers |= dict(zip(places, model.answers([questions[i].text for i in places]), strict=True))
        ordered = [answers[i] for i in range(len(questions))]
        self.metrics.answered(ordered)
        return ordered

    def compare_later(self, texts: Sequence[str], answers: Sequence[Answer]) -> None:
        """Have the shadow read the texts too, after the request; with too many waiting, these are left out."""
        if self.shadow is None:
            return
        if not self._waiting.acquire(blocking=False):
            self.metrics.not_compared.inc(len(texts))
            return
        comparison = self._shadows.submit(self.compare_with_shadow, texts, answers)
        comparison.add_done_callback(lambda _: self._waiting.release())

    def compare_with_shadow(self, texts: Sequence[str], answers: Sequence[Answer]) -> None:
        """Count, by type, where the shadow's entities are other ones. Nothing else of the texts is kept."""
        if self.shadow is None:
            return
        for answer, other in zip(answers, self.shadow.answers(texts), strict=True):
            self.metrics.compared(answer.entities, other.entities)

    def refresh(self) -> bool:
        """Pick up promotions; whether a model is another one. A store that does not answer changes nothing."""
        changed = False
        for model in (self.live, self.canary, self.shadow):
            try:
                changed |= model is not None and model.refresh()
            except InputError as error:
                log.warning("the step in use stays: %s", error)
        self.metrics.served(self.live.current.record)
        return changed

    def refresh_forever(self, ended: threading.Event) -> None:
        """Call `refresh` until the service ends."""
        while not ended.wait(self.config.refresh):
            self.refresh()

    def health(self) -> dict[str, object]:
        """What is served, for probes."""
        record = self.live.current.record
        return {"status": "ok", "alias": record.alias, "model": record.address, "number": record.number}


class ServiceMetrics:
    """Numbers of one replica, in the text format of Prometheus."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Total("raycner_requests", "Requests to /predict", ["status"], registry=self._registry)
        self.seconds = Histogram("raycner_request_seconds", "Time of /predict", registry=self._registry)
        self.texts = Total("raycner_texts", "Texts answered", ["model"], registry=self._registry)
        self.entities = Total("raycner_entities", "Entities returned", ["type"], registry=self._registry)
        self.shadow = Total(
            "raycner_shadow_entities", "By live, shadow or both", ["type", "by"], registry=self._registry
        )
        self.not_compared = Total("raycner_not_compared", "Texts the shadow did not read", registry=self._registry)
        self.number = Gauge("raycner_alias_number", "Promotions of the alias", ["alias"], registry=self._registry)

    def answered(self, answers: Sequence[Answer]) -> None:
        for model, number in Counter(answer.model for answer in answers).items():
            self.texts.labels(model).inc(number)
        for kind, number in Counter(e.type for answer in answers for e in answer.entities).items():
            self.entities.labels(kind).inc(number)

    def compared(self, live: Sequence[PredictedEntity], shadow: Sequence[PredictedEntity]) -> None:
        ours, theirs = ({(e.start, e.end, e.type) for e in entities} for entities in (live, shadow))
        for seen_by, entities in (("both", ours & theirs), ("live", ours - theirs), ("shadow", theirs - ours)):
            for kind, number in Counter(kind for _, _, kind in entities).items():
                self.shadow.labels(kind, seen_by).inc(number)

    def served(self, record: AliasRecord) -> None:
        self.number.labels(record.alias).set(record.number)

    def text(self) -> bytes:
        return bytes(generate_latest(self._registry))
