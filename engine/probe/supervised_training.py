"""One training of a net on labelled images, and its use as a classifier."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.augment.augmenter import normalise, to_float
from engine.config.baselines import SupervisedConfig
from engine.config.data.data_set import SIZE
from engine.config.schema import ModelConfig
from engine.evaluate.modes import evaluating
from engine.evaluate.native_pass import NativePass
from engine.evaluate.random_init import set_statistics
from engine.models.encoder import build_encoder
from engine.native.library import OFF
from engine.probe.supervised_budget import SUPERVISED_MOMENTUM
from engine.runtime.parted_net import PartedNet
from engine.runtime.worker_threads import single_threaded
from engine.seeds import stream
from engine.sink import Sink, check_interrupt

MAX_SHIFT = 4
"""Pixels an image is moved by at most, in each direction."""

_CLASSIFIED_TOGETHER = 256  # images
STATISTICS_IMAGES = 2048
"""Images that BatchNorm statistics are set on, at most."""
_STATISTICS_BATCH = 512


@dataclass(frozen=True)
class SupervisedData:
    """The labelled part of a probe as images.

    Attributes:
        images: uint8 (n, 3, H, W).
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        fit: int64, rows to train on while the learning rate is chosen.
        validate: int64, rows to choose by; none: the middle rate is taken.
        mean: float32 (3,), of the channels in [0, 1].
        std: float32 (3,).
        kernels: level of the kernels in C that a CPU uses (``engine.native``), or ``off``.
        untuned: why ``validate`` is empty, for the protocol; empty where it is not.
    """

    images: Tensor
    targets: Tensor
    classes: int
    fit: Tensor
    validate: Tensor
    mean: Tensor
    std: Tensor
    kernels: str = OFF
    untuned: str = ""

    def to(self, device: torch.device) -> SupervisedData:
        """All but the rows, which stay where they are, on a device."""
        return SupervisedData(
            self.images.to(device),
            self.targets.to(device),
            self.classes,
            self.fit,
            self.validate,
            self.mean.to(device),
            self.std.to(device),
            self.kernels,
            self.untuned,
        )

    def inputs(self, images: Tensor) -> Tensor:
        """What the net sees of images uint8 (m, 3, H, W) on its device."""
        return normalise(to_float(images), self.mean, self.std)

    def native(self, net: nn.Module) -> tuple[nn.Module, nn.Module] | None:
        """Backbone and linear layer of a ``classifier``, where kernels in C take it."""
        assert isinstance(net, nn.Sequential)
        backbone, linear = net
        taken = NativePass.can_take(backbone, self.kernels, self.images.device)
        return (backbone, linear) if taken else None


@dataclass(frozen=True)
class Start:
    """Weights that a training begins with in place of random ones.

    Attributes:
        backbone: parameters and buffers of the backbone by name; copied, never written to.
        weight: float (classes, D), of the linear layer.
        bias: float (classes,).
    """

    backbone: Mapping[str, Tensor]
    weight: Tensor
    bias: Tensor

    def into(self, net: nn.Module) -> None:
        """Copies the weights into a ``classifier``."""
        assert isinstance(net, nn.Sequential)
        backbone, linear = net
        backbone.load_state_dict(self.backbone)
        linear.load_state_dict({"weight": self.weight, "bias": self.bias})


class Diverged(Exception):  # noqa: N818 - told to the caller, who tries another rate
    """The loss of a training is no longer finite."""


@dataclass(frozen=True)
class Moves:
    """How each image of a batch is moved and mirrored.

    Attributes:
        rows: int64 (N, H), which row of the image each row of the result is.
        columns: int64 (N, W), likewise.
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def draw(
        cls, n: int, height: int, width: int, generator: torch.Generator, most: int = MAX_SHIFT
    ) -> Moves:
        """Random moves of ``n`` images: by up to ``most`` pixels each way, and half are mirrored.

        What comes in at an edge is the image reflected there.

        Args:
            n: N.
            height: H, pixels.
            width: W, pixels.
            generator: a CPU generator, the only source of randomness.
            most: pixels, less than H and W.
        """
        shift = torch.randint(-most, most + 1, (2, n, 1), generator=generator)
        flip = torch.randint(2, (n, 1), generator=generator).bool()
        rows = torch.arange(height) + shift[0]
        columns = torch.arange(width) + shift[1]
        # Reflected: abs() at 0, and the same seen from the other end.
        rows = (height - 1) - ((height - 1) - rows.abs()).abs()
        columns = (width - 1) - ((width - 1) - columns.abs()).abs()
        return cls(rows, torch.where(flip, columns.flip(1), columns))

    def apply(self, images: Tensor, part: slice = slice(None)) -> Tensor:
        """The moved images ``part``: uint8 (n, 3, H, W), channels_last; one gather for all."""
        device = images.device
        moved = images.permute(0, 2, 3, 1)[
            torch.arange(len(images), device=device).view(-1, 1, 1),
            self.rows[part].to(device).unsqueeze(2),
            self.columns[part].to(device).unsqueeze(1),
        ]  # (n, H, W, 3)
        return moved.permute(0, 3, 1, 2)


