"""A worker's copy of an encoder, which takes one BatchNorm group at a time.

A copy, since a pass writes running statistics and draws from dropout's generator, which workers
must not share. Its parameters are copied from the source at each step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.convnet import ConvNet
from engine.models.convnet_pass import ConvNetPass, Room
from engine.models.dropout import Dropout
from engine.models.encoder import Encoder
from engine.models.fused_layers import fuse
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.library import OFF
from engine.pretrain.queue_loss import QueueLoss


class Statistics(NamedTuple):
    """Of one group: mean and unbiased variance, ``(C,)`` each, of every BatchNorm layer in turn."""

    means: Sequence[Tensor]
    variances: Sequence[Tensor]


class Replica(Protocol):
    """What takes groups for a worker.

    Attributes:
        encoder: the copy.
    """

    encoder: Encoder

    def draw_seeds(self, groups: int) -> list[Any]:
        """For the dropout of each group, drawn from torch's default generator."""

    def refresh(self) -> None:
        """Copy the parameters of the source, and drop the gradients of the last step."""

    def encode(self, images: Tensor) -> tuple[Tensor, Statistics]:
        """Embeddings of unit length, ``(N, dim)``, of one group, without a gradient."""

    def backward(
        self,
        images: Tensor,
        keys: Tensor,
        seed: Any,
        loss: QueueLoss,
        parts: int,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """The loss of one group of as many parts; the gradients of the parameters are added.

        ``kept``, ``(N, feature_dim)`` float32 where there is one, gets the features of the group.
        """

    def gradients(self) -> list[Tensor]:
        """Sums of the groups since ``refresh``, in dtype and layout of the source's parameters.

        Empty where there was no group.
        """


def replica(source: Encoder, dtype: torch.dtype, kernels: str, room: Room) -> Replica:
    """The copy that suits an encoder.

    Args:
        source: the encoder of the model.
        dtype: of the convolutions.
        kernels: level of the kernels, or ``off``.
        room: of the worker.
    """
    if kernels != OFF and type(source.backbone) is ConvNet and source.backbone.training:
        return PassReplica(source, dtype, kernels, room)
    return AutogradReplica(source, dtype, kernels)


def _copied(source: Encoder, dtype: torch.dtype) -> Encoder:
    encoder = copy.deepcopy(source)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.to(dtype=dtype).to(memory_format=torch.channels_last)
    return encoder


class AutogradReplica:
    """Any encoder. Its BatchNorm layers do not split, and their running statistics are those of the
    last group.

    Args:
        source: the encoder of the model.
        dtype: of the convolutions.
        kernels: as in ``replica``.
    """

    def __init__(self, source: Encoder, dtype: torch.dtype, kernels: str) -> None:
        self.generator = torch.Generator()  # of dropout
        self.source = source
        self.encoder = _copied(source, dtype)
        self.dtype = dtype
        self.norms = norms(self.encoder)
        for norm in self.norms:
            norm.num_splits, norm.momentum = 1, 1.0  # running = those of the last group
        for module in self.encoder.modules():
            if isinstance(module, Dropout):
                module.generator = self.generator
        self.parameters: list[Tensor] = list(self.encoder.parameters())
        self._gradients: list[Tensor] = []
        # Last: parameters and layers were listed in the order of the source.
        if kernels != OFF:
            self.encoder.backbone = fuse(self.encoder.backbone, kernels)

    def draw_seeds(self, groups: int) -> list[int]:
        """As in ``Replica``. Of a seed, torch's CPU generator uses 32 bits."""
        seeds: list[int] = torch.randint(0, 2**32, (groups,)).tolist()
        return seeds

    @torch.no_grad()
    def refresh(self) -> None:
        """As in ``Replica``."""
        # Also casts: the convolutions of the copy may be bfloat16.
        torch._foreach_copy_(self.parameters, list(self.source.parameters()))
        self._gradients = []

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Statistics]:
        """As in ``Replica``."""
        return self._embed(images), self._statistics()

    def backward(
        self,
        images: Tensor,
        keys: Tensor,
        seed: int,
        loss: QueueLoss,
        parts: int,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """As in ``Replica``."""
        self.generator.manual_seed(seed)
        of_group = loss.of(self._embed(images, kept), keys) / parts
        # Backward at once, while the activations of the group are in the cache.
        gradients = torch.autograd.grad(of_group, self.parameters)
        if not self._gradients:
            self._gradients = [torch.zeros_like(p) for p in self.source.parameters()]
        for total, gradient in zip(self._gradients, gradients, strict=True):
            total.add_(gradient)
        return of_group.detach(), self._statistics()

    def gradients(self) -> list[Tensor]:
        """As in ``Replica``."""
        return self._gradients

    def _embed(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        images = images.to(dtype=self.dtype, memory_format=torch.channels_last)
        features = self.encoder.features(images)
        if kept is not None:
            kept.copy_(features.detach())
        return F.normalize(self.encoder.project(features), dim=1)

    def _statistics(self) -> Statistics:
        return Statistics(
            [norm.running_mean.clone() for norm in self.norms],
            [norm.running_var.clone() for norm in self.norms],
        )


class PassReplica:
    """An encoder with a ``ConvNet``, which goes forward and backward without autograd.

    Args:
        source: the encoder of the model.
        dtype: of the convolutions.
        kernels: level of the kernels.
        room: of the worker.
    """

    def __init__(self, source: Encoder, dtype: torch.dtype, kernels: str, room: Room) -> None:
        self.source = source
        self.encoder = _copied(source, dtype)
        assert isinstance(self.encoder.backbone, ConvNet)
        self.backbone = ConvNetPass(self.encoder.backbone, kernels, dtype, room)
        self._parameters: list[Tensor] = list(self.encoder.parameters())
        head = self.encoder.projection_head
        self._head = list(head) if isinstance(head, nn.Sequential) else [head]
        self._of_head: list[Tensor] = list(head.parameters())
        self._head_gradients: list[Tensor] = []

    def draw_seeds(self, groups: int) -> list[list[int]]:
        """As in ``Replica``."""
        # Of 63 bits, since a seed that comes again drops the same units again.
        seeds = torch.empty(groups, self.backbone.places, dtype=torch.int64)
        numbers: list[list[int]] = seeds.random_(0, None).tolist()
        return numbers

    @torch.no_grad()
    def refresh(self) -> None:
        """As in ``Replica``."""
        torch._foreach_copy_(self._parameters, list(self.source.parameters()))
        self._head_gradients = []

    @torch.no_grad()
    def encode(self, images: Tensor) -> tuple[Tensor, Statistics]:
        """As in ``Replica``."""
        features, statistics = self._features(images, ())
        return F.normalize(self.encoder.projection_head(features), dim=1), statistics

    @torch.no_grad()
    def backward(
        self,
        images: Tensor,
        keys: Tensor,
        seed: Sequence[int],
        loss: QueueLoss,
        parts: int,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """As in ``Replica``."""
        features, statistics = self._features(images, seed)
        if kept is not None:
            kept.copy_(features)
        embeddings, inputs = features, []
        for layer in self._head:
            inputs.append(embeddings)
            embeddings = layer(embeddings)
        of_group, gradient = loss.with_gradient(embeddings, keys, 1.0 / parts)
        if not self._head_gradients:
            self._head_gradients = [torch.zeros_like(p) for p in self._of_head]
        place = len(self._head_gradients)
        for layer, x in zip(reversed(self._head), reversed(inputs), strict=True):
            if isinstance(layer, nn.Linear):
                place -= 2
                of_weight, of_bias = self._head_gradients[place : place + 2]
                of_weight.addmm_(gradient.T, x)
                of_bias += gradient.sum(0)
                gradient = gradient @ layer.weight
            else:  # ReLU in place: its input is its output now
                gradient = torch.where(x <= 0.0, 0.0, gradient)
        self.backbone.backward(gradient)
        return of_group, statistics

    @torch.no_grad()
    def _features(self, images: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Statistics]:
        channels = self.backbone.channels
        both = torch.empty(2, sum(channels))
        features = self.backbone.forward(images, seeds, both)
        return features.float(), Statistics(*(torch.split(row, channels) for row in both.unbind()))

    @torch.no_grad()
    def gradients(self) -> list[Tensor]:
        """As in ``Replica``."""
        if not self._head_gradients:
            return []
        found = [*self.backbone.take_gradients(), *self._head_gradients]
        parameters = list(self.source.parameters())
        return [
            g if g.stride() == p.stride() else torch.empty_like(p).copy_(g)
            for g, p in zip(found, parameters, strict=True)
        ]


def norms(encoder: Encoder) -> list[SplitBatchNorm2d]:
    """The BatchNorm layers of an encoder, in the order of its modules."""
    return [module for module in encoder.modules() if isinstance(module, SplitBatchNorm2d)]
