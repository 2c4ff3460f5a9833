"""A copy of an encoder that encodes beside a training, and changes nothing of it."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.dropout import Dropout
from engine.models.encoder import Encoder
from engine.models.split_batchnorm import SplitBatchNorm2d, at_least_float32
from engine.runtime.device import Runtime
from engine.seeds import default_generator


class ObservedEncoder:
    """Encodes as the step does: statistics of the batch, its BatchNorm groups, its precision.

    Buffers, generators and gradients of the source stay as they are.

    Args:
        source: an encoder of the model, in training mode.
        runtime: where it computes, and in which precision.
        dropout: whether units are dropped, where the source drops some.
    """

    def __init__(self, source: Encoder, runtime: Runtime, *, dropout: bool) -> None:
        self._source, self._runtime = source, runtime
        self._encoder = copy.deepcopy(source).requires_grad_(False)
        for module in self._encoder.modules():
            if isinstance(module, Dropout) and not dropout:
                module.p = 0.0

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the weights of the source as they are now."""
        pairs = zip(self._encoder.parameters(), self._source.parameters(), strict=True)
        own, theirs = zip(*pairs, strict=True)
        torch._foreach_copy_(list(own), list(theirs))

    @torch.no_grad()
    def embed(self, images: Tensor, *, groups: int, seed: int) -> Tensor:
        """Embeddings of unit length, ``(N, dim)`` float32 at least.

        Args:
            images: ``(N, 3, H, W)`` normalised floats on the device.
            groups: BatchNorm groups; sample n is in group n mod ``groups``.
            seed: of dropout.
        """
        for module in self._encoder.modules():
            if isinstance(module, SplitBatchNorm2d):
                module.num_splits = groups
        device = self._runtime.device
        precision = torch.autocast(
            device.type, dtype=torch.bfloat16, enabled=self._runtime.bfloat16
        )
        with default_generator(seed, device), precision:
            embeddings = self._encoder(images)
        return F.normalize(at_least_float32(embeddings), dim=1)


@torch.no_grad()
def weight_distance(a: nn.Module, b: nn.Module) -> Tensor:
    """Distance of the parameters of two nets of one kind, over the length of those of ``a``.

    Returns:
        A scalar on their device, at least 0.
    """
    first: list[Tensor] = list(a.parameters())
    second: list[Tensor] = list(b.parameters())
    distances = torch._foreach_norm(torch._foreach_sub(first, second))
    lengths = torch._foreach_norm(first)
    relative: Tensor = torch.stack(distances).norm() / torch.stack(lengths).norm()
    return relative