def classifier(model: ModelConfig, classes: int, size: int = SIZE) -> nn.Module:
    """A backbone and a linear layer, initialised from torch's default generator.

    BatchNorm normalises over the whole batch: its groups are there against MoCo's leak and only
    add noise here.
    """
    encoder = build_encoder(msgspec.structs.replace(model, bn_splits=1), size)
    return nn.Sequential(encoder.backbone, nn.Linear(encoder.feature_dim, classes))


@torch.no_grad()
def class_scores(net: nn.Module, images: Tensor, data: SupervisedData, sink: Sink) -> Tensor:
    """Scores (N, classes) of uint8 images (N, 3, H, W), in eval mode, on the data's device."""
    device = data.images.device
    out = torch.empty(len(images), data.classes, device=device)
    if taken := data.native(net):
        options: Any = {"mean": data.mean, "std": data.std, "kernels": data.kernels}
        with NativePass(*taken, **options) as native:
            native(images, out, sink=sink)
        return out
    with evaluating(net):
        for begin in range(0, len(images), _CLASSIFIED_TOGETHER):
            check_interrupt(sink)
            rows = slice(begin, begin + _CLASSIFIED_TOGETHER)
            batch = images[rows].to(device, memory_format=torch.channels_last)
            out[rows] = net(data.inputs(batch))
    return out


