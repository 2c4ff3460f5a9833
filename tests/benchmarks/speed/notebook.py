"""The pipeline of the original notebook, written anew, to be timed beside ours.

Every image is transformed on its own, by torchvision on PIL images, twice, in the worker
processes of a DataLoader (as many as cores, torch's own prefetching). The step is eager float32
on plain layers in the default memory format: momentum update parameter by parameter, shuffled
keys, logits whole, both directions, ``loss.item()`` each step, as the notebook had them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10

BATCH, QUEUE, DIM, MOMENTUM, TEMPERATURE = 512, 4096, 512, 0.99, 0.07

Views = tuple[Tensor, Tensor]


def transform() -> T.Compose:
    """One view of a PIL image: crop, resize, rotation, blur, colour; normalised ``(3, 32, 32)``."""
    return T.Compose(
        [
            T.RandomResizedCrop(32),
            T.RandomRotation(180.0, T.InterpolationMode.BILINEAR),
            T.RandomApply([T.GaussianBlur(3, (0.1, 2.0))], 0.5),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
            T.ToTensor(),
            T.Normalize(MEAN, STD),
        ]
    )


class Pairs(Dataset[Views]):
    """Two views of each image.

    Args:
        images: ``(N, 3, 32, 32)`` uint8.
        two_views: makes both of one PIL image.
    """

    def __init__(self, images: Tensor, two_views: Callable[[Image.Image], Views]) -> None:
        self.pixels = images.permute(0, 2, 3, 1).contiguous().numpy()  # as torchvision's CIFAR10
        self.two_views = two_views

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Views:
        return self.two_views(Image.fromarray(self.pixels[index]))


class TwoViews:
    """Both views of a PIL image by the notebook's transforms."""

    def __init__(self) -> None:
        self.one = transform()

    def __call__(self, image: Image.Image) -> Views:
        return self.one(image), self.one(image)


def loader(dataset: Dataset[Views], workers: int, *, cuda: bool) -> DataLoader[Views]:
    """Shuffled batches of 512 pairs."""
    return DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        pin_memory=cuda,
        drop_last=True,
    )


def convnet() -> nn.Sequential:
    """The notebook's encoder, 356,128 parameters: ``(N, 3, 32, 32)`` to ``(N, 512)``."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, DIM))


class Step:
    """The model and its step.

    Args:
        device: where to compute.
    """

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        self.encoder_q = convnet().to(device).train()
        self.encoder_k = copy.deepcopy(self.encoder_q).requires_grad_(False)
        self.queue = F.normalize(torch.randn(DIM, QUEUE, device=device), dim=0)
        self.pointer = 0
        self.optimizer = torch.optim.SGD(
            self.encoder_q.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4
        )

    def __call__(self, view_1: Tensor, view_2: Tensor) -> float:
        """One step of SGD; the loss."""
        with torch.no_grad():
            for q, k in zip(self.encoder_q.parameters(), self.encoder_k.parameters(), strict=True):
                k.mul_(MOMENTUM).add_(q, alpha=1.0 - MOMENTUM)
        loss_12, keys_2 = self._direction(view_1, view_2)
        loss_21, keys_1 = self._direction(view_2, view_1)
        loss = loss_12 + loss_21
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        keys = torch.cat([keys_1, keys_2])
        self.queue[:, self.pointer : self.pointer + len(keys)] = keys.T
        self.pointer = (self.pointer + len(keys)) % QUEUE
        return loss.item()

    def _direction(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        q = F.normalize(self.encoder_q(query), dim=1)
        with torch.no_grad():
            # Shuffled BatchNorm, as the notebook had it (section 3.3 of the paper).
            order = torch.randperm(len(key), device=key.device)
            k = F.normalize(self.encoder_k(key[order]), dim=1)[order.argsort()]
        # MoCo (He et al., 2020), algorithm 1; queue: (dim, K).
        positive = torch.einsum("nc,nc->n", q, k).unsqueeze(1)  # (N, 1)
        negative = torch.einsum("nc,ck->nk", q, self.queue)  # (N, K)
        logits = torch.cat([positive, negative], dim=1) / TEMPERATURE  # (N, 1 + K)
        labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return F.cross_entropy(logits, labels), k


class Pipeline:
    """A loader and a step as a way to be timed.

    Args:
        batches: the loader; None: always the same pair, so that the step is timed alone.
        step: None: the loader alone.
        device: where the step computes.
        drain: batches to take before the clock starts, so that what the workers made ahead is
            used up and they have come to their steady state.
    """

    def __init__(
        self,
        batches: DataLoader[Views] | None,
        step: Callable[[Tensor, Tensor], float] | None,
        device: torch.device,
        *,
        drain: int = 1,
    ) -> None:
        self.batches, self.work, self.device, self.drain = batches, step, device, drain
        self.iterator: Iterator[Views] | None = None
        self.fixed = (
            torch.randn(BATCH, 3, 32, 32, device=device),
            torch.randn(BATCH, 3, 32, 32, device=device),
        )

    def open(self) -> None:
        if self.batches is not None:
            self.iterator = iter(self.batches)
        for _ in range(self.drain):
            self.step()

    def _next(self) -> Views:
        if self.batches is None:
            return self.fixed
        pair = next(self.iterator, None) if self.iterator is not None else None
        if pair is None:  # the end of an epoch
            self.iterator = iter(self.batches)
            pair = next(self.iterator)
        return pair[0].to(self.device, non_blocking=True), pair[1].to(
            self.device, non_blocking=True
        )

    def step(self) -> None:
        pair = self._next()
        if self.work is not None:
            self.work(*pair)

    def close(self) -> None:
        self.iterator = None  # ends the workers
