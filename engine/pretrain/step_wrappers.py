"""What makes a plain step faster on CUDA, around it: the compiler and the CUDA graph.

Each wrapper offers what a step offers, and computes the step inside it where it fails itself.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from engine.pretrain.plain_step import PlainStep, StepKind
from engine.runtime.compiled import compile_on_call, drop_compiled
from engine.runtime.cuda_graph import (
    CapturedFunction,
    CaptureError,
    Recorder,
    first_cause,
    preserved,
)


class FusedStep:
    """A plain step with its two halves compiled: the augmentation, and the loss with its backward.

    Random numbers of the augmentations and the order of the keys are drawn outside: a compiled
    function would draw others. The optimizer has fused kernels of its own.

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
        as_written = inner.augment, inner.loss
        try:
            inner.augment, inner.loss = compile_on_call(inner.augment), compile_on_call(inner.loss)
            with (
                warnings.catch_warnings(),
                preserved(state.changing_tensors(), state.generators()),
            ):
                # The compiler advises against settings that were chosen on purpose (TF32 off).
                warnings.simplefilter("ignore")
                # Functions are compiled when they are first called: a step, which is undone.
                inner(state.next_indices())
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise errors of many classes; none may end a run
            inner.augment, inner.loss = as_written
            drop_compiled()
            return [
                f"The operations of a step could not be fused ({first_cause(error)}); they are "
                "computed one by one, which is slower."
            ]
        finally:
            state.optimizer.zero_grad(set_to_none=True)  # ``preserved`` holds no gradients
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

    def __init__(self, inner: PlainStep | FusedStep, recorder: Recorder) -> None:
        self.inner = inner
        self._state = inner.state if isinstance(inner, PlainStep) else inner.inner.state
        self._recorder: Recorder | None = recorder
        self._captured: CapturedFunction | None = None

    @property
    def kind(self) -> StepKind:
        """As in ``Step``."""
        if self._captured is None:
            return self.inner.kind
        return "fused and captured" if self.inner.kind == "fused" else "captured"

    def prepare(self) -> list[str]:
        """Prepares the step inside, and records it; see ``Step``."""
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
