"""Starts the ranks of a run on this machine, by torch's own launcher."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import psutil
import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from engine.config.device_list import ALL
from engine.errors import ConfigError, RunError, described

_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
"""Passed on to the ranks. Batch systems warn of the time limit with SIGUSR1."""
_TO_STOP = 600  # seconds that the ranks have for a step and a checkpoint after a signal
INTERRUPTED = 130


def resolved_devices(devices: Sequence[str]) -> tuple[str, ...]:
    """Devices with ``all`` replaced by the cards that there are.

    Args:
        devices: as of ``parse_devices``.

    Raises:
        ConfigError: when one is not there.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if tuple(devices) == (ALL,):
        if not cards:
            raise ConfigError(
                "--devices all means all cards, but torch sees no CUDA device here; name "
                "processes on the CPU, such as cpu:2."
            )
        return tuple(f"cuda:{number}" for number in range(cards))
    for device in devices:
        if device != "cpu" and int(device.partition(":")[2]) >= cards:
            there = f"only cuda:0 to cuda:{cards - 1}" if cards else "no CUDA device"
            raise ConfigError(f"--devices names {device}, but torch sees {there} here.")
    return tuple(devices)


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
    # Of older versions the launcher gives 30 s, and no other number.
    known = {field.name for field in dataclasses.fields(LaunchConfig)}
    patience: dict[str, Any] = {"shutdown_timeout": _TO_STOP} if "shutdown_timeout" in known else {}
    with tempfile.TemporaryDirectory(prefix="moco-tui-ranks-") as folder, _quiet(), _ended():
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
            signals_to_handle=",".join(_handled()),
            **patience,
        )
        try:
            elastic_launch(config, sys.executable)(*arguments)
        except ChildFailedError as error:
            codes = [failure.exitcode for _, failure in sorted(error.failures.items())]
            return next((code for code in codes if code > 0), 1)
        except SignalException:
            return INTERRUPTED
        except (OSError, RuntimeError) as error:
            words = described(error).splitlines()[0]
            raise RunError(f"The ranks could not be started: {words}.") from error
    return 0


def _handled() -> list[str]:
    """The signals to pass on; one that is ignored (SIGHUP, under nohup) stays so."""
    return [name for name in _SIGNALS if signal.getsignal(signal.Signals[name]) != signal.SIG_IGN]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the launcher logs: the ranks say in a sentence what is wrong."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """Leaves no rank behind, and puts the handlers of signals back."""
    before = {name: signal.getsignal(signal.Signals[name]) for name in _SIGNALS}
    try:
        yield
    finally:
        left = psutil.Process().children()
        for child in left:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(left, timeout=5.0)
        for name, handler in before.items():
            signal.signal(signal.Signals[name], handler)
