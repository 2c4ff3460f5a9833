"""A linear layer trained by SGD on augmented images: the ``linear`` head of a probe.

The protocol is that of He et al., arXiv:1911.05722, section 4.1: frozen features, cross-entropy
on the logits, SGD with momentum 0.9, no weight decay, random resized crop and flip. Two things
differ. The features are standardised, so the learning rates are ordinary ones (the paper needed
30). And the features of a number of augmented views of each image are computed once and cached;
epochs cycle through them, which costs ``views`` passes through the encoder in place of one for
each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.augment.augmenter import Augmenter
from engine.config.augment.blur import BlurConfig
from engine.config.augment.color_jitter import ColorJitterConfig
from engine.config.augment.crop import CropConfig
from engine.config.augment.flip import FlipConfig
from engine.config.augment.rotation import RotationConfig
from engine.config.schema import AugmentConfig, LinearConfig
from engine.evaluate.features import Standardiser
from engine.seeds import stream
from engine.sink import NullSink, Sink, check_interrupt

MOMENTUM = 0.9
CACHE_BYTES = 1 << 30
"""Most that the cached views may take; fewer views are made where they would take more."""

LIGHT_AUGMENT = AugmentConfig(
    crop=CropConfig(scale_min=0.2),
    rotation=RotationConfig(enabled=False),
    flip=FlipConfig(enabled=True),
    blur=BlurConfig(enabled=False),
    color_jitter=ColorJitterConfig(enabled=False),
)
"""Random resized crop of 0.2 to 1 of the area and a horizontal flip, as in the paper."""

_PASS = 512  # images augmented at a time: a slow encoder hears a stop within seconds
_DRAWN = 4096  # images drawn for at a time


def affordable_views(views: int, images: int, width: int) -> int:
    """``views``, or as many as the cache holds for so many images and features; at least 1."""
    return max(1, min(views, CACHE_BYTES // (4 * images * width)))


@torch.no_grad()
def augmented_features(
    embed: Callable[[Tensor], Tensor],
    images: Tensor,
    rows: Tensor,
    *,
    views: int,
    seed: int,
    device: torch.device | None = None,
    augment: AugmentConfig = LIGHT_AUGMENT,
    sink: Sink | None = None,
) -> Tensor:
    """Features of several augmented views of some images.

    A view is drawn for every image, whichever are asked for: an image looks the same in every
    labelled part that it belongs to, so that parts can share the features.

    Args:
        embed: float32 images (n, 3, 32, 32) in [0, 1] to features (n, D).
        images: uint8 (N, 3, 32, 32).
        rows: int64 (m,), ascending: the images to make views of.
        views: views of each image.
        seed: of the augmentations.
        device: where to augment; None: where the images are. The draws are the same everywhere.
        augment: which augmentations.
        sink: hears the progress and is looked at between the parts.

    Returns:
        float32 (views, m, D), on the features' device.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    augmenter = Augmenter(augment, size=images.shape[-1])
    device = images.device if device is None else device
    generator = stream(seed, "views")
    out: Tensor | None = None
    for view in range(views):
        done = 0
        for begin in range(0, len(images), _DRAWN):
            count = min(_DRAWN, len(images) - begin)
            params = augmenter.random_params(count, generator, device)
            here = rows[(rows >= begin) & (rows < begin + count)]
            for part in torch.split(here, _PASS):
                check_interrupt(sink)
                batch = images[part].to(device)
                features = embed(augmenter.apply(batch, params.take((part - begin).to(device))))
                if out is None:
                    out = features.new_empty(views, len(rows), features.shape[1])
                out[view, done : done + len(part)] = features
                done += len(part)
                sink.progress("augmented features", view * len(rows) + done, views * len(rows))
    assert out is not None
    return out


