"""The kinds of run, each with the class that prepares, resumes and trains it."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.schema import KINDS, AnyConfig
from engine.jobs.job import Job
from engine.jobs.pretrain_job import PretrainJob
from engine.jobs.probe_job import ProbeJob
from engine.jobs.study_job import StudyJob

JOBS: Mapping[str, type[Job]] = {
    "pretrain": PretrainJob,
    "probe": ProbeJob,
    "study": StudyJob,
}
"""By ``Record.kind``, as ``engine.config.schema.KINDS`` has the configurations."""


def job_for(config: AnyConfig) -> type[Job]:
    """The class for runs of a configuration."""
    kind = next(kind for kind, type_ in KINDS.items() if type_ is type(config))
    return JOBS[kind]
