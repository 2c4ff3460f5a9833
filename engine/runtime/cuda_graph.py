"""A training step that is recorded once as a CUDA graph and replayed from then on.

Launching the few hundred kernels of a step one by one takes longer than they run. A graph launches
them together, with the addresses, shapes and numbers that were recorded: what changes from step to
step has to lie in tensors that stay where they are.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

#: Steps before the recording: libraries make their handles and choose their algorithms in them.
WARM_UPS = 3

# Graphs whose recording failed. torch's allocators may still ask them whether an allocation is
# theirs, so they have to outlive the run.
_abandoned: list[torch.cuda.CUDAGraph] = []


class CaptureError(Exception):
    """The step cannot be recorded here; the message is the reason, without a full stop."""


class Recorder(Protocol):
    """What records a step and replays it: CUDA, or a stand-in for it in the tests."""

    def warm_up(self, step: Callable[[], None]) -> None:
        """Run the step ``WARM_UPS`` times, as it will be recorded."""

    def record(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        """Record the step, in place of an earlier one, without doing what it does.

        Raises:
            CaptureError: when that is not possible; the step can still be run.
        """

    def replay(self) -> None:
        """Do what the step does, with what now lies in its tensors."""

    def close(self) -> None:
        """Forget the recording and give its memory back; another may follow."""


def recorder_for(device: torch.device, capture: str) -> Recorder | None:
    """The recorder of a device under ``runtime.capture``; None where steps are not recorded."""
    if device.type != "cuda" or capture == "off":
        return None
    return CudaRecorder(device)


class CudaRecorder:
    """Records on a CUDA device.

    Warm-up and recording use one stream of their own: CUDA's libraries hold what they have made
    ready by stream. The recording has a memory pool of its own. Replays go to the caller's stream.

    Args:
        device: the CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None

    def warm_up(self, step: Callable[[], None]) -> None:
        """As in ``Recorder``."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            try:
                with torch.cuda.stream(self._stream):
                    for _ in range(WARM_UPS):
                        step()
            finally:  # after an error, too: what was begun must not write over what is put back
                torch.cuda.synchronize()

    def record(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        """As in ``Recorder``."""
        self.close()
        gc.collect()  # what dies in a cycle during the recording would be freed in it
        states = [generator.get_state() for generator in generators]
        with torch.cuda.device(self._device):
            graph = torch.cuda.CUDAGraph()
            pool = torch.cuda.graph_pool_handle()
            try:
                _register(graph, generators)
                # Around it once more: before torch 2.12 or so, a recording that fails leaves its
                # stream the current one. Other threads may use CUDA meanwhile (thread_local).
                with (
                    torch.cuda.stream(self._stream),
                    torch.cuda.graph(
                        graph,
                        pool=pool,
                        stream=self._stream,
                        capture_error_mode="thread_local",
                    ),
                ):
                    step()
            except Exception as error:
                _abandon(graph, pool, self._device)
                for generator, state in zip(generators, states, strict=True):
                    _renew(generator, state)
                raise CaptureError(reason(error)) from error
        self._graph = graph

    def replay(self) -> None:
        """As in ``Recorder``."""
        assert self._graph is not None
        self._graph.replay()

    def close(self) -> None:
        """As in ``Recorder``."""
        if self._graph is not None:
            torch.cuda.synchronize(self._device)  # a replay may still be under way
            self._graph.reset()
            self._graph = None
        torch.cuda.empty_cache()


class CapturedStep:
    """A step from a batch's indices to its loss, recorded and replayed.

    Making one leaves every tensor and generator that it is told of as it was.

    Args:
        compute: the step: ``(B,)`` int64 indices to the loss, a scalar. Its shapes never depend on
            data, it never waits for the device, and what it changes it changes in place.
        indices: of a real batch, on the device; only their shape lasts.
        tensors: all that ``compute`` changes.
        generators: all that ``compute`` draws from.
        recorder: records and replays.

    Raises:
        CaptureError: when it cannot be recorded.
        torch.OutOfMemoryError: when a plain step does not fit the device.
    """

    def __init__(
        self,
        compute: Callable[[Tensor], Tensor],
        indices: Tensor,
        *,
        tensors: Sequence[Tensor],
        generators: Sequence[torch.Generator],
        recorder: Recorder,
    ) -> None:
        self._recorder = recorder
        self._indices = indices.clone()
        self._loss = torch.zeros((), device=indices.device)

        def step() -> None:
            self._loss.copy_(compute(self._indices))

        with preserved(tensors, generators):
            try:
                recorder.warm_up(step)
                recorder.record(step, generators)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise CaptureError(reason(error)) from error

    def __call__(self, indices: Tensor) -> Tensor:
        """One step on the batch of these indices; its loss, a scalar of its own on the device."""
        self._indices.copy_(indices)
        self._recorder.replay()
        return self._loss.clone()  # the next replay writes over it

    def close(self) -> None:
        """Give the memory of the recording back."""
        self._recorder.close()


@contextlib.contextmanager
def preserved(tensors: Sequence[Tensor], generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Whatever happens inside, afterwards these hold what they held, at the same addresses.

    The copies wait in host memory: a queue may take a large part of the device's.
    """
    kept = [tensor.detach().to("cpu", copy=True) for tensor in tensors]
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, copy in zip(tensors, kept, strict=True):
                tensor.copy_(copy)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _register(graph: torch.cuda.CUDAGraph, generators: Sequence[torch.Generator]) -> None:
    """Have replays advance the generators. Later torch finds them itself and says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for generator in generators:
            if generator.device.type == "cuda":
                graph.register_generator_state(generator)


def _abandon(graph: torch.cuda.CUDAGraph, pool: tuple[int, int], device: torch.device) -> None:
    """End what a recording that failed has left open, so that plain steps can follow."""
    try:
        graph.pool()  # the recording itself was ended in order: only the step failed
    except RuntimeError:
        _abandoned.append(graph)
        # Without this the allocator believes that the recording goes on and keeps its memory.
        index = torch.cuda.current_device() if device.index is None else device.index
        for end in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            with contextlib.suppress(RuntimeError, AttributeError, TypeError):
                getattr(torch._C, end)(index, pool)
    else:
        graph.reset()


def _renew(generator: torch.Generator, state: Tensor) -> None:
    """Give a generator another core: that of a recording that failed may think it still runs."""
    if generator.device.type == "cuda":
        fresh = torch.Generator(generator.device)
        fresh.set_state(state)
        generator.graphsafe_set_state(fresh)


def reason(error: BaseException) -> str:
    """The first line of an error, to stand in a sentence, without a full stop.

    The end of a recording that failed is an error too: what came first is the reason.
    """
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
