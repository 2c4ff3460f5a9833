"""Records what the machine is doing while a run is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from engine.config.run_schema import LogConfig
from engine.config.schema import AnyConfig, PretrainConfig, StudyConfig
from engine.machine.load_reader import LoadReader
from engine.runs import RunFolder
from engine.runs.device_recorder import DeviceRecorder
from engine.runtime.device_lock import device_key


@contextlib.contextmanager
def recorded_devices(folder: RunFolder, config: AnyConfig, device: torch.device) -> Iterator[None]:
    """Records the machine and the run's own card, while the block trains the run.

    Args:
        folder: the run, which this process owns.
        config: of the run.
        device: what it computes on; asked for its name here, in the thread that trains, and never
            again.
    """
    seconds = _seconds(config)
    if not seconds:
        yield
        return
    cards = _cards(device)
    recorder = DeviceRecorder(folder.devices_path, seconds, lambda: LoadReader(cards))
    recorder.start()
    try:
        yield
    finally:
        recorder.stop()


def _seconds(config: AnyConfig) -> int:
    """Seconds between records; 0 for none."""
    if isinstance(config, StudyConfig):  # its runs have records of their own
        return 0
    # A probe has no such setting.
    return config.log.device_seconds if isinstance(config, PretrainConfig) else _DEFAULT


_DEFAULT = LogConfig().device_seconds


def _cards(device: torch.device) -> Sequence[str]:
    """The UUID of the card that a run computes on; none for a CPU."""
    return [device_key(device).removeprefix("cuda-")] if device.type == "cuda" else []
