"""The supervised baseline: the same backbone trained from scratch with the same labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.augment.augmenter import normalise, to_float
from engine.config.schema import ModelConfig, SupervisedConfig
from engine.errors import TrainingError
from engine.evaluate.features import evaluating
from engine.evaluate.random_init import set_statistics
from engine.models.encoder import build_encoder
from engine.seeds import default_generator, stream, stream_seed
from engine.sink import NullSink, Sink, check_interrupt

MOMENTUM = 0.9
SHIFT = 4
"""Pixels an image is moved by at most, in each direction."""
SELECTION_SHARE = 1 / 3
"""Length of the trainings that choose the learning rate, as a share of the last one's."""

_PASS = 256  # images classified at a time
_STATISTICS_IMAGES = 2048
_STATISTICS_BATCH = 512


@dataclass(frozen=True)
class Budget:
    """What the baseline may spend.

    Attributes:
        epochs: of the training on the whole labelled part.
        selection_epochs: of each training that chooses the learning rate; 0 where none is made.
        rates: learning rates tried.
        batch_size: images in a step.
        images: images seen by the last training.
        selection_images: images seen by all trainings that choose.
    """

    epochs: int
    selection_epochs: int
    rates: int
    batch_size: int
    images: int
    selection_images: int

    @property
    def reports(self) -> int:
        """Epochs of all trainings together."""
        return self.epochs + self.rates * self.selection_epochs

    def text(self) -> str:
        """The budget in a sentence."""
        chosen = (
            f"learning rate chosen from {self.rates} by trainings of {self.selection_epochs} "
            "epochs inside the labelled part"
            if self.selection_epochs
            else "learning rate not tuned"
        )
        return (
            f"{self.epochs} epochs ({self.images:,} images seen), batches of {self.batch_size}, "
            f"SGD with momentum {MOMENTUM:g} and cosine schedule, random shift and flip, BatchNorm "
            f"statistics set without dropout at the end; {chosen}; "
            "longer training or more tuning may score higher"
        )


