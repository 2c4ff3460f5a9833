"""A referee for ``resnet18-moco``: MoCo written plainly from the paper and from torchvision alone.

    python tests/benchmarks/card/reference.py IMAGES [--epochs 30] [--every 5] [--seed 0]

It shares no line with the engine: PIL transforms in a DataLoader, one view after the other, no
fused or recorded step. What it reaches on the same images is what ``resnet18-moco`` has to reach
(kNN on the test images, k 200, t 0.1, normalised 128-d output, all training images as the bank):

    moco-tui pretrain --preset resnet18-moco --data folder:IMAGES --set epochs=30 --set knn_every=5

IMAGES holds ``train/<class>/*`` and ``test/<class>/*``. 30 epochs take 200 s on an H100 with 13
processes for the images.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18

STATISTICS = T.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
PLAIN = T.Compose([T.ToTensor(), STATISTICS])
LEARNING_RATE, MOMENTUM, DIM, TEMPERATURE = 0.06, 0.99, 128, 0.1


class GroupedBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics come from 8 interleaved groups of the batch, each on its own."""

    groups = 8

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        n, c, h, w = x.shape
        groups = self.groups
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, var = self.running_mean.repeat(groups), self.running_var.repeat(groups)
        y = F.batch_norm(
            x.reshape(n // groups, groups * c, h, w),
            mean,
            var,
            self.weight.repeat(groups),
            self.bias.repeat(groups),
            True,
            self.momentum or 0.0,
            self.eps,
        )
        self.running_mean.copy_(mean.view(groups, c).mean(0))
        self.running_var.copy_(var.view(groups, c).mean(0))
        return y.view(n, c, h, w)


class Encoder(nn.Module):
    """ResNet-18 for small images under bfloat16 autocast, the projection in float32."""

    def __init__(self) -> None:
        super().__init__()
        net: Any = resnet18(num_classes=DIM, norm_layer=GroupedBatchNorm)
        net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
        self.projection = net.fc
        net.fc = nn.Identity()
        self.backbone = net

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            features = self.backbone(x)
        return self.projection(features.float())  # type: ignore[no-any-return]


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Two views of each image; the images are decoded once."""

    def __init__(self, folder: ImageFolder, scale_min: float) -> None:
        self.images = [folder.loader(path).copy() for path, _ in folder.samples]
        self.augment = T.Compose(
            [
                T.RandomResizedCrop(32, scale=(scale_min, 1.0)),
                T.RandomHorizontalFlip(),
                T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
                T.RandomGrayscale(0.2),
                PLAIN,
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.augment(self.images[i]), self.augment(self.images[i])


def whole(folder: ImageFolder, workers: int) -> tuple[Tensor, Tensor]:
    """All images of a folder, ``(N, 3, 32, 32)``, and their labels, ``(N,)``."""
    images, labels = zip(*DataLoader(folder, 1000, num_workers=workers), strict=True)
    return torch.cat(images), torch.cat(labels)


@torch.no_grad()
def features_of(encoder: Encoder, images: Tensor, device: torch.device) -> Tensor:
    """Normalised outputs in eval mode, ``(N, 128)``."""
    encoder.eval()
    parts = [encoder(part.to(device)) for part in images.split(1000)]
    encoder.train()
    return F.normalize(torch.cat(parts), dim=1)


@torch.no_grad()
def knn_accuracy(
    encoder: Encoder, bank: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], device: torch.device
) -> float:
    """Percentage of test images whose weighted 200 nearest neighbours say their class."""
    known, asked = (features_of(encoder, part[0], device) for part in (bank, test))
    labels, right = bank[1].to(device), 0
    for part, label in zip(asked.split(500), test[1].to(device).split(500), strict=True):
        near, index = (part @ known.T).topk(min(200, len(known)), dim=1)
        votes = torch.zeros(len(part), 1 + int(labels.max()), device=device)
        votes.scatter_add_(1, labels[index], (near / TEMPERATURE).exp())
        right += int((votes.argmax(1) == label).sum())
    return 100 * right / len(asked)


class MoCo:
    """Query and key encoder, queue and optimizer (He et al., arXiv:1911.05722, algorithm 1)."""

    def __init__(self, queue_size: int, device: torch.device) -> None:
        self.query, self.key = Encoder().to(device), Encoder().to(device)
        self.key.load_state_dict(self.query.state_dict())
        self.key.requires_grad_(False)
        self.queue = F.normalize(torch.randn(queue_size, DIM, device=device), dim=1)
        self.pointer = 0
        self.sgd = torch.optim.SGD(
            self.query.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=5e-4
        )

    @torch.no_grad()
    def keys(self, x: Tensor) -> Tensor:
        """Normalised keys, computed in a random order so that BatchNorm tells nothing."""
        order = torch.randperm(len(x), device=x.device)
        shuffled = self.key(x[order])
        out = torch.empty_like(shuffled)
        out[order] = shuffled
        return F.normalize(out, dim=1)

    def loss(self, x: Tensor, keys: Tensor) -> Tensor:
        """InfoNCE of queries against their keys and the queue."""
        q = F.normalize(self.query(x), dim=1)
        positive = (q * keys).sum(1, keepdim=True)
        logits = torch.cat([positive, q @ self.queue.T], dim=1) / TEMPERATURE
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))

    def step(self, one: Tensor, two: Tensor) -> Tensor:
        """One update from two views of a batch; the loss before it, on the device."""
        with torch.no_grad():
            for mine, theirs in zip(self.key.parameters(), self.query.parameters(), strict=True):
                mine.lerp_(theirs, 1 - MOMENTUM)
        keys = self.keys(two)
        loss = self.loss(one, keys)
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()
        places = torch.arange(self.pointer, self.pointer + len(keys), device=keys.device)
        self.queue[places % len(self.queue)] = keys
        self.pointer = (self.pointer + len(keys)) % len(self.queue)
        return loss.detach()


def main() -> None:
    """Trains and prints loss and kNN."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("images")
    parser.add_argument("--epochs", type=int, default=30, help="length of the cosine")
    parser.add_argument("--stop", type=int, default=0, help="last epoch; 0: all")
    parser.add_argument("--every", type=int, default=5, help="epochs between two kNN")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after the epoch in which")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--queue", type=int, default=4096)
    parser.add_argument("--scale-min", type=float, default=0.08, help="least area of the crop")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.benchmark = True

    train, test = (ImageFolder(f"{args.images}/{part}", PLAIN) for part in ("train", "test"))
    pairs = DataLoader(
        Pairs(train, args.scale_min),
        args.batch,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        pin_memory=device.type == "cuda",
        persistent_workers=args.workers > 0,
    )
    bank, test_set = whole(train, args.workers), whole(test, args.workers)
    moco = MoCo(args.queue, device)
    start, last = time.monotonic(), args.stop or args.epochs
    print(f"epoch 0: kNN {knn_accuracy(moco.query, bank, test_set, device):.2f} %", flush=True)
    for epoch in range(last):
        for group in moco.sgd.param_groups:
            group["lr"] = LEARNING_RATE / 2 * (1 + math.cos(math.pi * epoch / args.epochs))
        total = torch.zeros((), device=device)
        for one, two in pairs:
            total += moco.step(one.to(device, non_blocking=True), two.to(device, non_blocking=True))
        at_end = time.monotonic() - start > args.seconds or epoch + 1 == last
        if at_end or (epoch + 1) % args.every == 0:
            accuracy = knn_accuracy(moco.query, bank, test_set, device)
            spent = time.monotonic() - start
            print(
                f"epoch {epoch + 1}: loss {float(total) / len(pairs):.3f} kNN {accuracy:.2f} %, "
                f"{spent:.0f} s",
                flush=True,
            )
        if at_end:
            break


if __name__ == "__main__":
    main()
