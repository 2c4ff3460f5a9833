"""What makes a plain step faster on CUDA, around it: the compiler and the CUDA graph.

Each wrapper offers what a step offers, and computes the step inside it where it fails itself.
"""

from __future__ import annotations

import contextlib
import warnings

import torch
from torch import Tensor

from engine.pretrain.fused_check import Halves, disagreement
from engine.pretrain.kernel_step import KernelStep
from engine.pretrain.plain_step import PlainStep, StepKind
from engine.runtime.compiled import compile_on_call, drop_compiled
from engine.runtime.compiling import compiling
from engine.runtime.cuda_graph import (
    CapturedFunction,
    CaptureError,
    Recorder,
    first_cause,
)

_CAPTURED: dict[StepKind, StepKind] = {
    "fused": "fused and captured",
    "kernels": "kernels and captured",
}


class FusedStep:
    """A plain step with its two halves compiled: the augmentation, and the loss with its backward.

    Random numbers of the augmentations and the order of the keys are drawn outside: a compiled
    function would draw others. The optimizer has fused kernels of its own. What was compiled is
    taken only if it agrees with the step as written (``fused_check``).

    Args:
        inner: the step; its halves are replaced by compiled ones.
    """

    def __init__(self, inner: PlainStep) -> None:
        self.inner = inner
        self._tried = False
        self._fused = False

    @property
    def kind(self) -> StepKind:
        """As in ``Step``."""
        return "fused" if self._fused else self.inner.kind

    def prepare(self) -> list[str]:
        """Compiles both halves; see ``Step``."""
        if self._tried:
            return []
        self._tried = True
        inner, state = self.inner, self.inner.state
        written = Halves(inner.augment, inner.loss)
        try:
            with compiling(), warnings.catch_warnings():
                # The compiler advises against settings that were chosen on purpose (TF32 off).
                warnings.simplefilter("ignore")
                compiled = Halves(compile_on_call(written.augment), compile_on_call(written.loss))
                # Functions are compiled when they are first called.
                wrong = disagreement(
                    state, state.next_indices(), written=written, compiled=compiled
                )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise errors of many classes; none may end a run
            drop_compiled()
            return [
                f"The operations of a step could not be fused ({first_cause(error)}); they are "
                "computed one by one, which is slower."
            ]
        finally:
            state.optimizer.zero_grad(set_to_none=True)  # of a check that did not end
        if wrong:
            drop_compiled()
            return [
                f"What torch {torch.__version__} compiled of a step does not compute the step "
                f"({wrong}); its operations are computed one by one, which is slower."
            ]
        inner.augment, inner.loss = compiled
        self._fused = True
        return []

    def __call__(self, indices: Tensor) -> Tensor:
        """As in ``Step``."""
        return self.inner(indices)

    def release(self) -> None:
        """Nothing to drop: compiled functions look their tensors up."""

    def close(self) -> None:
        """Gives back what was compiled."""
        if self._fused:
            drop_compiled()


class CapturedStep:
    """A step that is recorded as a CUDA graph and replayed.

    Args:
        inner: the step that is recorded.
        recorder: records and replays.
    """

    def __init__(self, inner: PlainStep | FusedStep | KernelStep, recorder: Recorder) -> None:
        self.inner = inner
        self._state = inner.state if isinstance(inner, PlainStep) else inner.inner.state
        self._recorder: Recorder | None = recorder
        self._captured: CapturedFunction | None = None

    @property
    def kind(self) -> StepKind:
        """As in ``Step``."""
        if self._captured is None:
            return self.inner.kind
        return _CAPTURED.get(self.inner.kind, "captured")

    def prepare(self) -> list[str]:
        """Prepares the step inside, and records it; see ``Step``."""
        # What is compiled holds on to the stream of its first call, so that is the recording's.
        with contextlib.nullcontext() if self._recorder is None else self._recorder.stream():
            notices = self.inner.prepare()
        if self._recorder is None or self._captured is not None:
            return notices
        state = self._state
        try:
            self._captured = CapturedFunction(
                self.inner,
                state.next_indices(),
                tensors=state.changing_tensors(),
                generators=state.generators(),
                recorder=self._recorder,
            )
        except CaptureError as error:
            self._recorder.close()
            self._recorder = None
            notices.append(
                f"The step could not be recorded as a CUDA graph ({error}); its kernels are "
                "launched one by one, which is slower and computes the same."
            )
        finally:
            # Gradients of the recording lie in the graph's memory pool, where replays write.
            state.optimizer.zero_grad(set_to_none=True)
        return notices

    def __call__(self, indices: Tensor) -> Tensor:
        """As in ``Step``."""
        return self.inner(indices) if self._captured is None else self._captured(indices)

    def release(self) -> None:
        """Drops the recording, and gives its memory back."""
        if self._captured is not None:
            self._captured.close()
            self._captured = None

    def close(self) -> None:
        """Drops the recording and what was compiled."""
        self.release()
        self.inner.close()
