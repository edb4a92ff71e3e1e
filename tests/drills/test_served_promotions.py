"""Ray Serve under load: no request is dropped, no answer is wrong, while steps are promoted and a replica is killed."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

import raycner
from fixtures_tiny import spoken

pytestmark = [pytest.mark.chaos, pytest.mark.ray]
pytest.importorskip("ray.serve", reason="the extra `serve` is not installed")
TEXTS = [" ".join(words).replace(" .", ".") for words, _ in spoken(10, 9)]
Entities = list[list[tuple[int, int, str]]]


@pytest.fixture
def store(trained: str, tmp_path: Path) -> str:
    copy = str(shutil.copytree(trained, tmp_path / "store"))
    raycner.promote("columns:2", "production", store=copy)
    return copy


@pytest.fixture
def by_model(store: str) -> dict[str, Entities]:
    """The entities of the texts, by the end of the step's address."""
    run = raycner.load_run("columns", store=store)
    predicted = {f":{step}": run.predictor(step).text(TEXTS) for step in (2, 3)}
    return {model: [[(e.start, e.end, e.type) for e in row] for row in rows] for model, rows in predicted.items()}


@pytest.fixture
def served(store: str) -> Iterator[str]:
    with raycner.serve("production", store=store, port=8765, token="secret", replicas=2) as server:
        yield server.url


def ask(url: str, texts: list[str], token: str = "secret") -> list[dict[str, Any]]:
    body = json.dumps({"texts": texts}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with urlopen(Request(f"{url}/predict", body, headers), timeout=60) as answer:
        answers: list[dict[str, Any]] = json.load(answer)["answers"]
        return answers


def entities(answers: list[dict[str, Any]]) -> Entities:
    return [[(e["start"], e["end"], e["type"]) for e in answer["entities"]] for answer in answers]


def replicas() -> list[int]:
    """The processes of the replicas."""
    names = {path.parent.name: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_ours(path)}
    return [int(pid) for pid, name in names.items() if name.startswith(b"ray::ServeReplica:raycner")]


def _is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.getuid() and bool(path.read_bytes())
    except OSError:
        return False


def wait_for(url: str, step: int) -> None:
    """Until both replicas answer by this step."""
    in_a_row = 0
    while in_a_row < 20:
        in_a_row = in_a_row + 1 if ask(url, ["Ada"])[0]["model"].endswith(f":{step}") else 0
        time.sleep(0.05)


def test_promotions_and_a_killed_replica(store: str, served: str, by_model: dict[str, Entities]) -> None:
    ended = threading.Event()
    wrong: list[object] = []

    def client() -> int:
        number = 0
        while not ended.is_set():
            for attempt in range(3):  # a replica that dies takes the requests with it that it is answering
                try:
                    answers = ask(served, TEXTS)
                    break
                except (HTTPError, URLError, OSError) as error:
                    if attempt == 2:
                        wrong.append(error)
            else:
                continue
            (model,) = {answer["model"][-2:] for answer in answers}
            if entities(answers) != by_model[model]:
                wrong.append(answers)
            number += 1
        return number

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(client) for _ in range(4)]
        raycner.promote("columns:3", "production", store=store)
        wait_for(served, 3)
        victim, *_ = replicas()
        os.kill(victim, signal.SIGKILL)
        raycner.rollback("production", store=store)
        wait_for(served, 2)
        ended.set()
    assert not wrong and all(future.result() > 0 for future in asking)
    with pytest.raises(HTTPError, match="401"):
        ask(served, ["Ada"], token="wrong")
