"""A linear layer trained by SGD on augmented images: the ``linear`` head of a probe.

The protocol is that of He et al., arXiv:1911.05722, section 4.1, with the views of
``main_lincls.py`` in facebookresearch/moco: frozen features, cross-entropy on the logits, SGD with
momentum 0.9, no weight decay, random resized crop of 0.08 to 1 of the area and flip. Two things
differ. The features are standardised, so the learning rates are ordinary ones (the paper needed
30). And the views of an image are a cached few, see ``engine.probe.augmented_views``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config.heads.linear import LinearConfig
from engine.probe.augmented_views import Views, light_augment
from engine.probe.head import HeadData
from engine.seeds import stream
from engine.sink import NullSink, Sink, check_interrupt

MOMENTUM = 0.9


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


def train_layers(
    views: Views,
    targets: Tensor,
    classes: int,
    config: LinearConfig,
    *,
    lrs: Sequence[float],
    rows: Tensor,
    seed: int,
    sink: Sink | None = None,
) -> Iterator[Layers]:
    """Trains one layer for each learning rate, all on the same batches.

    From zero weights; the learning rate falls to zero as a cosine over the steps; the last batch
    of an epoch may be smaller.

    Args:
        views: V of each of n images; epoch ``e`` (from 0) uses view ``e % V``.
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        config: epochs, batch size and weight decay (of weights and biases).
        lrs: learning rates at the start.
        rows: int64 (m,), which of the n images to train on.
        seed: of the order of the images.
        sink: asked once a step whether to stop.

    Yields:
        The layers after each epoch.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    device, count = views.device, len(lrs)
    generator = stream(seed, "order")
    targets, rows = targets.to(device), rows.to(device)
    weights = [torch.zeros(classes, views.width, device=device, requires_grad=True) for _ in lrs]
    biases = [torch.zeros(classes, device=device, requires_grad=True) for _ in lrs]
    optimizer = torch.optim.SGD(
        [
            {"params": [weight, bias], "lr": lr}
            for weight, bias, lr in zip(weights, biases, lrs, strict=True)
        ],
        momentum=MOMENTUM,
        weight_decay=config.weight_decay,
    )
    # LambdaLR multiplies the learning rate of each parameter group, so one cosine serves them all.
    steps = config.epochs * math.ceil(len(rows) / config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1.0 + math.cos(math.pi * step / steps))
    )
    for epoch in range(config.epochs):
        order = rows[torch.randperm(len(rows), generator=generator).to(device)]
        losses = torch.zeros(count, dtype=torch.float64, device=device)
        for batch in torch.split(order, config.batch_size):
            check_interrupt(sink)
            features = views.batch(epoch % len(views), batch)  # (m, D)
            # One product for all layers, which see the same batch.
            scores = F.linear(features, torch.cat(weights), torch.cat(biases))  # (m, L * C)
            per_image = F.cross_entropy(
                scores.view(-1, classes), targets[batch].repeat_interleave(count), reduction="none"
            ).view(-1, count)  # (m, L)
            optimizer.zero_grad()
            # The sum, since a layer's gradient is that of its own mean loss: no weight is in two
            # terms.
            torch.autograd.backward(per_image.mean(0).sum())
            optimizer.step()
            schedule.step()
            losses += per_image.detach().sum(0, dtype=torch.float64)
        yield Layers(
            torch.stack(weights).detach(),
            torch.stack(biases).detach(),
            tuple((losses / len(order)).tolist()),
        )


