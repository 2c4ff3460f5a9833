"""Finding and checking everything that a run needs before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config.schema import AnyConfig
from engine.jobs.job import Job, JobInputs, StudyContext
from engine.jobs.job_table import job_for
from engine.runtime.device import apply_runtime, resolve_runtime
from engine.sink import Sink


def prepare(
    config: AnyConfig,
    *,
    root: Path,
    parent: str,
    data_dir: Path,
    sink: Sink,
    checkpoint: str = "",
    start: Path | None = None,
    recorded: Mapping[str, Any] | None = None,
    study: StudyContext | None = None,
) -> Job:
    """Finds the device, the images and the encoder, and checks that they fit the configuration.

    A command calls it before it makes a run folder, so that a mistake leaves nothing behind.

    Args:
        config: what is to run.
        root: folder of the run folders.
        parent: id of the pretraining, for a probe.
        data_dir: where data sets and their caches live.
        sink: receives the progress of reading.
        checkpoint: which one of the parent, see ``Record``.
        start: the checkpoint that a pretraining goes on from, see ``JobInputs``.
        recorded: facts of an earlier part of the same run.
        study: what is loaded already, for a run of a study.

    Raises:
        UserError: one sentence on what is missing or does not fit.
    """
    job = job_for(config)
    runtime_config = job.runtime_config(config)
    runtime = resolve_runtime(runtime_config, recorded=dict(recorded or {}))
    if runtime.notice:
        sink.log(runtime.notice)
    apply_runtime(runtime, deterministic=runtime_config.deterministic)
    inputs = JobInputs(root, parent, data_dir, sink, checkpoint, start, study)
    return job.prepare(config, runtime, inputs)
