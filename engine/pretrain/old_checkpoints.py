"""Checkpoints of earlier versions, brought up to date when they are loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from engine.config.renamed import renamed
from engine.runs.migrations import Migration

_MODULES = (
    (re.compile(r"^(encoder_[qk])\.trunk\."), r"\1.backbone."),
    (re.compile(r"^(encoder_[qk])\.head\."), r"\1.projection_head."),
    (re.compile(r"^pointer$"), "queue_ptr"),
)
"""Names in a model's state dict as they were, and as they are now."""

_RESNET_LAYER = re.compile(r"^(encoder_[qk])\.backbone\.(\d+)\.(.+)$")
# Of torchvision's ResNets; layers of the user's own may have any name.
_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")
_RESNET_STEM = {0: "conv1", 1: "bn1"}


def _from_1(state: dict[str, Any]) -> dict[str, Any]:
    """Version 0.1: other names of the modules and of some settings; nothing is computed anew."""
    if state.get("kind") == "pretrain":
        config = json.loads(state["config"])
        state["config"] = json.dumps(renamed(config), sort_keys=True)
        resnet = state["model_config"]["encoder"] == "resnet18"
        state["model"] = {
            new_name(name, resnet=resnet): value for name, value in state["model"].items()
        }
    return state


def _from_2(state: dict[str, Any]) -> dict[str, Any]:
    """The state is the same; files of schema 3 have a digest."""
    return state


def new_name(name: str, *, resnet: bool) -> str:
    """The name that an entry of a model's state dict has now, from that of version 0.1.

    Args:
        name: the old name.
        resnet: whether the encoders are ResNets, whose layers have torchvision's names now.
    """
    for old, new in _MODULES:
        name = old.sub(new, name)
    match = _RESNET_LAYER.match(name) if resnet else None
    if match is None:
        return name
    encoder, number, rest = match[1], int(match[2]), match[3]
    if number in _RESNET_STEM:
        return f"{encoder}.backbone.{_RESNET_STEM[number]}.{rest}"
    # An nn.Sequential: convolution, BatchNorm and ReLU of the stem, then two blocks a stage.
    stage, block = divmod(number - 3, 2)
    rest = rest.replace("shortcut.", "downsample.")
    return f"{encoder}.backbone.layer{stage + 1}.{block}.{rest}"


def name_in_0_1(name: str) -> str:
    """What version 0.1 called a parameter or buffer of an encoder: the opposite of ``new_name``.

    Args:
        name: its name in an ``Encoder`` of today, as in ``backbone.layer1.0.conv1.weight``.
    """
    part, *rest = name.split(".")
    if part == "projection_head":
        return ".".join(("head", *rest))
    numbers = {layer: str(number) for number, layer in _RESNET_STEM.items()}
    if rest[0] in numbers:
        rest[0] = numbers[rest[0]]
    elif block := _BLOCK.match(".".join(rest)):
        rest[:2] = [str(3 + 2 * (int(block[1]) - 1) + int(block[2]))]
    return ".".join(("trunk", *("shortcut" if layer == "downsample" else layer for layer in rest)))


MIGRATIONS: Mapping[int, Migration] = {1: _from_1, 2: _from_2}
"""For every older schema of a checkpoint the step to the next one."""
