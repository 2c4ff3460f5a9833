"""A ResNet-18 under the names that others give its weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

State = dict[str, Tensor]


@functools.cache
def net(stem: str) -> nn.Module:
    """A ResNet-18 of torchvision's with statistics of batches."""
    torch.manual_seed(0)
    made: nn.Module = torchvision.models.resnet18()
    if stem == "cifar":
        made.conv1, made.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    with torch.no_grad():
        made.train()(torch.randn(8, 3, 32, 32))
    return made.eval()


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def moco(state: State) -> State:
    head = {f"fc.{n}.{part}": torch.zeros(8) for n in (0, 2) for part in ("weight", "bias")}
    body = {key: value for key, value in state.items() if not key.startswith("fc.")} | head
    return (
        prefixed("module.encoder_q.", body)
        | prefixed("module.encoder_k.", body)
        | {"module.queue": torch.zeros(8, 16), "module.queue_ptr": torch.zeros(1)}
    )


def lightly(state: State) -> State:
    theirs = nn.Sequential(*list(net("imagenet").children())[:-1])
    names = dict(zip(state, list(theirs.state_dict()), strict=False))
    body = {f"backbone.{names[key]}": value for key, value in state.items() if key in names}
    return body | {"projection_head.layers.0.weight": torch.zeros(4, 4)}


def solo_learn(state: State) -> State:
    body = {key: value for key, value in state.items() if not key.startswith("fc.")}
    return prefixed("backbone.", body) | {"projector.0.weight": torch.zeros(4, 4)}


LAYOUTS: dict[str, Callable[[State], State]] = {
    "facebookresearch/moco": moco,
    "lightly": lightly,
    "solo-learn": solo_learn,
    "torchvision or timm": dict,
    "torchvision in DataParallel": functools.partial(prefixed, "module."),
}


def timm_names() -> Iterator[str]:
    """What timm calls the weights of its resnet18 without a classifier, written down by hand.

    Its blocks have conv1, bn1, drop_block, act1, aa, conv2, bn2, act2 and downsample, of which
    activations, dropped blocks and anti-aliasing have no weights (timm/models/resnet.py).
    """
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    yield "conv1.weight"
    yield from (f"bn1.{part}" for part in norm)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            place = f"layer{stage}.{block}"
            for number in (1, 2):
                yield f"{place}.conv{number}.weight"
                yield from (f"{place}.bn{number}.{part}" for part in norm)
            if stage > 1 and block == 0:
                yield f"{place}.downsample.0.weight"
                yield from (f"{place}.downsample.1.{part}" for part in norm)


def timm(state: State) -> State:
    """As of ``num_classes=0``; the order of a ResNet's modules is the same everywhere."""
    body = [value for key, value in state.items() if not key.startswith("fc.")]
    return dict(zip(timm_names(), body, strict=True))


def in_a_file(state: State, kind: str) -> Any:
    """What the training scripts of each give to ``torch.save``."""
    if kind in ("torchvision", "timm"):
        return state
    epochs = {"epoch": 3, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}
    if kind in ("lightly", "solo-learn"):  # checkpoints of Lightning
        return {**epochs, "global_step": 40, "pytorch-lightning_version": "2.4.0", "loops": {}}
    return {**epochs, "arch": "resnet18"}


FILES: dict[str, Callable[[State], State]] = {
    "facebookresearch/moco": moco,
    "lightly": lightly,
    "solo-learn": solo_learn,
    "DataParallel": functools.partial(prefixed, "module."),
    "torchvision": dict,
    "timm": timm,
}
"""By whoever writes such a file, the names in it."""