@dataclass(frozen=True)
class Views:
    """Features of augmented views of labelled images, standardised as they are asked for.

    They are kept as they came: labelled parts that overlap can share them.

    Attributes:
        features: float32 (V, N, D).
        rows: int64 (n,), where the labelled images stand among the N.
        mean, inverse: float32 (D,), what is taken away and what the rest is multiplied by.
    """

    features: Tensor
    rows: Tensor
    mean: Tensor
    inverse: Tensor

    @classmethod
    def standardised(cls, features: Tensor, rows: Tensor, standardise: Standardiser) -> Views:
        """Views that are standardised like the images themselves."""
        mean, inverse = standardise.mean.to(features), standardise.scale.reciprocal().to(features)
        return cls(features, rows.to(features.device), mean, inverse)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.features.device

    @property
    def width(self) -> int:
        """Features of an image, D."""
        return self.features.shape[2]

    def batch(self, view: int, images: Tensor) -> Tensor:
        """float32 (m, D) of the labelled images (m,), numbered from 0 to n - 1."""
        return self.features[view, self.rows[images]].sub_(self.mean).mul_(self.inverse)


@dataclass(frozen=True)
class Layers:
    """``L`` linear layers that were trained side by side.

    Attributes:
        weight: float32 (L, C, D).
        bias: float32 (L, C).
        losses: mean training loss of each layer in the last epoch.
    """

    weight: Tensor
    bias: Tensor
    losses: tuple[float, ...]

    def logits(self, features: Tensor) -> Tensor:
        """Scores (L, N, C) of features (N, D)."""
        return features @ self.weight.transpose(1, 2) + self.bias.unsqueeze(1)


