"""Requests a second, and their times: `raycner serve` against transformers.pipeline behind the same Ray Serve.

    python tests/benchmarks/serving.py RUN STORE TEXTS --clients 1,8 --seconds 20

The step is promoted, and exported for the pipeline; both are served by one replica on the same machine, one after the
other in each round, with batches of at most 32 requests that wait 5 ms for others. Clients keep their connections, and
each asks for one sentence of TEXTS (a line each) at a time.
"""

import argparse
import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve

import raycner
from raycner.orchestration.cluster import cluster

MAX_BATCH, BATCH_WAIT = 32, 0.005
PORT = 8771


class Text(BaseModel):
    text: str


def pipeline_application(folder: str) -> Any:
    """The pipeline of a folder, in batches."""
    app = FastAPI()

    @serve.deployment(num_replicas=1, max_ongoing_requests=4 * MAX_BATCH)
    @serve.ingress(app)
    class Pipeline:
        def __init__(self) -> None:
            from transformers import pipeline

            self._pipeline = pipeline("token-classification", folder, aggregation_strategy="first")

        @app.post("/predict")
        async def predict(self, asked: Text) -> list[dict[str, Any]]:
            entities: list[dict[str, Any]] = await self._together(asked.text)
            return entities

        @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT)  # type: ignore[untyped-decorator]
        async def _together(self, texts: list[str]) -> list[list[dict[str, Any]]]:
            answers = await asyncio.to_thread(self._pipeline, texts, batch_size=MAX_BATCH)
            return [[{**e, "score": float(e["score"])} for e in entities] for entities in answers]

    return Pipeline.bind()  # type: ignore[attr-defined]


@contextmanager
def with_pipeline(folder: str) -> Iterator[str]:
    with cluster(3):
        serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config={"enable_access_log": False})
        try:
            serve.run(pipeline_application(folder), name="pipeline", route_prefix="/")
            yield f"http://127.0.0.1:{PORT}"
        finally:
            serve.shutdown()


@contextmanager
def with_raycner(store: str, encoder: str | None) -> Iterator[str]:
    with raycner.serve("benchmark", store=store, port=PORT, encoder=encoder) as server:
        yield server.url


async def load(url: str, texts: Sequence[str], clients: int, seconds: float) -> list[float]:
    """The seconds of each request of so many clients at a time."""
    times: list[float] = []
    sentences = itertools.cycle(texts)
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        ended = time.perf_counter() + seconds

        async def client() -> None:
            while (began := time.perf_counter()) < ended:
                answer = await http.post("/predict", json={"text": next(sentences)})
                answer.raise_for_status()
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(client() for _ in range(clients)))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "store", "texts"):
        parser.add_argument(name)
    parser.add_argument("--encoder")
    parser.add_argument("--clients", default="1,8")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    texts = [line for line in Path(args.texts).read_text("utf-8").splitlines() if line.strip()]
    raycner.promote(args.run, "benchmark", store=args.store, why="tests/benchmarks/serving.py")
    with tempfile.TemporaryDirectory() as place:
        folder = str(raycner.load_run(args.run, args.store).export(Path(place, "model"), encoder=args.encoder))
        for number in range(args.rounds):
            sides = {"raycner": with_raycner(args.store, args.encoder), "pipeline": with_pipeline(folder)}
            for name, served in sides.items():
                with served as url:
                    asyncio.run(load(url, texts, 4, 5))  # warm
                    for clients in map(int, args.clients.split(",")):
                        times = np.array(asyncio.run(load(url, texts, clients, args.seconds)))
                        rate, (p50, p99) = len(times) / args.seconds, np.quantile(times, [0.5, 0.99]) * 1000
                        line = f"{rate:.1f} requests/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms"
                        print(f"round {number}, {name}, {clients} clients: {line}", flush=True)


if __name__ == "__main__":
    main()
