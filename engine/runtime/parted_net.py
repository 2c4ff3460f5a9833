"""A net on a CPU whose batch is shared out among worker threads.

Each thread takes its part of the batch through the whole net, forward and backward, and meets the
others only in the BatchNorm layers, which normalise over the whole batch. torch's own threads meet
at the end of every operation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.fused_layers import fuse
from engine.native.parts import Parts
from engine.runtime.malloc import keep_freed_memory
from engine.runtime.worker_threads import WorkerThreads

_FEWEST_IMAGES = 8
"""In a part: with fewer, the threads would mostly wait for each other."""

T = TypeVar("T")


class PartedNet:
    """Computes what a backbone and what follows it do, with the kernels in C (``engine.native``).

    Loss, gradients and running statistics agree with those of torch's operations up to rounding.
    Dropout draws others of the same distribution. With the same number of threads, results repeat
    bit by bit. Parameters, buffers and modes are those of the net, whatever they are at the time.
    Sets the C library to keep freed memory, for the whole process (``engine.runtime.malloc``).

    Args:
        backbone: ``can_fuse`` must hold for it, and its BatchNorm not be split.
        after: takes its features to the result; None: they are the result.
        kernels: level of the kernels.
        batch_size: images in the smallest batch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        after: nn.Module | None = None,
        *,
        kernels: str,
        batch_size: int,
    ) -> None:
        keep_freed_memory()
        threads = max(1, min(torch.get_num_threads(), batch_size // _FEWEST_IMAGES))
        self._parts = Parts(threads)
        rest = [] if after is None else [after]
        self._nets = [
            nn.Sequential(fuse(backbone, kernels, parts=self._parts, number=i), *rest)
            for i in range(threads)
        ]
        self._parameters = [p for part in (backbone, *rest) for p in part.parameters()]
        self._workers = WorkerThreads(threads)

    def backward(self, inputs: Callable[[slice], Tensor], targets: Tensor) -> Tensor:
        """Set the gradients to those of the mean cross-entropy of a batch, whose scores it makes.

        Draws the seeds of dropout from torch's default generator.

        Args:
            inputs: makes normalised float32 images ``(m, 3, H, W)`` of some of the batch; called in
                the workers.
            targets: int64 ``(N,)``, classes of the batch.

        Returns:
            The loss, a float32 scalar without a gradient.
        """
        count = len(targets)
        seeds = torch.empty(self._parts.places, dtype=torch.int64)
        self._parts.seeds = seeds.random_(0, None).tolist()

        def work(number: int, rows: slice) -> tuple[Tensor, tuple[Tensor, ...]]:
            scores = self._nets[number](inputs(rows))
            loss = F.cross_entropy(scores, targets[rows], reduction="sum") / count
            return loss.detach(), torch.autograd.grad(loss, self._parameters)

        (loss, gradients), *others = self._run(count, work)
        total = list(gradients)
        for more, also in others:
            loss += more
            torch._foreach_add_(total, also)
        for parameter, gradient in zip(self._parameters, total, strict=True):
            parameter.grad = gradient
        return loss

    def forward(self, images: Tensor) -> None:
        """Pass normalised images forward, for what BatchNorm takes from them.

        Args:
            images: float32 ``(N, 3, H, W)``. Dropout must be in eval mode: it has no seeds here.
        """

        @torch.no_grad()  # the mode of the calling thread does not hold in a worker
        def work(number: int, rows: slice) -> None:
            self._nets[number](images[rows])

        self._run(len(images), work)

    def _run(self, count: int, work: Callable[[int, slice], T]) -> list[T]:
        """``work(number, rows)`` of every part of a batch, each in its thread."""
        edges = [count * i // self._parts.count for i in range(self._parts.count + 1)]
        self._parts.sizes = [end - begin for begin, end in pairwise(edges)]
        failures: list[BaseException] = []

        def guarded(number: int, rows: slice) -> T:
            try:
                return work(number, rows)
            except threading.BrokenBarrierError:
                raise
            except BaseException as error:
                failures.append(error)
                self._parts.abort()  # or the others would wait for ever
                raise

        try:
            return self._workers.map(guarded, [slice(*edge) for edge in pairwise(edges)])
        except threading.BrokenBarrierError:
            raise failures[0] from None
        finally:
            if failures:
                self._parts.reset()

    def close(self) -> None:
        """End the threads."""
        self._workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
