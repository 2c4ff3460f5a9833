"""Starts the ranks of a run on this machine, by torch's own launcher."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, Self

import psutil
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from engine.errors import RunError, described

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""Passed on to the ranks. Batch systems warn of the time limit with SIGUSR1."""
INTERRUPTED = 130


def launch(arguments: Sequence[str], count: int) -> int:
    """Runs ``python ARGUMENTS`` as several ranks, and waits until all of them have ended.

    A signal to this process is passed on to them: rank 0 stops the run with a checkpoint. A second
    one ends them at once.

    Args:
        arguments: those of Python, such as ``-m`` and a module.
        count: of the ranks, at least 2.

    Returns:
        0, the exit code of the rank that failed (1 for one that was killed), or 130 after a signal.

    Raises:
        RunError: when they cannot be started.
    """
    found: list[int | Exception] = []

    def start() -> None:
        try:
            found.append(_launched(arguments, count))
        except Exception as error:
            found.append(error)

    # Beside the main thread the launcher leaves the signals alone: upon one it would give the ranks
    # 30 s, and upon a second one again.
    launcher = threading.Thread(target=start, name="launcher", daemon=True)
    with _quiet(), _Signals() as signals:
        launcher.start()
        while launcher.is_alive():
            launcher.join(0.2)
            signals.pass_on()
    (outcome,) = found
    if isinstance(outcome, Exception):
        words = described(outcome).splitlines()[0]
        raise RunError(f"The ranks could not be started: {words}.") from outcome
    return INTERRUPTED if signals.count else outcome


def _launched(arguments: Sequence[str], count: int) -> int:
    """The exit code of the ranks, which torch's launcher starts."""
    with tempfile.TemporaryDirectory(prefix="moco-tui-ranks-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=str(uuid.uuid4()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,  # whoever wants to go on resumes the run
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, sys.executable)(*arguments)
        except ChildFailedError as error:
            codes = [failure.exitcode for _, failure in sorted(error.failures.items())]
            return next((code for code in codes if code > 0), 1)
    return 0


class _Signals:
    """Passes signals on to the ranks, and leaves none of them behind.

    Attributes:
        count: of the signals that have come.
    """

    def __init__(self) -> None:
        self.count = 0
        self._waiting = 0  # 0: none
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # under nohup
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                child.kill()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._waiting = signal.SIGKILL if self.count > 1 else number
        self.pass_on()

    def pass_on(self) -> None:
        """Passes the last signal on, if that was not done: it may have come before the ranks."""
        ranks = psutil.Process().children()
        if not (self._waiting and ranks):
            return
        number, self._waiting = self._waiting, 0
        for rank in ranks:
            with contextlib.suppress(psutil.Error):
                rank.send_signal(number)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the launcher logs: the ranks say in a sentence what is wrong."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
