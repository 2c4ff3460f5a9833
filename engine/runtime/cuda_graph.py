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

WARM_UPS = 3
"""Steps before the recording: libraries make their handles and choose their algorithms in them."""

# Graphs whose recording failed. torch's allocator may still ask them whether an allocation is
# theirs, so they have to live as long as the process.
_failed_graphs: list[torch.cuda.CUDAGraph] = []


class CaptureError(Exception):
    """The step cannot be recorded here; the message is the reason, without a full stop."""


class Recorder(Protocol):
    """What records a step and replays it: CUDA, or a stand-in for it in the tests."""

    def stream(self) -> contextlib.AbstractContextManager[None]:
        """Inside, what is computed goes to the stream that warm-up and recording use."""

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

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """As in ``Recorder``."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            try:
                with torch.cuda.stream(self._stream):
                    yield
            finally:  # also after an error: kernels still running would write over what is restored
                torch.cuda.synchronize()

    def warm_up(self, step: Callable[[], None]) -> None:
        """As in ``Recorder``."""
        # An autograd graph that lives on in a reference cycle holds gradients' accumulators, whose
        # stream is that of its making: a recording would wait for it, and fail.
        gc.collect()
        with self.stream():
            for _ in range(WARM_UPS):
                step()

    def record(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        """As in ``Recorder``."""
        self.close()
        gc.collect()  # else tensors in reference cycles may be freed during the recording
        states = [generator.get_state() for generator in generators]
        with torch.cuda.device(self._device):
            graph = torch.cuda.CUDAGraph()
            pool = torch.cuda.graph_pool_handle()
            try:
                _register(graph, generators)
                # The outer torch.cuda.stream: up to torch 2.11 a recording that fails leaves its
                # stream the current one. thread_local: other threads may use CUDA meanwhile.
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
                _end_failed(graph, pool, self._device)
                for generator, state in zip(generators, states, strict=True):
                    _replace_state_object(generator, state)
                raise CaptureError(first_cause(error)) from error
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


class CapturedFunction:
    """A function from a batch's indices to its loss, recorded and replayed.

    Making one leaves ``tensors`` and ``generators`` as they were.

    Args:
        compute: ``(B,)`` int64 indices to the loss, a scalar. Its shapes never depend on data, it
            never waits for the device, and what it changes it changes in place.
        indices: of a real batch, on the device; only their shape is kept.
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
        # The graph reads and writes these two at the addresses of its recording.
        self._indices = indices.clone()
        self._loss = torch.zeros((), device=indices.device)

        def step() -> None:
            self._loss.copy_(compute(self._indices))

        # The warm-up computes real steps, which are not to count.
        with preserved(tensors, generators):
            try:
                recorder.warm_up(step)
                recorder.record(step, generators)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise CaptureError(first_cause(error)) from error

    def __call__(self, indices: Tensor) -> Tensor:
        """Replays for the batch of these indices; the loss, a new scalar on the device."""
        self._indices.copy_(indices)
        self._recorder.replay()
        return self._loss.clone()  # the next replay overwrites this one

    def close(self) -> None:
        """Give the memory of the recording back."""
        self._recorder.close()


@contextlib.contextmanager
def preserved(tensors: Sequence[Tensor], generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Restores these when the block ends, also after an error, at the same addresses.

    The copies lie in host memory: a queue may take a large part of the device's.
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
    """Has replays advance the generators. Later torch finds them itself, and warns of this call."""
    # Deprecated and without effect from torch 2.14 on, and to be removed.
    register = getattr(graph, "register_generator_state", None)
    if register is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for generator in generators:
            if generator.device.type == "cuda":
                register(generator)


def _end_failed(graph: torch.cuda.CUDAGraph, pool: tuple[int, int], device: torch.device) -> None:
    """Ends what a failed recording has left open, so that plain steps can follow."""
    try:
        graph.pool()  # raises unless capture_end succeeded, and only the step failed
    except RuntimeError:
        _failed_graphs.append(graph)
        # Otherwise the allocator would still use the pool of the recording, and keep its memory.
        index = torch.cuda.current_device() if device.index is None else device.index
        for end in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            with contextlib.suppress(RuntimeError, AttributeError, TypeError):
                getattr(torch._C, end)(index, pool)
    else:
        graph.reset()


def _replace_state_object(generator: torch.Generator, state: Tensor) -> None:
    """Gives a generator a new state object: that of a failed recording stays in capture mode."""
    if generator.device.type == "cuda":
        fresh = torch.Generator(generator.device)
        fresh.set_state(state)
        generator.graphsafe_set_state(fresh)


def first_cause(error: BaseException) -> str:
    """The first line of an error, to stand in a sentence, without a full stop.

    Ending a recording that failed raises another error; the first of the chain is the cause.
    """
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
