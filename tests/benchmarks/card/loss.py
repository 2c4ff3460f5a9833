"""Times what a step computes beside its encoders, on a card: the kernels beside torch's operations.

    python tests/benchmarks/card/loss.py                         every case, on CUDA
    python tests/benchmarks/card/loss.py 40 --out DIR            begin nothing new after 40 seconds
    python tests/benchmarks/card/loss.py --device cpu --quick    whether this script still works

In the project's root, with the project's own Python; no data set is needed. Of the loss with its
gradient, for each size and way: microseconds, their share that arithmetic alone would take (two
products, of three products of float16 each, at ``--tflops``), and the relative errors of loss and
gradient against float64. Of unit vectors, the order of keys, their queue and the updates:
microseconds of both ways. On CUDA a way is recorded ten times in a graph, as a step is recorded,
and compiled before. ``DIR`` (``$OUT``, else ``/tmp``) gets ``loss.json``. Ends with 1 when a way
failed; the others are measured all the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

# The project is above this file (``tests`` has an ``engine`` too), or, where the
# file was copied elsewhere, the current folder.
sys.path.insert(
    0,
    str(
        next(
            (p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists()),
            Path.cwd(),
        )
    ),
)

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels import contrast_plan
from engine.kernels.contrast_block import contrast, enqueue, order_of, unit_rows
from engine.kernels.operations import HAS_TRITON
from engine.models.info_nce import info_nce
from engine.pretrain.piecewise import piece_length, pieces
from tests.benchmarks.card.timed_cases import Measure, measure_all, microseconds, options_of

TEMPERATURE = 0.07
RECORDED = 10
"""Calls in a graph."""


class Case(NamedTuple):
    """Pairs, keys and components of a loss, and whether it has both directions."""

    pairs: int
    keys: int
    dim: int
    symmetric: bool


CASES = {
    "notebook-small-angle": Case(512, 4096, 512, True),
    "resnet18-moco": Case(512, 4096, 128, False),
    "large queue": Case(512, 65_536, 128, False),
}
QUICK = {"quick": Case(8, 70, 12, True)}
PARAMETERS = (864, 32, 32, 18432, 64, 64, 73728, 128, 128, 262144, 512)
"""Of the encoder of the notebook, values of each."""
Way = Callable[[Tensor, Tensor, Tensor, bool], Tensor]


def by_torch(query: Tensor, keys: Tensor, queue: Tensor, symmetric: bool) -> Tensor:
    """As ``MoCo.contrast``."""
    if not symmetric:
        return info_nce(query, keys, queue, TEMPERATURE)
    (query_1, query_2), (key_1, key_2) = query.chunk(2), keys.chunk(2)
    return info_nce(query_1, key_2, queue, TEMPERATURE) + info_nce(
        query_2, key_1, queue, TEMPERATURE
    )


def by_kernels(query: Tensor, keys: Tensor, queue: Tensor, symmetric: bool) -> Tensor:
    """As ``KernelMoCo.contrast``."""
    loss: Tensor = contrast(query, keys, queue, TEMPERATURE, symmetric, True)[0]
    return loss


class PairProducts(torch.autograd.Function):
    """The logsumexp of logits that cuBLAS makes of pairs of float16, joined along the inner axis.

    ``apply(q, queue)``; it keeps the logits, and its gradient is made in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, queue: Tensor) -> Tensor:
        """``(n,)`` for ``q (n, dim)`` and ``queue (K, dim)``."""
        q_high, q_low = halves(q * contrast_plan.SCALE)
        high, low = halves(queue * contrast_plan.SCALE)
        joined = torch.cat([q_high, q_low, q_high], 1), torch.cat([low, high, high], 1)
        logits = wide_product(joined[0], joined[1].T) / (contrast_plan.SCALE**2 * TEMPERATURE)
        found = logits.logsumexp(1)
        ctx.save_for_backward(logits, found, high, low)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Towards ``q``."""
        logits, found, high, low = ctx.saved_tensors
        w_high, w_low = halves(1024.0 * (logits - found[:, None]).exp())
        joined = torch.cat([w_high, w_low, w_high], 1), torch.cat([low, high, high])
        mean = wide_product(*joined) / (1024.0 * contrast_plan.SCALE * TEMPERATURE)
        return mean * grads[0][:, None], None


def by_cublas(query: Tensor, keys: Tensor, queue: Tensor, symmetric: bool) -> Tensor:
    """By ``PairProducts``, of both directions at once."""
    half = len(query) // 2
    positives = torch.roll(keys, half, 0) if symmetric else keys
    negative: Tensor = PairProducts.apply(query, queue)
    positive = (query * positives).sum(1) / TEMPERATURE
    return -F.logsigmoid(positive - negative).mean() * (2 if symmetric else 1)


def halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Two float16 that add up to a float32 but for 2**-22 of it."""
    high = values.half()
    return high, (values - high.float()).half()


