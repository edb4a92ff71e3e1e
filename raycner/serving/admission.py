"""Which requests are answered, and within which limits."""

import asyncio
import base64
from collections.abc import Sequence
from contextlib import suppress

from fastapi import HTTPException

from raycner.serving.answer import Answer
from raycner.serving.service import AnswerService


def token_of(authorization: str) -> str:
    """The token of a header: Bearer TOKEN, or the password of Basic, which Label Studio sends."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials
    if scheme.lower() == "basic":
        with suppress(ValueError):
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    return ""


async def answered(texts: Sequence[str], alias: str, service: AnswerService) -> list[Answer]:
    """The answers to texts by an alias, the first one if it is empty. Raises `HTTPException` for what is refused."""
    limits = service.config
    if alias and alias not in limits.aliases:
        raise HTTPException(404, "no such alias is served")
    if len(texts) > limits.max_texts:
        raise HTTPException(413, f"{len(texts)} texts; at most {limits.max_texts} in one request")
    if sum(map(len, texts)) > limits.max_characters:
        raise HTTPException(413, f"more than {limits.max_characters} characters in one request")
    try:
        async with asyncio.timeout(limits.timeout):
            answers = await service.ask(await service.questions(texts, alias))
    except TimeoutError:
        raise HTTPException(504, f"not answered within {limits.timeout:g} s") from None
    if alias in ("", limits.alias):
        service.compare_later(texts, answers)
    service.log_later(texts, answers)
    return answers
