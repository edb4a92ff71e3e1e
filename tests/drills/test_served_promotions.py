"""Ray Serve under load: no request is dropped, no answer is wrong, while steps are promoted and replicas are killed.

`RAYCNER_SERVE_MINUTES=30` kills a replica every minute for so long, with two promotions; the default kills one.
"""

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
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
MINUTES = int(os.environ.get("RAYCNER_SERVE_MINUTES", "0"))
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


def ask(url: str, texts: list[str], token: str = "secret", **more: str) -> list[dict[str, Any]]:
    body = json.dumps({"texts": texts}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **more}
    with urlopen(Request(f"{url}/predict", body, headers), timeout=60) as answer:
        answers: list[dict[str, Any]] = json.load(answer)["answers"]
        return answers


def entities(answers: list[dict[str, Any]]) -> Entities:
    return [[(e["start"], e["end"], e["type"]) for e in answer["entities"]] for answer in answers]


def replicas() -> list[int]:
    """The processes of the replicas that this process started."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_replica = (path / "cmdline").read_bytes().startswith(b"ray::ServeReplica:raycner")
            if is_replica and os.getpid() in ancestors(int(path.name)):
                pids.append(int(path.name))
        except OSError:
            continue  # it ended
    return pids


def ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
        yield pid


class Clients:
    """Clients that ask until they are ended; each request is tried three times."""

    def __init__(self, url: str, by_model: dict[str, Entities]) -> None:
        self.url, self.by_model = url, by_model
        self.ended = threading.Event()
        self.wrong: list[object] = []
        self.requests: Counter[str] = Counter()

    def run(self) -> None:
        while not self.ended.is_set():
            answers = self.answers()
            if answers is None:
                continue
            (model,) = {answer["model"][-2:] for answer in answers}
            if entities(answers) != self.by_model[model]:
                self.wrong.append(answers)
            self.requests[model] += 1

    def answers(self) -> list[dict[str, Any]] | None:
        """A replica that dies takes the requests with it that it is answering: these are asked again."""
        for attempt in range(3):
            try:
                return ask(self.url, TEXTS)
            except (HTTPError, URLError, OSError) as error:
                self.requests["asked again"] += 1
                if attempt == 2:
                    self.wrong.append(error)
                time.sleep(attempt)
        return None


def wait_for(clients: Clients, step: int) -> None:
    """Until both replicas answer by this step."""
    in_a_row = 0
    while in_a_row < 20:
        answers = clients.answers()
        in_a_row = in_a_row + 1 if answers and answers[0]["model"].endswith(f":{step}") else 0
        time.sleep(0.05)


def kill_one() -> None:
    """Kill a replica once there are two, so that another one answers."""
    while len(replicas()) < 2:
        time.sleep(0.5)
    os.kill(replicas()[0], signal.SIGKILL)


def test_promotions_and_killed_replicas(store: str, served: str, by_model: dict[str, Entities]) -> None:
    clients = Clients(served, by_model)
    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(clients.run) for _ in range(4)]
        try:
            raycner.promote("columns:3", "production", store=store)
            wait_for(clients, 3)
            kill_one()
            for minute in range(MINUTES):
                time.sleep(60)
                kill_one()
                if minute == MINUTES // 2:
                    raycner.promote("columns:2", "production", store=store)
                    wait_for(clients, 2)
                    raycner.promote("columns:3", "production", store=store)
            raycner.rollback("production", store=store)
            wait_for(clients, 2)
        finally:
            clients.ended.set()
    print(f"{MINUTES} minutes: {dict(clients.requests)}, {len(clients.wrong)} wrong or dropped")
    assert not clients.wrong and all(future.exception() is None for future in asking)
    assert clients.requests[":2"] > 0 and clients.requests[":3"] > 0
    with pytest.raises(HTTPError, match="401"):
        ask(served, ["Ada"], token="wrong")


def test_several_aliases_share_a_replica(store: str, by_model: dict[str, Entities]) -> None:
    """One of the two further aliases is in memory at a time."""
    raycner.promote("columns:3", "legal", store=store)
    raycner.promote("columns:2", "medical", store=store)
    with raycner.serve("production", also=("legal", "medical"), max_models=1, store=store, port=8766) as server:
        for _ in range(3):
            for alias, model in (("", ":2"), ("legal", ":3"), ("medical", ":2"), ("legal", ":3")):
                answers = ask(server.url, TEXTS, **({"serve_multiplexed_model_id": alias} if alias else {}))
                assert {answer["model"][-2:] for answer in answers} == {model}
                assert entities(answers) == by_model[model]
        with pytest.raises(HTTPError, match="404"):
            ask(server.url, ["Ada"], serve_multiplexed_model_id="nothing")
        raycner.promote("columns:2", "legal", store=store)
        while ask(server.url, ["Ada"], serve_multiplexed_model_id="legal")[0]["model"][-2:] != ":2":
            time.sleep(0.2)