@torch.no_grad()
def train_layers(
    views: Views,
    targets: Tensor,
    classes: int,
    *,
    lrs: Sequence[float],
    rows: Tensor,
    epochs: int,
    batch_size: int,
    weight_decay: float,
    seed: int,
    sink: Sink | None = None,
    after_epoch: Callable[[int, Layers], None] = lambda _epoch, _layers: None,
) -> Layers:
    """Trains one layer for each learning rate, all on the same batches.

    From zero weights; the learning rate falls to zero as a cosine over the steps; the last batch
    of an epoch may be smaller. Every step is that of ``torch.optim.SGD`` on the mean
    cross-entropy of its batch.

    Args:
        views: V of each of n images; epoch ``e`` (from 0) uses view ``e % V``.
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        lrs: learning rates at the start.
        rows: int64 (m,), which of the n images to train on.
        epochs: passes over these images.
        batch_size: images in a step.
        weight_decay: of weights and biases.
        seed: of the order of the images.
        sink: looked at once a step.
        after_epoch: called with the number of epochs done and the layers so far.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    device, width, count = views.device, views.width, len(lrs)
    generator = stream(seed, "order")
    targets, rows = targets.to(device), rows.to(device)
    rate = torch.tensor(lrs, device=device).repeat_interleave(classes)  # (L * C,)
    weight = torch.zeros(width, count * classes, device=device)
    bias = torch.zeros(count * classes, device=device)
    weight_speed, bias_speed = torch.zeros_like(weight), torch.zeros_like(bias)
    steps = epochs * math.ceil(len(rows) / batch_size)
    done = 0
    layers = _layers(weight, bias, count, ())
    for epoch in range(epochs):
        order = rows[torch.randperm(len(rows), generator=generator).to(device)]
        losses = torch.zeros(count, dtype=torch.float64, device=device)
        for begin in range(0, len(order), batch_size):
            check_interrupt(sink)
            batch = order[begin : begin + batch_size]
            x, y = views.batch(epoch % len(views), batch), targets[batch]
            y = y.view(-1, 1, 1).expand(-1, count, 1)
            scores = (x @ weight + bias).view(-1, count, classes)  # (m, L, C)
            scores -= scores.logsumexp(dim=2, keepdim=True)
            losses -= scores.gather(2, y).sum((0, 2), dtype=torch.float64)
            slope = scores.exp_().scatter_add_(2, y, scores.new_full(y.shape, -1.0))
            slope = slope.view(-1, count * classes).div_(len(batch))
            weight_speed.mul_(MOMENTUM).add_(x.T @ slope)
            bias_speed.mul_(MOMENTUM).add_(slope.sum(0))
            if weight_decay:
                weight_speed.add_(weight, alpha=weight_decay)
                bias_speed.add_(bias, alpha=weight_decay)
            now = rate * (0.5 * (1.0 + math.cos(math.pi * done / steps)))
            weight.addcmul_(weight_speed, now, value=-1.0)
            bias.addcmul_(bias_speed, now, value=-1.0)
            done += 1
        layers = _layers(weight, bias, count, tuple((losses / len(order)).tolist()))
        after_epoch(epoch + 1, layers)
    return layers


def _layers(weight: Tensor, bias: Tensor, count: int, losses: tuple[float, ...]) -> Layers:
    """The layers in the usual layout; a copy of the weights."""
    by_layer = weight.view(weight.shape[0], count, -1).permute(1, 2, 0).contiguous()
    return Layers(by_layer, bias.view(count, -1).clone(), losses)


@dataclass(frozen=True)
class LinearFit:
    """A linear head with its learning rate chosen.

    Attributes:
        layers: one layer, trained on the whole labelled part.
        lr: its learning rate.
        candidates: for each rate, ascending: ``lr``, ``loss`` and ``top1`` (percent) on the
            validation images after the last epoch; empty when nothing could be chosen.
    """

    layers: Layers
    lr: float
    candidates: tuple[dict[str, Any], ...]

    @property
    def at_edge(self) -> bool:
        """Whether the lowest or the highest of several rates won."""
        rates = [candidate["lr"] for candidate in self.candidates]
        return len(rates) > 1 and self.lr in (rates[0], rates[-1])

    def predict(self, features: Tensor) -> Tensor:
        """Classes int64 (N,) of standardised features (N, D)."""
        return self.layers.logits(features)[0].argmax(dim=1)


def fit_linear(
    views: Views,
    features: Tensor,
    targets: Tensor,
    classes: int,
    config: LinearConfig,
    *,
    fit: Tensor,
    validate: Tensor,
    seed: int,
    sink: Sink | None = None,
    report: Callable[[dict[str, float]], None] = lambda _values: None,
) -> LinearFit:
    """Chooses the learning rate inside the labelled part, then trains on the whole of it.

    The rate with the lowest cross-entropy on the (un-augmented) validation images after the last
    epoch wins, not that of the best epoch.

    Args:
        views: of the n labelled images, standardised like ``features``.
        features: float32 (n, D), of the images themselves, standardised.
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        config: the rates and the epochs.
        fit: rows to train on while choosing.
        validate: rows to choose by; none: the middle rate is taken.
        seed: of the order of the images.
        sink: looked at once a step.
        report: hears, after each epoch, ``validation_loss`` and ``validation_top1`` of the best
            rate so far while choosing, ``loss`` afterwards.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    device = views.device
    targets, rates = targets.to(device), sorted(set(config.lr))
    candidates: list[dict[str, Any]] = []

    def judge(layers: Layers) -> list[dict[str, Any]]:
        scores = layers.logits(features[validate.to(device)]).double()
        truth = targets[validate.to(device)]
        return [
            {
                "lr": lr,
                "loss": float(F.cross_entropy(own, truth)),
                "top1": 100.0 * float((own.argmax(1) == truth).double().mean()),
            }
            for lr, own in zip(rates, scores, strict=True)
        ]

    def judged(_epoch: int, layers: Layers) -> None:
        candidates[:] = judge(layers)
        best = candidates[_lowest(candidates)]
        report({"validation_loss": best["loss"], "validation_top1": best["top1"]})

    def trained(_epoch: int, layers: Layers) -> None:
        report({"loss": layers.losses[0]})

    def train(lrs: Sequence[float], rows: Tensor, after: Callable[[int, Layers], None]) -> Layers:
        return train_layers(
            views,
            targets,
            classes,
            lrs=lrs,
            rows=rows,
            epochs=config.epochs,
            batch_size=config.batch_size,
            weight_decay=config.weight_decay,
            seed=seed,
            sink=sink,
            after_epoch=after,
        )

    chosen = len(rates) // 2
    if len(validate) and len(rates) > 1:
        train(rates, fit, judged)
        chosen = _lowest(candidates)
    layers = train([rates[chosen]], torch.arange(len(targets)), trained)
    return LinearFit(layers, rates[chosen], tuple(candidates))


def _lowest(candidates: Sequence[dict[str, Any]]) -> int:
    """The candidate of the lowest loss that is a number; of equal ones the first."""
    losses = [c["loss"] if math.isfinite(c["loss"]) else math.inf for c in candidates]
    return losses.index(min(losses))
