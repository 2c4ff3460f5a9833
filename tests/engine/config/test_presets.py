"""The presets against the sources that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.fields import difference, flatten
from engine.config.presets import PRESETS, preset
from engine.config.resolve import build, resolve, to_toml
from engine.config.schema import PretrainConfig


def test_notebook_preset_has_the_notebooks_values() -> None:
    config = resolve(PretrainConfig, preset_name="notebook")
    assert config.model.encoder == "convnet"
    assert (config.model.dim, config.model.dropout, config.model.bn_splits) == (512, 0.3, 8)
    assert (config.moco.queue_size, config.moco.momentum, config.moco.temperature) == (
        4096,
        0.99,
        0.07,
    )
    assert config.moco.symmetric
    assert config.moco.shuffle_keys
    optim = config.optim
    assert (optim.lr, optim.sgd_momentum, optim.weight_decay) == (0.06, 0.9, 5e-4)
    assert (optim.batch_size, optim.epochs, optim.milestones) == (512, 2500, (120, 160))
    on = {
        name: getattr(config.augment, name).enabled
        for name in ("crop", "rotation", "blur", "color_jitter", "flip", "grayscale")
    }
    assert on == dict.fromkeys(("crop", "rotation", "blur", "color_jitter"), True) | dict.fromkeys(
        ("flip", "grayscale"), False
    )
    assert config.augment.rotation.degrees == 180.0


def test_published_recipe_has_no_blur_or_rotation() -> None:
    config = resolve(PretrainConfig, preset_name="resnet18-moco")
    assert config.model.encoder == "resnet18"
    assert (config.model.dim, config.moco.temperature, config.moco.queue_size) == (128, 0.1, 4096)
    assert config.augment.flip.enabled
    assert config.augment.grayscale.enabled
    assert not config.augment.blur.enabled
    assert not config.augment.rotation.enabled
    assert (config.optim.epochs, config.moco.symmetric) == (200, False)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_survives_toml(name: str, tmp_path: Path) -> None:
    config = build(PretrainConfig, preset(name).values)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    assert resolve(PretrainConfig, toml=path) == config
    assert difference(config, PretrainConfig()) == {
        key: value
        for key, value in preset(name).values.items()
        if value != flatten(PretrainConfig())[key]
    }