@dataclass(frozen=True)
class LinearFit:
    """A linear head with its learning rate chosen.

    Attributes:
        layers: one layer, trained on the whole labelled part.
        lr: its learning rate.
        views: augmented views of each image that it was trained on.
        candidates: for each rate, ascending: ``lr``, ``loss`` and ``top1`` (percent) on the
            validation images after the last epoch; empty when nothing could be chosen.
        untuned: why nothing was held out and tuned; empty where it was.
    """

    layers: Layers
    lr: float
    views: int
    candidates: tuple[dict[str, Any], ...]
    untuned: str = ""

    @property
    def protocol(self) -> str:
        """Why the rate was not chosen, for the row; empty where it was or where there is one."""
        fixed = f"{self.untuned}: the learning rate {self.lr:g} is fixed"
        return fixed if self.untuned else ""

    @property
    def at_edge(self) -> bool:
        """Whether the lowest or the highest of several rates won."""
        rates = [candidate["lr"] for candidate in self.candidates]
        return len(rates) > 1 and self.lr in (rates[0], rates[-1])

    @property
    def chosen(self) -> dict[str, Any]:
        """See ``FittedHead.chosen``: ``lr``, ``views``, ``at_edge``, ``candidates``."""
        return {
            "lr": self.lr,
            "views": self.views,
            "at_edge": self.at_edge,
            "candidates": list(self.candidates),
        }

    def predict(self, features: Tensor) -> Tensor:
        """Classes int64 (N,) of standardised features (N, D)."""
        return self.layers.logits(features)[0].argmax(dim=1)


class LinearHead:
    """The ``linear`` head; see ``engine.probe.head.Head``.

    Args:
        config: its settings.
    """

    def __init__(self, config: LinearConfig) -> None:
        self.config = config
        self.rates = sorted(set(config.lr))

    def reports(self, fit: int, validate: int) -> int:
        """An epoch each: of all rates together while choosing, then of the rate chosen."""
        return self.config.epochs * (2 if self._choosing(validate) else 1)

    def _choosing(self, validate: int) -> bool:
        return validate > 0 and len(self.rates) > 1

    def fit(self, data: HeadData) -> LinearFit:
        """Chooses the learning rate inside the labelled part, then trains on the whole of it.

        The rate with the lowest cross-entropy on the (un-augmented) validation images after the
        last epoch wins, not that of the best epoch; where nothing can be chosen, the middle one.

        Args:
            data: ``report`` receives, after each epoch, ``validation_loss`` and
                ``validation_top1`` of the best rate so far while choosing, ``loss`` afterwards.

        Raises:
            Interrupted: when the sink asked to stop.
        """
        views = data.views(self.config.views, light_augment(self.config.crop_min))
        candidates: list[dict[str, Any]] = []
        lr = self.rates[len(self.rates) // 2]
        if self._choosing(len(data.validate)):
            for layers in self._train(views, data, self.rates, data.fit):
                candidates = evaluate_rates(self.rates, layers, data)
                best = lowest_loss(candidates)
                lr = best["lr"]
                data.report({"validation_loss": best["loss"], "validation_top1": best["top1"]})
        else:
            data.sink.log(f"nothing to choose by: the learning rate {lr:g} is taken as it is")
        for layers in self._train(views, data, [lr], torch.arange(len(data.targets))):
            data.report({"loss": layers.losses[0]})
        fitted = LinearFit(layers, lr, len(views), tuple(candidates), data.untuned)
        if fitted.at_edge:
            data.sink.log(f"the learning rate {lr:g} is the last of those to choose from")
        return fitted

    def _train(
        self, views: Views, data: HeadData, lrs: Sequence[float], rows: Tensor
    ) -> Iterator[Layers]:
        return train_layers(
            views,
            data.targets,
            data.classes,
            self.config,
            lrs=lrs,
            rows=rows,
            seed=data.seed,
            sink=data.sink,
        )


def evaluate_rates(rates: Sequence[float], layers: Layers, data: HeadData) -> list[dict[str, Any]]:
    """``lr``, ``loss`` and ``top1`` (percent) of each layer on the validation images."""
    validate = data.validate.to(data.features.device)
    scores = layers.logits(data.features[validate]).double()  # (L, m, C)
    truth = data.targets.to(scores.device)[validate]
    return [
        {
            "lr": lr,
            "loss": float(F.cross_entropy(layer_scores, truth)),
            "top1": 100.0 * float((layer_scores.argmax(1) == truth).double().mean()),
        }
        for lr, layer_scores in zip(rates, scores, strict=True)
    ]


def lowest_loss(candidates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The candidate of the lowest loss that is a number; of equal ones the first."""
    return min(candidates, key=lambda c: c["loss"] if math.isfinite(c["loss"]) else math.inf)
