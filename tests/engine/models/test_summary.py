"""The printed summary of a network."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from engine.config.schema import ModelConfig
from engine.models.encoder import Encoder, build_encoder
from engine.models.summary import format_summary, summary


def test_summary_lists_the_notebook_s_layers_and_leaves_everything_as_it_was() -> None:
    encoder = build_encoder(ModelConfig())
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    random_state = torch.get_rng_state()
    rows = summary(encoder)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module._forward_hooks for module in encoder.modules())
    assert [(row.shape, row.parameters) for row in rows if row.parameters] == [
        ((32, 30, 30), 864),
        ((32, 30, 30), 64),
        ((64, 13, 13), 18_432),
        ((64, 13, 13), 128),
        ((128, 4, 4), 73_728),
        ((128, 4, 4), 256),
        ((512,), 262_656),
        ((512,), 356_128),
    ]
    assert [row.kind for row in rows[:5]] == [
        "Conv2d",
        "SplitBatchNorm2d",
        "Dropout",
        "MaxPool2d",
        "ReLU",
    ]
    assert [row.shape for row in rows if row.kind == "MaxPool2d"] == [
        (32, 15, 15),
        (64, 6, 6),
        (128, 2, 2),
    ]


@pytest.mark.parametrize("config", [ModelConfig(mlp_head=True), ModelConfig(encoder="resnet18")])
def test_the_total_of_the_summary_is_the_sum_of_its_rows(config: ModelConfig) -> None:
    *rows, total = summary(build_encoder(config))
    assert total.name == "total"
    assert total.parameters == sum(row.parameters for row in rows)


def test_the_summary_as_text_is_a_straight_table() -> None:
    lines = format_summary(summary(build_encoder(ModelConfig()))).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters"]
    assert lines[-1].split() == ["total", "Encoder", "512", "356,128"]
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["backbone.0", "Conv2d", "32x30x30", "864"] for line in lines)


def test_any_module_can_be_summarised() -> None:
    make = partial(nn.Conv2d, 3, 4, 3)
    encoder = Encoder(nn.Sequential(make(), nn.Flatten()), nn.Linear(4 * 6 * 6, 5), 144, 5)
    rows = summary(encoder, (3, 8, 8))
    assert [row.shape for row in rows] == [(4, 6, 6), (144,), (5,), (5,)]