def plan_budget(config: SupervisedConfig, labels: int, fit: int, validate: int) -> Budget:
    """The budget for a labelled part: its epochs, or fewer where they would see too many images.

    Args:
        config: ``epochs`` and ``max_images`` of the training on the whole labelled part.
        labels: images in the labelled part.
        fit: images to train on while choosing the learning rate.
        validate: images to choose by; 0: nothing is chosen.
    """
    epochs = max(1, min(config.epochs, config.max_images // labels))
    rates = len(set(config.lr))
    choosing = rates > 1 and validate > 0
    selection = max(1, round(epochs * SELECTION_SHARE)) if choosing else 0
    return Budget(
        epochs=epochs,
        selection_epochs=selection,
        rates=rates,
        batch_size=min(config.batch_size, fit if choosing else labels),
        images=epochs * labels,
        selection_images=rates * selection * fit,
    )


def shift_and_flip(images: Tensor, generator: torch.Generator, most: int = SHIFT) -> Tensor:
    """Moves every image by up to ``most`` pixels each way and mirrors half of them.

    What comes in at an edge is the image reflected there.

    Args:
        images: uint8 (N, 3, H, W) on any device; never written to.
        generator: a CPU generator, the only source of randomness.
        most: pixels, less than H and W.

    Returns:
        uint8 (N, 3, H, W), channels_last.
    """
    n, _, height, width = images.shape
    shift = torch.randint(-most, most + 1, (2, n, 1), generator=generator)
    flip = torch.randint(2, (n, 1), generator=generator).bool()
    rows, columns = torch.arange(height) + shift[0], torch.arange(width) + shift[1]
    rows = (height - 1) - ((height - 1) - rows.abs()).abs()
    columns = (width - 1) - ((width - 1) - columns.abs()).abs()
    columns = torch.where(flip, columns.flip(1), columns)
    device = images.device
    moved = images.permute(0, 2, 3, 1)[
        torch.arange(n, device=device).view(n, 1, 1),
        rows.to(device).unsqueeze(2),
        columns.to(device).unsqueeze(1),
    ]  # (N, H, W, 3)
    return moved.permute(0, 3, 1, 2)


class _Diverged(Exception):  # noqa: N818 - told to the caller, who tries another rate
    pass


@dataclass(frozen=True)
class SupervisedFit:
    """The trained baseline.

    Attributes:
        lr: the learning rate chosen.
        candidates: for each rate, ascending: ``lr``, and ``loss`` and ``top1`` (percent) on the
            validation images after the last epoch, or ``diverged``; empty when nothing could be
            chosen.
        budget: what was spent.
        predict: classes int64 (N,) of uint8 images (N, 3, 32, 32).
    """

    lr: float
    candidates: tuple[dict[str, Any], ...]
    budget: Budget
    predict: Callable[[Tensor], Tensor]


class _Trainer:
    """Trains nets from scratch on the labelled part."""

    def __init__(
        self,
        model: ModelConfig,
        images: Tensor,
        targets: Tensor,
        classes: int,
        config: SupervisedConfig,
        *,
        mean: Tensor,
        std: Tensor,
        device: torch.device,
        seed: int,
        sink: Sink,
    ) -> None:
        # One group a batch: the splits are there against MoCo's leak and only add noise here.
        self.model = msgspec.structs.replace(model, bn_splits=1)
        self.images, self.targets = images.to(device), targets.to(device)
        self.classes, self.config, self.device = classes, config, device
        self.mean, self.std = mean.to(device), std.to(device)
        self.seed, self.sink = seed, sink

    def build(self) -> nn.Module:
        """A new net, initialised from torch's default generator."""
        encoder = build_encoder(self.model)
        net = nn.Sequential(encoder.backbone, nn.Linear(encoder.feature_dim, self.classes))
        return net.to(self.device).to(memory_format=torch.channels_last)

    def train(
        self,
        rows: Tensor,
        lr: float,
        epochs: int,
        batch_size: int,
        after_epoch: Callable[[nn.Module, float], None],
    ) -> nn.Module:
        """Trains a new net on the images ``rows``; whole batches only, the rest sits out.

        Every training begins with the same weights and sees the images in the same order.

        Raises:
            _Diverged: when the loss of an epoch is not finite.
        """
        generator = stream(self.seed, "order")
        steps = len(rows) // batch_size
        with default_generator(stream_seed(self.seed, "default"), self.device):
            net = self.build().train()
            optimizer = torch.optim.SGD(
                net.parameters(),
                lr=lr,
                momentum=MOMENTUM,
                weight_decay=self.config.weight_decay,
                foreach=True,
            )
            for epoch in range(epochs):
                order = rows[torch.randperm(len(rows), generator=generator)].to(self.device)
                total = torch.zeros((), device=self.device)
                for step in range(steps):
                    check_interrupt(self.sink)
                    done = (epoch * steps + step) / (epochs * steps)
                    for group in optimizer.param_groups:
                        group["lr"] = lr * 0.5 * (1.0 + math.cos(math.pi * done))
                    batch = order[step * batch_size : (step + 1) * batch_size]
                    moved = shift_and_flip(self.images[batch], generator)
                    scores = net(normalise(to_float(moved), self.mean, self.std))
                    loss = F.cross_entropy(scores, self.targets[batch])
                    optimizer.zero_grad(set_to_none=True)
                    torch.autograd.backward(loss)
                    optimizer.step()
                    total += loss.detach()
                mean_loss = float(total) / steps
                if not math.isfinite(mean_loss):
                    raise _Diverged
                after_epoch(net, mean_loss)
        return net.eval()

    def settle(self, net: nn.Module, rows: Tensor) -> None:
        """Sets the BatchNorm statistics on up to 2,048 of the images ``rows``, without dropout.

        Those of the training are off: a maximum over dropped and rescaled units is larger than
        one over all of them. They cost a trained ConvNet 20 points (5,000 labels of CIFAR-10, 14
        epochs: 40 % in place of 63 %).
        """
        count = min(len(rows), _STATISTICS_IMAGES)
        rows = rows[torch.arange(count) * len(rows) // count].to(self.device)
        batches = max(1, count // _STATISTICS_BATCH)

        def batch(i: int) -> Tensor:
            check_interrupt(self.sink)
            part = self.images[rows[i::batches]].to(memory_format=torch.channels_last)
            return normalise(to_float(part), self.mean, self.std)

        set_statistics(net, batch, batches)

    @torch.no_grad()
    def scores(self, net: nn.Module, images: Tensor) -> Tensor:
        """Scores (N, classes) of uint8 images (N, 3, 32, 32), in eval mode."""
        out = torch.empty(len(images), self.classes, device=self.device)
        with evaluating(net):
            for begin in range(0, len(images), _PASS):
                check_interrupt(self.sink)
                rows = slice(begin, begin + _PASS)
                batch = images[rows].to(self.device, memory_format=torch.channels_last)
                out[rows] = net(normalise(to_float(batch), self.mean, self.std))
        return out

    def predictor(self, net: nn.Module) -> Callable[[Tensor], Tensor]:
        """Uint8 images (N, 3, 32, 32) to classes int64 (N,)."""
        return lambda images: self.scores(net, images).argmax(dim=1)


def fit_supervised(
    model: ModelConfig,
    images: Tensor,
    targets: Tensor,
    classes: int,
    config: SupervisedConfig,
    *,
    fit: Tensor,
    validate: Tensor,
    mean: Tensor,
    std: Tensor,
    device: torch.device,
    seed: int,
    sink: Sink | None = None,
    report: Callable[[dict[str, float]], None] = lambda _values: None,
) -> SupervisedFit:
    """Chooses the learning rate inside the labelled part, then trains on the whole of it.

    The rate with the highest validation accuracy after the last epoch of a training of a third of
    the length wins (of equal ones that of the lower loss). Torch's default generators are seeded
    for every training and left as they were.

    Args:
        model: the backbone; BatchNorm normalises over the whole batch here.
        images: uint8 (n, 3, 32, 32), the labelled part.
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        config: the budget and the learning rates.
        fit: rows to train on while choosing.
        validate: rows to choose by; none: the middle rate is taken.
        mean: float32 (3,), of the channels in [0, 1].
        std: float32 (3,).
        device: where to train.
        seed: of weights, dropout, order and augmentation.
        sink: looked at once a step; hears of rates that diverge.
        report: hears, after each epoch, ``selection_loss`` and ``validation_top1`` while choosing,
            ``loss`` afterwards.

    Raises:
        TrainingError: when the loss becomes infinite or NaN with every rate.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    budget = plan_budget(config, len(images), len(fit), len(validate))
    trainer = _Trainer(
        model, images, targets, classes, config, mean=mean, std=std, device=device, seed=seed,
        sink=sink,
    )  # fmt: skip
    rates = sorted(set(config.lr))
    candidates: list[dict[str, Any]] = []

    held, last = validate.to(device), {"loss": math.inf, "top1": 0.0}

    def judged(net: nn.Module, loss: float) -> None:
        trainer.settle(net, fit)
        scores, truth = trainer.scores(net, trainer.images[held]), trainer.targets[held]
        last["loss"] = float(F.cross_entropy(scores, truth))
        last["top1"] = 100.0 * float((scores.argmax(1) == truth).double().mean())
        if not math.isfinite(last["loss"]):
            raise _Diverged
        report({"selection_loss": loss, "validation_top1": last["top1"]})

    def trained(_net: nn.Module, loss: float) -> None:
        report({"loss": loss})

    ranking = [rates[len(rates) // 2]]
    if budget.selection_epochs:
        for lr in rates:
            sink.log(f"supervised baseline: trying the learning rate {lr:g}")
            try:
                trainer.train(fit, lr, budget.selection_epochs, budget.batch_size, judged)
                candidates.append({"lr": lr, **last})
            except _Diverged:
                sink.log(f"supervised baseline: it diverged with the learning rate {lr:g}")
                candidates.append({"lr": lr, "diverged": True})
        sound = [c for c in candidates if "top1" in c]
        ranking = [c["lr"] for c in sorted(sound, key=lambda c: (-c["top1"], c["loss"]))]
    everything = torch.arange(len(images))
    for lr in ranking:
        try:
            net = trainer.train(everything, lr, budget.epochs, budget.batch_size, trained)
        except _Diverged:
            sink.log(f"supervised baseline: it diverged with the learning rate {lr:g}")
            continue
        trainer.settle(net, everything)
        return SupervisedFit(lr, tuple(candidates), budget, trainer.predictor(net))
    tried = ", ".join(f"{lr:g}" for lr in rates)
    raise TrainingError(
        f"The supervised baseline diverged with every learning rate ({tried}); lower "
        "supervised.lr, or leave supervised out of baselines."
    )
