"""Which images a probe is on."""

from __future__ import annotations

import pytest

from engine.config.probe_data import probed_data, without_own_data
from engine.config.resolve import build
from engine.config.schema import DataConfig, PretrainConfig, ProbeConfig, StudyConfig
from engine.errors import ConfigError


def test_it_is_on_those_of_the_pretraining_or_on_all_of_another_set() -> None:
    own = DataConfig(source="shapes", limit=100, holdout=0.2)
    assert probed_data(build(ProbeConfig, {}), own) == own
    assert probed_data(build(ProbeConfig, {"data.source": "shapes"}), own) == own
    other = probed_data(build(ProbeConfig, {"data.source": "folder:/x"}), own)
    # of the size that the encoder was trained on, whatever the other set's own is
    assert other == DataConfig(source="folder:/x", limit=0, holdout=0.2, image_size=32)
    large = DataConfig(source="shapes", image_size=64)
    assert probed_data(build(ProbeConfig, {"data.source": "stl10"}), large).size == 64


def test_the_set_of_the_very_pretraining_is_no_transfer() -> None:
    pretraining = build(PretrainConfig, {"data.source": "folder:/x"})
    named = build(ProbeConfig, {"data.source": "folder:/x", "subset_seed": 3})
    assert without_own_data(named, pretraining) == build(ProbeConfig, {"subset_seed": 3})
    other = build(ProbeConfig, {"data.source": "folder:/y"})
    assert without_own_data(other, pretraining) == other


@pytest.mark.parametrize("source", ["imagenet", "folder:", "cifar10:x/y", " "])
def test_a_set_that_there_is_not_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"one of cifar10, .*shapes, folder:PATH"):
        build(ProbeConfig, {"data.source": source})


def test_a_study_probes_on_the_images_of_its_pretrainings() -> None:
    with pytest.raises(ConfigError, match="moco-tui probe RUN --data D"):
        build(StudyConfig, {"probe.data.source": "shapes"})
