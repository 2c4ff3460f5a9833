"""Whole MoCo steps against a second implementation in plain numpy float64, written from the papers.

Forward and backward pass, BatchNorm groups, shuffled keys, InfoNCE, SGD and the queue are derived
here by hand; nothing of the engine or of autograd is used on that side. Both go on from the same
start until the queue has wrapped twice, and must agree in every loss, the queue, and both encoders.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.config.moco_schema import MocoConfig
from engine.config.schema import ModelConfig
from engine.models.encoder import Encoder
from engine.models.moco import MoCo
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.pretrain.groupwise_backward import GroupwiseBackward

Array = np.ndarray
CHANNELS, DIM, BATCH, SPLITS, SIDE = 3, 5, 6, 3, 7  # 7x7 -> 5x5 -> 2x2: pooling drops a row
LR, SGD_MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-3
KEY_MOMENTUM, TEMPERATURE = 0.8, 0.2
EPS, STATISTICS_MOMENTUM = 1e-5, 0.1


# -------------------------------------------------------------------- the oracle: plain loops


@dataclass
class Net:
    """Convolution 3x3, BatchNorm in groups, max pooling 2x2, ReLU, linear layer, unit length."""

    parameters: dict[str, Array]
    mean: Array = field(default_factory=lambda: np.zeros(CHANNELS))
    var: Array = field(default_factory=lambda: np.ones(CHANNELS))

    def forward(self, x: Array, order: Array) -> tuple[Array, dict[str, Array]]:
        """Embeddings of one view; position ``n`` of ``order`` is in group ``n mod SPLITS``."""
        p = self.parameters
        n = len(x)
        side = SIDE - 2
        conv = np.zeros((n, CHANNELS, side, side))
        for i in range(side):
            for j in range(side):
                patch = x[:, :, i : i + 3, j : j + 3]
                for c in range(CHANNELS):
                    conv[:, c, i, j] = (patch * p["conv"][c]).sum((1, 2, 3))
        norm, rstd = np.zeros_like(conv), np.zeros((n, CHANNELS))
        means, variances = [], []
        for group in range(SPLITS):
            rows = [order[position] for position in range(n) if position % SPLITS == group]
            for c in range(CHANNELS):
                values = conv[rows, c]
                mean = values.sum() / values.size
                var = ((values - mean) ** 2).sum() / values.size
                means.append(mean)
                variances.append(var * values.size / (values.size - 1))
                for row in rows:
                    rstd[row, c] = 1 / math.sqrt(var + EPS)
                    norm[row, c] = (conv[row, c] - mean) * rstd[row, c]
        new_mean = np.array(means).reshape(SPLITS, CHANNELS).mean(0)
        new_var = np.array(variances).reshape(SPLITS, CHANNELS).mean(0)
        self.mean = (1 - STATISTICS_MOMENTUM) * self.mean + STATISTICS_MOMENTUM * new_mean
        self.var = (1 - STATISTICS_MOMENTUM) * self.var + STATISTICS_MOMENTUM * new_var
        scaled = norm * p["gamma"][:, None, None] + p["beta"][:, None, None]
        pooled = np.zeros((n, CHANNELS, 2, 2))
        winner = np.zeros((n, CHANNELS, 2, 2, 2), dtype=int)
        for row in range(n):
            for c in range(CHANNELS):
                for i in range(2):
                    for j in range(2):
                        cells = [(2 * i + a, 2 * j + b) for a in range(2) for b in range(2)]
                        best = max(cells, key=lambda cell: scaled[row, c, cell[0], cell[1]])
                        winner[row, c, i, j] = best
                        pooled[row, c, i, j] = scaled[row, c, best[0], best[1]]
        features = np.maximum(pooled, 0).reshape(n, -1)
        out = features @ p["weight"].T + p["bias"]
        length = np.sqrt((out**2).sum(1, keepdims=True))
        kept = {
            "x": x,
            "norm": norm,
            "rstd": rstd,
            "winner": winner,
            "pooled": pooled,
            "features": features,
            "unit": out / length,
            "length": length,
            "order": order,
        }
        return out / length, kept

    def backward(self, push: Array, kept: dict[str, Array]) -> dict[str, Array]:
        """Gradients of ``sum(push * embeddings)`` towards the parameters."""
        p, norm = self.parameters, kept["norm"]
        n = len(push)
        unit = kept["unit"]
        out = (push - unit * (push * unit).sum(1, keepdims=True)) / kept["length"]
        gradient = {"weight": out.T @ kept["features"], "bias": out.sum(0)}
        pooled = (out @ p["weight"]).reshape(n, CHANNELS, 2, 2) * (kept["pooled"] > 0)
        scaled = np.zeros_like(norm)
        for row in range(n):
            for c in range(CHANNELS):
                for i in range(2):
                    for j in range(2):
                        a, b = kept["winner"][row, c, i, j]
                        scaled[row, c, a, b] += pooled[row, c, i, j]
        gradient["gamma"] = (scaled * norm).sum((0, 2, 3))
        gradient["beta"] = scaled.sum((0, 2, 3))
        conv = np.zeros_like(norm)
        for group in range(SPLITS):
            rows = [kept["order"][q] for q in range(n) if q % SPLITS == group]
            for c in range(CHANNELS):
                d = scaled[rows, c] * p["gamma"][c]
                z = norm[rows, c]
                centred = d - d.mean() - z * (d * z).mean()
                conv[rows, c] = centred * kept["rstd"][rows, c][:, None, None]
        gradient["conv"] = np.zeros_like(p["conv"])
        for c in range(CHANNELS):
            for i in range(SIDE - 2):
                for j in range(SIDE - 2):
                    patch = kept["x"][:, :, i : i + 3, j : j + 3]
                    gradient["conv"][c] += (patch * conv[:, c, i, j][:, None, None, None]).sum(0)
        return gradient


def contrast(q: Array, k: Array, queue: list[Array]) -> tuple[float, Array]:
    """Mean cross-entropy of the positive among all choices, and its gradient towards ``q``."""
    total, gradient = 0.0, np.zeros_like(q)
    for i in range(len(q)):
        choices = [k[i], *queue]
        logits = [float(q[i] @ choice) / TEMPERATURE for choice in choices]
        top = max(logits)
        log_sum = top + math.log(sum(math.exp(logit - top) for logit in logits))
        total += (log_sum - logits[0]) / len(q)
        for index, (choice, logit) in enumerate(zip(choices, logits, strict=True)):
            share = math.exp(logit - log_sum) - (index == 0)
            gradient[i] += share * choice / TEMPERATURE / len(q)
    return total, gradient


class Oracle:
    def __init__(self, parameters: dict[str, Array], queue: Array, symmetric: bool) -> None:
        self.q = Net(copy.deepcopy(parameters))
        self.k = Net(copy.deepcopy(parameters))
        self.queue = [row.copy() for row in queue]
        self.queue_ptr = 0
        self.symmetric = symmetric
        self.velocity: dict[str, Array] = {}

    def step(self, x: Array, y: Array, orders: list[Array]) -> float:
        for name, value in self.k.parameters.items():
            value *= KEY_MOMENTUM
            value += (1 - KEY_MOMENTUM) * self.q.parameters[name]
        plain = np.arange(len(x))
        if self.symmetric:
            q1, kept1 = self.q.forward(x, plain)
            q2, kept2 = self.q.forward(y, plain)
            k1, _ = self.k.forward(x, orders[0])
            k2, _ = self.k.forward(y, orders[1])
            loss1, push1 = contrast(q1, k2, self.queue)
            loss2, push2 = contrast(q2, k1, self.queue)
            one, two = self.q.backward(push1, kept1), self.q.backward(push2, kept2)
            loss, gradient = loss1 + loss2, {name: one[name] + two[name] for name in one}
            keys = [*k1, *k2]
        else:
            q1, kept1 = self.q.forward(x, plain)
            k2, _ = self.k.forward(y, orders[0])
            loss, push1 = contrast(q1, k2, self.queue)
            gradient = self.q.backward(push1, kept1)
            keys = [*k2]
        for name, value in self.q.parameters.items():
            g = gradient[name] + WEIGHT_DECAY * value
            old = self.velocity.get(name)
            self.velocity[name] = g if old is None else SGD_MOMENTUM * old + g
            value -= LR * self.velocity[name]
        for key in keys:
            self.queue[self.queue_ptr] = key
            self.queue_ptr = (self.queue_ptr + 1) % len(self.queue)
        return loss


# ------------------------------------------------------------------------- the engine beside it


def tiny_moco(queue_size: int, symmetric: bool, shuffled: bool) -> MoCo:
    torch.manual_seed(1)
    moco = MoCo(
        ModelConfig(dim=DIM, bn_splits=SPLITS, dropout=0.0),
        MocoConfig(
            queue_size=queue_size,
            momentum=KEY_MOMENTUM,
            temperature=TEMPERATURE,
            symmetric=symmetric,
            shuffle_keys=shuffled,
        ),
    )
    norm = SplitBatchNorm2d(CHANNELS, SPLITS)
    backbone = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 3, bias=False), norm, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()
    )
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.7, 1.4, CHANNELS))
        norm.bias.copy_(torch.linspace(0.3, 0.9, CHANNELS))
    moco.encoder_q = Encoder(backbone, nn.Linear(4 * CHANNELS, DIM), 4 * CHANNELS, DIM)
    moco.encoder_k = copy.deepcopy(moco.encoder_q).requires_grad_(False)
    return moco.double()


NAMES = ("conv", "gamma", "beta", "weight", "bias")


def arrays(encoder: Encoder) -> dict[str, Array]:
    values = [p.detach().numpy().copy() for p in encoder.parameters()]
    return dict(zip(NAMES, values, strict=True))


@pytest.mark.parametrize("way", ["whole", "groupwise"])
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize(
    ("symmetric", "queue_size"),
    [
        (True, 5),  # smaller than the 12 keys of a step
        (True, 12),  # equal
        (True, 24),  # larger
        (True, 31),  # larger, not divisible
        (False, 4),  # smaller than the 6 keys of a step
        (False, 6),  # equal
        (False, 13),  # larger, not divisible
    ],
)
def test_trajectory_until_the_queue_has_wrapped_twice(
    symmetric: bool, queue_size: int, shuffled: bool, way: str
) -> None:
    moco = tiny_moco(queue_size, symmetric, shuffled)
    oracle = Oracle(arrays(moco.encoder_q), moco.queue.numpy(), symmetric)
    optimizer = torch.optim.SGD(
        moco.trainable_parameters(), lr=LR, momentum=SGD_MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    data = torch.Generator().manual_seed(2)
    generator = torch.Generator().manual_seed(3)
    replay = torch.Generator().manual_seed(3)
    per_step = BATCH * (2 if symmetric else 1)
    steps = max(6, math.ceil(2 * queue_size / per_step) + 1)
    losses = []
    with GroupwiseBackward(moco, threads=2, dtype=torch.float64) as groupwise:
        for _ in range(steps):
            x, y = torch.randn(2, BATCH, 3, SIDE, SIDE, generator=data, dtype=torch.float64)
            orders = [
                torch.rand(BATCH, generator=replay).argsort().numpy()
                if shuffled
                else np.arange(BATCH)
                for _ in range(2 if symmetric else 1)
            ]
            expected = oracle.step(x.numpy(), y.numpy(), orders)

            moco.momentum_update()
            if way == "whole":
                loss, keys = moco.loss(x, y, generator)
                optimizer.zero_grad()
                loss.backward()
            else:
                loss, keys = groupwise(x, y, generator)
            optimizer.step()
            moco.enqueue(keys)

            losses.append(float(loss.detach()))
            assert losses[-1] == pytest.approx(expected, rel=1e-9)
            np.testing.assert_allclose(moco.queue.numpy(), np.array(oracle.queue), atol=1e-9)
            assert int(moco.queue_ptr) == oracle.queue_ptr
            for net, encoder in ((oracle.q, moco.encoder_q), (oracle.k, moco.encoder_k)):
                for name, value in arrays(encoder).items():
                    np.testing.assert_allclose(value, net.parameters[name], atol=1e-9, err_msg=name)
                norm: Any = encoder.get_submodule("backbone.1")
                np.testing.assert_allclose(norm.running_mean.numpy(), net.mean, atol=1e-9)
                np.testing.assert_allclose(norm.running_var.numpy(), net.var, atol=1e-9)
    assert steps * per_step >= 2 * queue_size
    assert np.ptp(losses) > 0.01  # something happened
