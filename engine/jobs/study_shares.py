"""What each worker of a study computes with: its part of the cores, or a card of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from msgspec import Struct
from msgspec.structs import replace

from engine.config.phrases import plural
from engine.config.run_schema import RuntimeConfig
from engine.config.schema import StudyConfig
from engine.errors import ConfigError
from engine.machine.cpu_count import available_cpus
from engine.runtime.device import resolve_runtime
from engine.runtime.named_devices import check_there, named_devices
from engine.runtime.torch_cards import usable_cards


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
        ConfigError: when there are more workers than cores, or than cards, or a device that the
            study names is not there.
    """
    if config.devices:
        return shares_on(config, named_devices(config.devices))
    if config.workers == 1:
        return (Share(config.pretrain.runtime, config.probe.runtime),)
    return tuple(share_of(config, number, config.workers) for number in range(config.workers))


def shares_on(config: StudyConfig, devices: Sequence[str], beside: int = 0) -> tuple[Share, ...]:
    """The share of each worker of a list of devices.

    A worker on a card keeps one core of the processor busy, so those on the CPU divide the others.

    Args:
        config: the study.
        devices: from ``named_devices``.
        beside: workers on the CPU that are here already, which keep their part of the cores.

    Raises:
        ConfigError: when a device is not there, or there are too few cores.
    """
    for device in dict.fromkeys(devices):
        check_there(device)
    cores, on_cpu = available_cpus(), sum(device == "cpu" for device in devices)
    others = len(devices) - on_cpu

    def part(runtime: RuntimeConfig, device: str) -> RuntimeConfig:
        if device != "cpu":
            threads = runtime.threads or (1 if on_cpu else max(1, cores // len(devices)))
            return replace(runtime, device=device, threads=threads)
        sharing = on_cpu + beside
        each = runtime.threads or 1
        if sharing > 1 and sharing * each + others > cores:
            raise ConfigError(
                f"{plural(sharing, 'worker')} on the CPU with {plural(each, 'thread')} each"
                + (f", and {others} on other devices," if others else "")
                + f" are too many for {plural(cores, 'core')}; name cpu less often.",
                "devices",
            )
        if len(devices) + beside == 1:  # all cores, as a study without workers has them
            return replace(runtime, device=device)
        threads = runtime.threads or max(1, (cores - others) // sharing)
        return replace(runtime, device=device, threads=threads)

    return tuple(
        Share(part(config.pretrain.runtime, device), part(config.probe.runtime, device))
        for device in devices
    )


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
        devices=(),
    )


def on_one_device(config: StudyConfig, device: torch.device) -> StudyConfig:
    """A study that one process computes, with ``auto`` found out for all of its runs.

    Its probes share features, which lie on one card: it must not be another one each time.

    Args:
        config: of one worker.
        device: that of its pretrainings, as ``resolve_runtime`` found it.

    Raises:
        ConfigError: when a device is not there.
    """
    (share,) = shares_of(config)
    pretrain, probe = share.pretrain, share.probe
    if probe.device == "auto":
        shared = pretrain.device == "auto"
        probe = _at(probe, device if shared else resolve_runtime(probe).device)
    return with_share(config, Share(_at(pretrain, device), probe))


def _at(runtime: RuntimeConfig, device: torch.device) -> RuntimeConfig:
    if runtime.device != "auto" or device.type != "cuda":
        return runtime
    return replace(runtime, device=str(device))


def _part(runtime: RuntimeConfig, what: str, number: int, workers: int) -> RuntimeConfig:
    cores, device = available_cpus(), runtime.device
    if device == "mps":
        raise _too_many(f"{workers} workers would share one Apple GPU; only 1 can have it.")
    if ":" in device:
        raise _too_many(
            f"{what}.runtime.device is {device}, one card for {workers} workers; name cuda or auto."
        )
    cards = usable_cards() if device in ("cuda", "auto") else ()
    if cards or device == "cuda":
        if cards and workers > len(cards):  # without any, ``resolve_runtime`` says so
            noun = "card" if len(cards) == 1 else "cards"
            raise _too_many(
                f"{workers} workers need a card each, and there are {len(cards)} {noun}."
            )
        threads = runtime.threads or max(1, cores // workers)
        card = cards[number].device if cards else f"cuda:{number}"
        return replace(runtime, device=card, threads=threads)
    each = runtime.threads or 1
    if workers * each > cores:
        there = "is 1 core" if cores == 1 else f"are {cores} cores"
        part = "a thread" if each == 1 else f"{each} threads ({what}.runtime.threads)"
        raise _too_many(f"{workers} workers of {part} each are too many: there {there} for them.")
    return replace(runtime, threads=runtime.threads or cores // workers)


def _too_many(sentence: str) -> ConfigError:
    return ConfigError(f"{sentence} Give --workers a smaller number.", "workers")