def calibrate_without_dropout(
    net: nn.Module, rows: Tensor, data: SupervisedData, sink: Sink
) -> None:
    """Sets the BatchNorm statistics on up to 2,048 of the images ``rows``, without dropout.

    Those of the training do not fit the net in eval mode: a maximum over dropped and rescaled units
    is larger than one over all of them. They cost a trained ConvNet 20 points (5,000 labels of
    CIFAR-10, 14 epochs: 40 % in place of 63 %).
    """
    count = min(len(rows), STATISTICS_IMAGES)
    rows = rows[torch.arange(count) * len(rows) // count].to(data.images.device)
    batches = max(1, count // _STATISTICS_BATCH)

    def batch(i: int) -> Tensor:
        check_interrupt(sink)
        part = data.images[rows[i::batches]]
        return data.inputs(part.to(memory_format=torch.channels_last))

    taken = data.native(net)
    if taken is None:
        set_statistics(net, batch, batches)
        return
    parted = PartedNet(*taken, kernels=data.kernels, batch_size=count // batches)
    with parted, single_threaded():
        set_statistics(net, batch, batches, forward=parted.forward)


class SupervisedTraining:
    """One training of a new net on the images ``rows``.

    Whole batches only, the rest of an epoch sits out. Draws from torch's default generators
    (initialisation, dropout), so only inside ``engine.seeds.default_generator``; the order and
    the augmentation come from a stream of their own.

    Args:
        data: on the device to train on.
        model: the backbone.
        config: the weight decay.
        rows: int64 (m,).
        lr: learning rate at the start; falls to zero as a cosine over the steps.
        epochs: passes over the rows.
        batch_size: images in a step, at most m.
        seed: of order and augmentation.
        sink: asked once a step whether to stop.
        start: the first weights; None: random ones. The generators draw the same either way.
        head_lr: learning rate of the linear layer at the start; None: that of the backbone.

    Attributes:
        net: in train mode until ``train`` ends.
    """

    def __init__(
        self,
        data: SupervisedData,
        model: ModelConfig,
        config: SupervisedConfig,
        *,
        rows: Tensor,
        lr: float,
        epochs: int,
        batch_size: int,
        seed: int,
        sink: Sink,
        start: Start | None = None,
        head_lr: float | None = None,
    ) -> None:
        self.data, self.rows, self.epochs, self.batch_size = data, rows, epochs, batch_size
        self.generator, self.sink = stream(seed, "order"), sink
        self.lr, self.step, self.steps_per_epoch = lr, 0, len(rows) // batch_size
        net = classifier(model, data.classes, data.images.shape[-1])
        if start is not None:
            start.into(net)
        net = net.to(data.images.device)
        self.net = net.to(memory_format=torch.channels_last).train()
        self._parted: PartedNet | None = None  # while it trains, with kernels
        self.optimizer = torch.optim.SGD(
            self.net.parameters() if head_lr is None else self._groups(head_lr),
            lr=lr,
            momentum=SUPERVISED_MOMENTUM,
            weight_decay=config.weight_decay,
            foreach=True,
        )
        self._first_rates = [float(group["lr"]) for group in self.optimizer.param_groups]

    def _groups(self, head_lr: float) -> list[dict[str, Any]]:
        """The backbone with the rate of the optimizer, the linear layer with its own."""
        assert isinstance(self.net, nn.Sequential)
        backbone, linear = self.net
        return [
            {"params": list(backbone.parameters())},
            {"params": list(linear.parameters()), "lr": head_lr},
        ]

    def train(self) -> Iterator[float]:
        """Trains; yields the mean loss of each epoch.

        Raises:
            Diverged: when it is not finite.
            Interrupted: when the sink asked to stop.
        """
        with contextlib.ExitStack() as stack:
            if taken := self.data.native(self.net):
                self._parted = stack.enter_context(
                    PartedNet(*taken, kernels=self.data.kernels, batch_size=self.batch_size)
                )
            for _ in range(self.epochs):
                yield self._epoch()
        self.net.eval()

    def _epoch(self) -> float:
        """One epoch; returns its mean loss."""
        device = self.data.images.device
        shuffled = torch.randperm(len(self.rows), generator=self.generator)
        order = self.rows[shuffled].to(device)
        total = torch.zeros((), device=device)  # read once an epoch: reading waits for the device
        for i in range(self.steps_per_epoch):
            check_interrupt(self.sink)
            total += self._advance(order[i * self.batch_size : (i + 1) * self.batch_size])
        mean_loss = float(total) / self.steps_per_epoch
        if not math.isfinite(mean_loss):
            raise Diverged
        return mean_loss

    def _advance(self, batch: Tensor) -> Tensor:
        """One step on the images ``batch``; returns its loss."""
        done = self.step / (self.epochs * self.steps_per_epoch)
        for group, first in zip(self.optimizer.param_groups, self._first_rates, strict=True):
            group["lr"] = first * 0.5 * (1.0 + math.cos(math.pi * done))
        self.step += 1
        height, width = self.data.images.shape[-2:]
        moves = Moves.draw(len(batch), height, width, self.generator)
        if self._parted is not None:
            return self._advance_in_parts(batch, moves)
        moved = moves.apply(self.data.images[batch])
        loss = F.cross_entropy(self.net(self.data.inputs(moved)), self.data.targets[batch])
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        return loss.detach()

    def _advance_in_parts(self, batch: Tensor, moves: Moves) -> Tensor:
        assert self._parted is not None

        def inputs(part: slice) -> Tensor:
            return self.data.inputs(moves.apply(self.data.images[batch[part]], part))

        # The workers take all cores; torch's own threads would compete with them for these.
        with single_threaded():
            loss = self._parted.backward(inputs, self.data.targets[batch])
            self.optimizer.step()
        return loss
