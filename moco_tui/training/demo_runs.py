"""The demonstration: a small pretraining on the embedded images and a probe of it."""

from __future__ import annotations

from pathlib import Path

from engine.config.presets import preset
from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.runs import RunFolder, create
from engine.runs.unstarted import taken_back_unless_begun

PROBE = {
    "task.name": "ten",
    "label_fraction": 0.1,
    "head": "logistic",
    "supervised.epochs": 60,  # a demo is to end within minutes; its table says that they are few
}
"""Settings of the demo's probe over the defaults."""


def demo_configs(device: str | None = None) -> tuple[PretrainConfig, ProbeConfig]:
    """The settings of both runs.

    Args:
        device: where they run; None: the configuration's own choice.

    Raises:
        ConfigError: when the device is no device.
    """
    extra = {"runtime.device": device} if device else {}
    pretraining = build(PretrainConfig, {**preset("quick").values, **extra})
    return pretraining, build(ProbeConfig, {**PROBE, **extra})


def create_demo(root: Path, *, device: str | None = None) -> tuple[RunFolder, RunFolder]:
    """Makes the folders of both runs, queued; of both or of none.

    Args:
        root: the runs folder.
        device: where they run; None: the configuration's own choice.

    Returns:
        The pretraining and the probe.

    Raises:
        UserError: when a folder cannot be made or the device is no device.
    """
    config, probe_config = demo_configs(device)
    pretraining = create(root, "pretrain", config, name="demo", preset="quick")
    with taken_back_unless_begun(pretraining):
        probe = create(root, "probe", probe_config, name="demo probe", parent=pretraining.id)
    return pretraining, probe
