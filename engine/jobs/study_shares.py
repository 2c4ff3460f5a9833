"""What each worker of a study computes with: its part of the cores, or a card of its own."""

from __future__ import annotations

import torch
from msgspec import Struct
from msgspec.structs import replace

from engine.config.run_schema import RuntimeConfig
from engine.config.schema import StudyConfig
from engine.errors import ConfigError
from engine.machine.cpu_count import available_cpus


class Share(Struct, frozen=True):
    """What one worker computes with.

    Attributes:
        pretrain, probe: device and threads of its pretrainings and of its probes.
    """

    pretrain: RuntimeConfig
    probe: RuntimeConfig


def shares_of(config: StudyConfig) -> tuple[Share, ...]:
    """The share of each worker of a study; that of one alone is all there is.

    Raises:
        ConfigError: when there are more workers than cores, or than cards.
    """
    if config.workers == 1:
        return (Share(config.pretrain.runtime, config.probe.runtime),)
    return tuple(share_of(config, number, config.workers) for number in range(config.workers))


def share_of(config: StudyConfig, number: int, workers: int) -> Share:
    """The share of one worker.

    Args:
        config: the study.
        number: of the worker, from 0.
        workers: how many share this machine.

    Raises:
        ConfigError: see ``shares_of``.
    """
    return Share(
        _part(config.pretrain.runtime, "pretrain", number, workers),
        _part(config.probe.runtime, "probe", number, workers),
    )


def with_share(config: StudyConfig, share: Share) -> StudyConfig:
    """The study as one worker computes it: its results have the same keys."""
    return replace(
        config,
        pretrain=replace(config.pretrain, runtime=share.pretrain),
        probe=replace(config.probe, runtime=share.probe),
        workers=1,
    )


def _part(runtime: RuntimeConfig, what: str, number: int, workers: int) -> RuntimeConfig:
    cores, device = available_cpus(), runtime.device
    if device == "mps":
        raise _too_many(f"{workers} workers would share one Apple GPU; only 1 can have it.")
    if ":" in device:
        raise _too_many(
            f"{what}.runtime.device is {device}, one card for {workers} workers; name cuda or auto."
        )
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" or (device == "auto" and cards):
        if cards and workers > cards:  # without any, ``resolve_runtime`` says so
            noun = "card" if cards == 1 else "cards"
            raise _too_many(f"{workers} workers need a card each, and there are {cards} {noun}.")
        threads = runtime.threads or max(1, cores // workers)
        return replace(runtime, device=f"cuda:{number}", threads=threads)
    each = runtime.threads or 1
    if workers * each > cores:
        there = "is 1 core" if cores == 1 else f"are {cores} cores"
        part = "a thread" if each == 1 else f"{each} threads ({what}.runtime.threads)"
        raise _too_many(f"{workers} workers of {part} each are too many: there {there} for them.")
    return replace(runtime, threads=runtime.threads or cores // workers)


def _too_many(sentence: str) -> ConfigError:
    return ConfigError(f"{sentence} Give --workers a smaller number.", "workers")
