"""Service: the entities of texts, by the steps that aliases name at the moment, in one process.

A promotion is picked up without a pause: the new network is loaded next to the old one and takes its place in one
assignment; questions that are being answered keep the old one. No text is logged, unless `text_log` asks for it.
"""

import asyncio
import hashlib
import hmac
import logging
import random
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as Total

from raycner.errors import InputError
from raycner.inference.predictor import PredictedEntity, Predictor
from raycner.serving.answer import Answer
from raycner.serving.text_log import TextLog
from raycner.storage.aliases import AliasRecord, find_alias, no_alias
from raycner.storage.store import ObjectStore

log = logging.getLogger(__name__)
WAITING_COMPARISONS = 100
"""Requests that wait for the shadow at a time."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """What is served, and within which limits."""

    alias: str
    """What answers a request that names none."""
    store: str
    encoder: str | None = None
    """Where the pretrained encoder lies, if it has moved."""
    others: tuple[str, ...] = ()
    """Further aliases, each for the requests that name it."""
    max_models: int = 0
    """Of these, so many are in the memory of a replica, the least recently used one making way; 0: all."""
    shadow: str = ""
    """An alias whose step reads every text too; only the number of its disagreements is reported."""
    text_log: str = ""
    """A folder in which every text is logged with its entities; empty, as by default: none is."""
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

    @property
    def aliases(self) -> tuple[str, ...]:
        """All that requests may name."""
        return (self.alias, *self.others)

    @staticmethod
    def digest(token: str) -> bytes:
        """What `token` holds of a token."""
        return hashlib.sha256(token.encode()).digest() if token else b""

    def admits(self, token: str) -> bool:
        """Whether a request with this token is answered."""
        return not self.token or hmac.compare_digest(self.digest(token), self.token)


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


class Question(NamedTuple):
    """A text, and what answers it."""

    text: str
    model: AliasModel


class AnswerService:
    """Answers questions, and counts what it did. `refresh` is called now and then, by a thread or a test."""

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        self._store = ObjectStore(config.store)
        self._in_memory: weakref.WeakSet[AliasModel] = weakref.WeakSet()
        self._others: dict[str, AliasModel] = {}
        self.live = self._load(config.alias)
        self.canary = self._load(config.canary) if config.canary else None
        self.shadow = self._load(config.shadow) if config.shadow else None
        self.metrics = ServiceMetrics()
        self.metrics.served(self.live.current.record)
        self.text_log = TextLog(config.text_log) if config.text_log else None
        self._draw = random.Random()
        self._afterwards = ThreadPoolExecutor(max_workers=1, thread_name_prefix="afterwards")
        self._waiting = threading.BoundedSemaphore(WAITING_COMPARISONS)

    async def model(self, alias: str) -> AliasModel:
        """What answers requests that name an alias of the configuration; it is loaded when it is first asked for."""
        if alias == self.config.alias:
            return self.live
        if alias not in self._others:
            self._others[alias] = await asyncio.to_thread(self._load, alias)
        return self._others[alias]

    def _load(self, alias: str) -> AliasModel:
        model = AliasModel(self._store, alias, self.config.encoder)
        self._in_memory.add(model)
        return model

    async def questions(self, texts: Sequence[str], alias: str = "") -> list[Question]:
        """The questions of one request, all for the same model."""
        model = await self.model(alias or self.config.alias)
        if model is self.live and self.canary is not None and self._draw.random() < self.config.canary_share:
            model = self.canary
        return [Question(text, model) for text in texts]

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer the questions of one request, away from the event loop."""
        return await asyncio.to_thread(self.answer, questions)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer questions, in order. Those of one model are predicted together."""
        answers: dict[int, Answer] = {}
        for model in {question.model for question in questions}:
            places = [i for i, question in enumerate(questions) if question.model is model]
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
        comparison = self._afterwards.submit(self.compare_with_shadow, texts, answers)
        comparison.add_done_callback(lambda _: self._waiting.release())

    def log_later(self, texts: Sequence[str], answers: Sequence[Answer]) -> None:
        """Log texts with their entities, after the request, where the configuration asks for it."""
        if self.text_log is not None:
            self._afterwards.submit(self.text_log.write, texts, answers)

    def compare_with_shadow(self, texts: Sequence[str], answers: Sequence[Answer]) -> None:
        """Count, by type, where the shadow's entities are other ones. Nothing else of the texts is kept."""
        if self.shadow is None:
            return
        for answer, other in zip(answers, self.shadow.answers(texts), strict=True):
            self.metrics.compared(answer.entities, other.entities)

    def refresh(self) -> bool:
        """Pick up promotions; whether a model is another one. A store that does not answer changes nothing."""
        changed = False
        for model in list(self._in_memory):
            try:
                changed |= model.refresh()
            except InputError as error:
                log.warning("the step in use stays: %s", error)
            self.metrics.served(model.current.record)
        return changed

    def refresh_forever(self, ended: threading.Event) -> None:
        """Call `refresh` until the service ends."""
        while not ended.wait(self.config.refresh):
            self.refresh()

    def health(self) -> dict[str, object]:
        """What is served, for probes."""
        record = self.live.current.record
        alias = {"alias": record.alias, "aliases": list(self.config.aliases)}
        return {"status": "ok", **alias, "model": record.address, "number": record.number}


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
