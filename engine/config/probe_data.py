"""Which images a probe is on: those of the pretraining, or another data set (transfer)."""

from __future__ import annotations

from msgspec.structs import replace

from engine.config.schema import DataConfig, PretrainConfig, ProbeConfig


def probed_data(config: ProbeConfig, pretrained: DataConfig) -> DataConfig:
    """The images of a probe: those of the pretraining, or all of another data set.

    Whatever else the pretraining says of its images holds for the others as well.

    Args:
        config: the probe.
        pretrained: the images of the pretraining.
    """
    source = config.data.source
    if source in ("", pretrained.source):
        return pretrained
    # The encoder takes images of the size that it was trained on, whatever the other set's own is.
    return replace(pretrained, source=source, limit=0, image_size=pretrained.size)


def without_own_data(config: ProbeConfig, pretraining: PretrainConfig) -> ProbeConfig:
    """The probe without the name of the data set of the very pretraining, if it names that.

    It is no transfer, and the same probe as one that names none.
    """
    if config.data.source != pretraining.data.source:
        return config
    return replace(config, data=replace(config.data, source=""))