def wide_product(a: Tensor, b: Tensor) -> Tensor:
    """Of float16, in float32; a CPU knows no such product."""
    if a.device.type == "cpu":
        return a.float() @ b.float()
    product: Tensor = torch.mm(a, b, out_dtype=torch.float32)
    return product


def loss_ways(device: torch.device) -> dict[str, tuple[Way, AbstractContextManager[Any]]]:
    """Each way, and what it is computed inside."""
    ways: dict[str, tuple[Way, AbstractContextManager[Any]]] = {
        "torch float32": (by_torch, nullcontext()),
        "cublas pairs": (by_cublas, nullcontext()),
        "kernels": (by_kernels, nullcontext()),
    }
    if device.type == "cuda" and HAS_TRITON:
        from engine.kernels import contrast_launches

        large = contrast_plan.LARGE
        pairs = patch.object(contrast_launches, "PAIRS", torch.bfloat16)
        ways["kernels, pairs of bfloat16"] = by_kernels, pairs
        for name, sizes in {
            "kernels, sums cut off": large._replace(promote=False),
            "kernels, sums cut off, 256 keys": large._replace(keys=256, stages=4, promote=False),
            "kernels, steps of 64": large._replace(inner=64, step=64),
            "kernels, means of 128 components": large._replace(width=128),
            "kernels, tiles of other cards": contrast_plan.SMALL,
        }.items():
            ways[name] = by_kernels, patch.object(contrast_plan, "LARGE", sizes)
    return ways


