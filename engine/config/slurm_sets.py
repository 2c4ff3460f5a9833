"""The settings of a Slurm job as they are typed beside those of a run."""

from __future__ import annotations

from collections.abc import Iterable

from engine.config.fields import flatten
from engine.config.resolve import build
from engine.config.slurm_schema import SlurmOptions, SlurmSettings
from engine.config.values import parse_sets

_PREFIX = "slurm."


def parted_sets(sets: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """``KEY=VALUE`` texts: those of a run's own settings, and those of its job."""
    texts = tuple(sets)
    of_job = tuple(text for text in texts if text.strip().startswith(_PREFIX))
    return tuple(text for text in texts if text not in of_job), of_job


def slurm_options(sets: Iterable[str], base: SlurmOptions | None = None) -> SlurmOptions:
    """The options of a job, from ``slurm.KEY=VALUE`` texts.

    Args:
        sets: the texts.
        base: what they change; None: the defaults.

    Raises:
        ConfigError: one sentence on the first that is wrong.
    """
    values = parse_sets(SlurmSettings, sets)
    if base is not None:
        values = flatten(SlurmSettings(slurm=base)) | values
    return build(SlurmSettings, values).slurm
