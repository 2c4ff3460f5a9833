"""The dry run: what an epoch of a configuration costs here, from a few real steps."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from engine.config.schedule import trained_epochs
from engine.config.schema import PretrainConfig
from engine.jobs.job import Job
from engine.jobs.prepare import prepare
from engine.pretrain.loop import Pretraining
from engine.pretrain.online_probe import probe_beside
from engine.pretrain.step_choice import chosen_step
from engine.sink import NullSink

Beside = Callable[[Job, Pretraining], dict[str, Any]]
"""What is measured beside the steps, of the same training."""


def estimate(
    config: PretrainConfig, *, data_dir: Path, steps: int = 4, beside: Beside | None = None
) -> dict[str, Any]:
    """Times ``steps`` steps after a first one, which warms up and is not counted.

    It trains for real, so it draws from torch's default generator and sets the thread count:
    call it in a process of its own (``moco-tui _estimate`` is one).

    Args:
        config: the pretraining to estimate.
        data_dir: where data sets and their caches live.
        steps: timed steps, at least 1.
        beside: what else is measured, once the steps are timed; its facts join the others.

    Returns:
        ``seconds_per_step`` (median, with the share of the online probe),
        ``online_probe_share`` (of that time, from 0 to 1; 0 where there is none),
        ``steps_per_epoch``, ``seconds_per_epoch`` and ``seconds_total`` without kNN, measures and
        checkpoints, ``memory_bytes`` (peak of the process, or of the CUDA device), ``device``,
        ``precision``, ``fused_later`` (whether the run will have its steps compiled or compute
        them by kernels, which were timed without, and so will take less).

    Raises:
        UserError: what ``prepare`` refuses.
    """
    prepared = prepare(config, root=Path(), parent="", data_dir=data_dir, sink=NullSink())
    runtime, dataset = prepared.runtime, prepared.dataset
    steps_of_run = trained_epochs(config.optim) * (len(dataset.train) // config.optim.batch_size)
    fused = runtime.device.type == "cuda" and config.runtime.capture == "auto"
    fused = fused and chosen_step(config, steps_of_run, runtime).capture != "recorded"
    if fused:  # nobody waits for the compiler to see an estimate
        config = replace(config, runtime=replace(config.runtime, capture="recorded"))
    cuda = runtime.device.type == "cuda"
    if cuda:  # the peak of this configuration, not of one that was measured before it
        torch.cuda.reset_peak_memory_stats(runtime.device)
    # Closed at the end: a study measures one queue size after the other in one process.
    with contextlib.closing(Pretraining(config, dataset.train.images, runtime)) as training:
        probe = probe_beside(training.state, dataset)
        seconds: list[float] = []
        of_probe: list[float] = []
        for _ in range(steps + 1):
            seconds.append(seconds_of(training.advance, runtime.device))
            if probe is not None:
                of_probe.append(seconds_of(probe.update, runtime.device) / probe.every)
        more = {} if beside is None else beside(prepared, training)
    # The first update is not counted either.
    update = statistics.median(of_probe[1:] or [0.0])
    step = statistics.median(seconds[1:]) + update
    return {
        "seconds_per_step": step,
        "online_probe_share": update / step,
        "steps_per_epoch": training.steps_per_epoch,
        "seconds_per_epoch": step * training.steps_per_epoch,
        "seconds_total": step * training.steps_per_epoch * trained_epochs(config.optim),
        "memory_bytes": torch.cuda.max_memory_allocated(runtime.device)
        if cuda
        else peak_memory(os.getpid()),
        "device": runtime.name,
        "precision": "bfloat16" if runtime.bfloat16 else "float32",
        "fused_later": fused,
        **more,
    }


def knn_passes(config: PretrainConfig) -> int:
    """How often a pretraining of labelled images takes kNN: every so many epochs and at the end.

    One more where it takes any: that of the untrained encoder.
    """
    every, epochs = config.monitor.knn_every, trained_epochs(config.optim)
    return 1 + math.ceil(epochs / every) if every else 0


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of some work, until the device has done it (CUDA calls return before that)."""
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def peak_memory(pid: int) -> int:
    """The most memory that a process has held so far, in bytes; 0 where that is not known.

    Not ``ru_maxrss`` where there is better: on Linux that counts what the parent held when it
    started the process.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    if pid != os.getpid():
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, on macOS bytes