def vectors(case: Case, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys that are near their positives, and a queue, all of unit length."""
    generator = torch.Generator().manual_seed(0)
    n = case.pairs * (2 if case.symmetric else 1)

    def unit(rows: int) -> Tensor:
        return F.normalize(torch.randn(rows, case.dim, generator=generator), dim=1).to(device)

    query = unit(n)
    positives = torch.roll(query, case.pairs, 0) if case.symmetric else query
    return query, F.normalize(positives + unit(n), dim=1), unit(case.keys)


def exact(case: Case, query: Tensor, keys: Tensor, queue: Tensor) -> tuple[float, Tensor]:
    """Loss and gradient in float64, as a cross-entropy."""
    q = query.double().requires_grad_()
    positives = torch.roll(keys, case.pairs, 0) if case.symmetric else keys
    logits = torch.cat([(q * positives).sum(1, keepdim=True), q @ queue.double().T], 1)
    classes = torch.zeros(len(q), dtype=torch.int64, device=q.device)
    loss = F.cross_entropy(logits / TEMPERATURE, classes, reduction="sum") / case.pairs
    return float(loss.detach()), torch.autograd.grad(loss, q)[0]


def of_loss(
    name: str, case: Case, way: str, compute: Way, device: torch.device, repeats: int, tflops: float
) -> dict[str, Any]:
    """The figures of one way of one loss."""
    query, keys, queue = vectors(case, device)
    query.requires_grad_()

    def call() -> tuple[Tensor, Tensor]:
        loss = compute(query, keys, queue, case.symmetric)
        return loss.detach(), torch.autograd.grad(loss, query)[0]

    loss, gradient = call()
    right, right_gradient = exact(case, query.detach(), keys, queue)
    spent = microseconds([call], device, rounds=RECORDED, repeats=repeats)
    product = contrast_plan.counted(len(query), case.keys, case.dim)["product"]
    limit = 2 * product / tflops / 1e6
    return {
        "case": name,
        "way": way,
        "us": spent,
        "limit_us": limit,
        "loss_error": abs(float(loss) - right) / right,
        "gradient_error": float((gradient - right_gradient).norm() / right_gradient.norm()),
    }


def of_part(
    name: str, way: str, call: Callable[[], object], device: torch.device, repeats: int
) -> dict[str, Any]:
    """The figures of one way of something else."""
    return {
        "case": name,
        "way": way,
        "us": microseconds([call], device, rounds=RECORDED, repeats=repeats),
    }


def other_parts(case: Case, device: torch.device) -> dict[str, dict[str, Callable[[], object]]]:
    """What else a step computes, in both ways, at the sizes of a case."""
    _, keys, queue = vectors(case, device)
    narrow = keys.to(torch.bfloat16).requires_grad_()
    numbers = torch.rand(2, case.pairs, device=device)
    pointer = torch.zeros((), dtype=torch.int64, device=device)
    lists = [[torch.randn(size, device=device) for size in PARAMETERS] for _ in range(4)]
    length = piece_length(PARAMETERS)
    assert length is not None
    parts = [pieces(tensors, length) for tensors in lists]

    def enqueue_by_torch() -> None:
        count, size = min(len(keys), len(queue)), len(queue)
        offsets = torch.arange(len(keys) - count, len(keys), device=device)
        queue.index_copy_(0, (pointer + offsets) % size, keys[len(keys) - count :])
        pointer.copy_((pointer + len(keys)) % size)

    def order_by_torch() -> Tensor:
        return torch.cat([case.pairs * i + n.argsort(stable=True) for i, n in enumerate(numbers)])

    def unit(function: Callable[[Tensor], Tensor]) -> object:
        return torch.autograd.grad(function(narrow), narrow, keys)

    return {
        "unit vectors with gradient": {
            "torch": lambda: unit(lambda x: F.normalize(x.float(), dim=1)),
            "kernels": lambda: unit(lambda x: unit_rows(x, None)),
        },
        "order of keys": {"torch": order_by_torch, "kernels": lambda: order_of(*numbers)},
        "queue": {"torch": enqueue_by_torch, "kernels": lambda: enqueue(queue, pointer, keys)},
        "updates": {"torch": lambda: updated(*lists), "pieces": lambda: updated(*parts)},
    }


def updated(
    parameters: list[Tensor], gradients: list[Tensor], momenta: list[Tensor], keys: list[Tensor]
) -> Tensor:
    """Momentum update, norm of the gradient, SGD."""
    torch._foreach_lerp_(keys, parameters, 0.01)
    torch._fused_sgd_(
        parameters,
        gradients,
        momenta,
        weight_decay=1e-4,
        momentum=0.9,
        lr=1e-6,
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )
    norms: list[Tensor] = list(torch._foreach_norm(gradients))
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


def main(words: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes; 1 when a way failed."""
    began = time.monotonic()
    parser = options_of(__doc__, "one tiny size")
    parser.add_argument("--tflops", type=float, default=780.0, help="of float16, for the limit")
    options = parser.parse_args(words)
    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device(options.device)
    return measure_all(
        todo(device, options.quick, options.tflops),
        until=began + options.seconds,
        file=options.out / "loss.json",
    )


def todo(device: torch.device, quick: bool, tflops: float) -> Iterator[tuple[str, Measure]]:
    """Label and measure of every way."""
    repeats = 2 if quick else 20
    for name, case in (QUICK if quick else CASES).items():
        for way, (compute, inside) in loss_ways(device).items():
            label = f"loss, {name}, {way}"
            measure = partial(of_loss, name, case, way, compute, device, repeats, tflops)
            yield label, partial(shown, label, measure, inside)
        if name in ("quick", "notebook-small-angle"):
            for part, both in other_parts(case, device).items():
                for way, call in both.items():
                    label = f"{part}, {name}, {way}"
                    measure = partial(of_part, f"{part}, {name}", way, call, device, repeats)
                    yield label, partial(shown, label, measure)


def shown(
    label: str,
    measure: Callable[[], dict[str, Any]],
    inside: AbstractContextManager[Any] | None = None,
) -> tuple[dict[str, Any], str]:
    """The figures of a way, and their line; measured inside a context where there is one."""
    with inside or nullcontext():
        row = measure()
    facts = [f"{key} {value:.3g}" for key, value in row.items() if not isinstance(value, str)]
    return row, f"{label}: {', '.join(facts)}"


if __name__ == "__main__":
    sys.exit(main())
