"""Forward passes on a CPU by worker threads and the kernels in C (``engine.native``).

Each worker takes a few images from their bytes to their features, so that what lies between two
layers stays in the processor's cache. Which images pass together does not depend on the number of
threads, and so the bits do not either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from engine.augment.augmentation import AugmentParams
from engine.augment.augmenter import Augmenter, normalise, to_float
from engine.augment.native_augmenter import NativeAugmenter, normalise_natively
from engine.data.dataset import ImageRows
from engine.evaluate.modes import evaluating
from engine.models.fused_layers import can_fuse, fuse
from engine.native.library import OFF
from engine.runtime.malloc import keep_freed_memory
from engine.runtime.worker_threads import WorkerThreads, single_threaded
from engine.sink import Sink, check_interrupt

ROWS = 64
"""Images of a pass of one worker."""
_PASSES = 4  # of a worker, between two looks at whether to stop


class NativePass:
    """A backbone, and what follows it, in eval mode on a CPU, for float32 results.

    Afterwards every module has the mode it had. Sets the C library to keep freed memory, for the
    whole process (``engine.runtime.malloc``).

    Args:
        backbone: ``can_take`` must hold for it.
        after: takes its features to the result; None: they are the result.
        mean: float32 (3,), of the channels in [0, 1].
        std: float32 (3,).
        kernels: level of the kernels.
    """

    def __init__(
        self,
        backbone: nn.Module,
        after: nn.Module | None = None,
        *,
        mean: Tensor,
        std: Tensor,
        kernels: str,
    ) -> None:
        keep_freed_memory()
        self._source = nn.ModuleList([backbone, *([] if after is None else [after])])
        self._net = fuse(backbone, kernels)
        self._after = after
        self._mean, self._std = mean.float().contiguous(), std.float().contiguous()
        self._kernels = kernels
        self._workers = WorkerThreads(torch.get_num_threads())

    @staticmethod
    def can_take(backbone: nn.Module, kernels: str, device: torch.device) -> bool:
        """Whether there are kernels for a backbone on a device.

        Args:
            backbone: of an encoder.
            kernels: level of the kernels, or ``off``.
            device: of the backbone.
        """
        return kernels != OFF and device.type == "cpu" and can_fuse(backbone, torch.float32)

    def __call__(
        self, images: Tensor | ImageRows, out: Tensor, *, sink: Sink | None = None, stage: str = ""
    ) -> None:
        """Results of images as they are.

        Args:
            images: uint8 (N, 3, H, W), or float32 in [0, 1]; on the CPU.
            out: float32 (N, width), written to.
            sink: receives the progress, and is asked now and then whether to stop.
            stage: name of the progress.

        Raises:
            Interrupted: when the sink asked to stop.
        """

        def inputs(rows: slice) -> Tensor:
            some = images[rows]
            if some.dtype == torch.uint8 and some.is_contiguous():
                return normalise_natively(some, self._mean, self._std)
            some = some.contiguous(memory_format=torch.channels_last)
            return normalise(to_float(some), self._mean, self._std)

        self._run(len(images), inputs, out, sink, stage)

    def views(
        self,
        augmenter: Augmenter,
        images: Tensor,
        indices: Tensor,
        params: AugmentParams,
        width: int,
    ) -> Tensor:
        """Results of augmented views.

        Args:
            augmenter: made ``params``; ``NativeAugmenter.can_take`` must hold for it.
            images: uint8 (M, 3, H, W), contiguous, on the CPU.
            indices: int64 (n,), the images that the views are of.
            params: of the n views.
            width: of a result.

        Returns:
            float32 (n, width).
        """
        native = NativeAugmenter(augmenter, self._mean, self._std, self._kernels)
        batch = native.prepare(images, params)
        indices, size = indices.contiguous(), augmenter.size

        def inputs(rows: slice) -> Tensor:
            some = indices[rows]
            views = torch.empty(len(some), 3, size, size, memory_format=torch.channels_last)
            batch.compute(some, views, rows.start)
            return views

        out = torch.empty(len(indices), width)
        self._run(len(indices), inputs, out, None, "")
        return out

    def _run(
        self,
        count: int,
        inputs: Callable[[slice], Tensor],
        out: Tensor,
        sink: Sink | None,
        stage: str,
    ) -> None:
        @torch.no_grad()  # the mode of the calling thread does not hold in a worker
        def work(_worker: int, start: int) -> None:
            rows = slice(start, min(start + ROWS, count))
            values = self._net(inputs(rows))
            out[rows] = values if self._after is None else self._after(values)

        together = ROWS * _PASSES * self._workers.count
        with evaluating(self._source), single_threaded():
            for begin in range(0, count, together):
                end = min(begin + together, count)
                if sink is not None:
                    check_interrupt(sink)
                self._workers.map(work, range(begin, end, ROWS))
                if sink is not None:
                    sink.progress(stage, end, count)

    def close(self) -> None:
        """End the threads."""
        self._workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
