"""What keys and checkpoints have of settings that came later."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config.pretraining_key import model_facts, plain, pretraining_key
from engine.config.schema import DataConfig, ModelConfig, PretrainConfig
from engine.config.variants import data_key
from engine.pretrain.resume_check import config_key


def flat(source: str, size: int | None) -> dict[str, Any]:
    config = PretrainConfig(data=DataConfig(source=source, image_size=size or 0))
    found = plain(config)
    if size is None:  # as earlier versions recorded it
        del found["data.image_size"]
    return found


@pytest.mark.parametrize(("source", "own"), [("cifar10", 32), ("folder:/x", 32), ("stl10", 96)])
def test_the_own_size_named_or_not_is_the_same_pretraining(source: str, own: int) -> None:
    before = flat(source, None)
    for key in (pretraining_key, data_key):
        assert key(flat(source, 0)) == key(flat(source, own)) == key(before)
        assert key(flat(source, 64)) != key(before)
        assert key(flat(source, 64)) != key(flat(source, 80))
    assert pretraining_key(before) == _as_before(before)


def _as_before(kept: dict[str, Any]) -> str:
    """The key as version 0.1 made it, of a configuration that lacks the setting."""
    free = ("log.", "monitor.", "data.holdout", "runtime.device", "runtime.threads")
    ends = ("runtime.capture", "optim.epochs", "optim.stop_epoch")
    later = ("optim.warmup_epochs", "moco.momentum_schedule", "model.feature_side")
    named = {k: v for k, v in sorted(kept.items()) if not k.startswith(free + ends + later)}
    return json.dumps([named, [2500, 2500]], separators=(",", ":"))


def test_a_checkpoint_of_the_own_size_is_as_before_there_was_another() -> None:
    for size in (0, 32):
        config = replace(PretrainConfig(), data=DataConfig(image_size=size))
        assert "data.image_size" not in json.loads(config_key(config))
    config = replace(PretrainConfig(), data=DataConfig(image_size=64))
    assert json.loads(config_key(config))["data.image_size"] == 64


def test_a_checkpoint_names_what_its_net_has_of_later_choices() -> None:
    """Versions that have no such setting read the others."""
    usual = model_facts(ModelConfig())
    assert usual.keys() == plain(ModelConfig()).keys() - {"stem", "feature_side"}
    assert model_facts(ModelConfig(dim=7))["dim"] == 7
    later = model_facts(ModelConfig(stem="imagenet", feature_side=2))
    assert later == usual | {"stem": "imagenet", "feature_side": 2}
