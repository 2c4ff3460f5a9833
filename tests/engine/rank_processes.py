"""Several processes as the ranks of one run, cheaply: forks of one process that imported torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["engine.jobs.execute", "torchvision", "torch._dynamo", "moco_tui.cli.ranks"]
)
SECONDS = 60.0
"""How long the ranks may take."""


class Rank:
    """A process that does some work as one of several ranks, once it is told to."""

    def __init__(self, environment: dict[str, str], work: Callable[..., Any], args: Any) -> None:
        self._answers, theirs = _FORKS.Pipe(duplex=False)
        self.process = _FORKS.Process(target=_rank, args=(environment, work, args, theirs))
        self.process.daemon = True
        self.process.start()
        theirs.close()

    def answer(self, seconds: float = SECONDS) -> Any:
        """What the work returned; an error in it is one here."""
        if not self._answers.poll(seconds):
            raise AssertionError(f"a rank did not answer within {seconds} s")
        failed, answer = pickle.loads(self._answers.recv_bytes())
        if failed:
            raise AssertionError(f"a rank failed:\n{answer}")
        return answer

    def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(10.0)


@contextlib.contextmanager
def ranks_doing(
    world: int, work: Callable[..., Any], *args: Any, **variables: str
) -> Iterator[Sequence[Rank]]:
    """``work(*args)`` in so many processes that have the environment of torchrun.

    A single one is a process like any other, for what is to be computed alone.
    """
    port = free_port()
    ranks = [Rank(environment(rank, world, port) | variables, work, args) for rank in range(world)]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.end()


def answers_of(world: int, work: Callable[..., Any], *args: Any, **variables: str) -> list[Any]:
    """What ``work(*args)`` returns on each rank."""
    with ranks_doing(world, work, *args, **variables) as ranks:
        return [rank.answer() for rank in ranks]


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _rank(
    environment: dict[str, str], work: Callable[..., Any], args: Any, answers: Connection
) -> None:
    os.environ.update(environment)
    try:
        answer: tuple[bool, Any] = (False, work(*args))
    except BaseException:
        answer = (True, traceback.format_exc())
    # By pickle alone: multiprocessing would pass tensors as shared memory of a process that ends.
    answers.send_bytes(pickle.dumps(answer))
