"""Names of version 0.1 in checkpoints, either way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.pretrain.old_checkpoints import name_in_0_1, new_name

FIXTURES = Path(__file__).parents[2] / "fixtures" / "v01"


@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
def test_every_recorded_name_comes_back(encoder: str) -> None:
    recorded = json.loads((FIXTURES / f"{encoder}.json").read_text())["encoder"]["plain"]
    assert len(recorded) >= 20
    for old, _shape in recorded:
        now = new_name(f"encoder_q.{old}", resnet=encoder == "resnet18").removeprefix("encoder_q.")
        assert now != old
        assert name_in_0_1(now) == old


def test_the_rings_place_has_the_papers_name() -> None:
    assert new_name("pointer", resnet=False) == "queue_ptr"
    assert new_name("queue", resnet=True) == "queue"


@pytest.mark.parametrize(
    "name", ["layers.0.weight", "layer_norm.weight", "layer1.weight", "layer1"]
)
def test_layers_of_ones_own_may_have_any_name(name: str) -> None:
    assert name_in_0_1(f"backbone.{name}") == f"trunk.{name}"
