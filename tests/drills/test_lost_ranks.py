"""Drills of collective operations: one of two ranks is killed, or stops, and the other ends with one line.

make test-chaos
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from processes import PATIENCE
from raycner.training import ranks

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(PATIENCE)]
TIMEOUT = timedelta(seconds=10)


COLLECTIVES: dict[str, Callable[[], Any]] = {
    "all_reduce": lambda: ranks.all_reduce_sum(torch.ones(3)),
    "broadcast": lambda: ranks.broadcast_from_rank0(lambda: "a value"),
    "gather": lambda: ranks.gather([ranks.rank()], torch.device("cpu")),
    "barrier": ranks.barrier,
}


def survive(name: str, fault: signal.Signals, meeting: str, pipe: Connection) -> None:
    """Rank 1 takes part twice and is killed or stopped; rank 0 sends how it ended."""
    number = int(Path(meeting).name.rpartition("-")[2])
    dist.init_process_group("gloo", f"file://{Path(meeting).parent / 'meeting'}", TIMEOUT, 2, number)
    try:
        for turn in range(4):
            if number == 1 and turn == 2:
                os.kill(os.getpid(), fault)
            COLLECTIVES[name]()
        pipe.send("no error")
    except ranks.WorkerLost as error:
        pipe.send(str(error))


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("name", COLLECTIVES)
def test_the_other_rank_ends_with_one_line(name: str, fault: signal.Signals, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    reader, writer = spawn.Pipe(duplex=False)
    processes = [
        spawn.Process(target=survive, args=(name, fault, str(tmp_path / f"rank-{rank}"), writer)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    writer.close()
    try:
        assert reader.poll(PATIENCE / 2), "rank 0 waits for ever"
        line = reader.recv()
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert line.startswith(f"rank 0 lost another worker in {name} (") and "\n" not in line, line
