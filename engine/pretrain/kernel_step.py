"""A plain step on a card, by kernels in Triton: between two convolutions, and of the loss.

The kernels and what imports Triton are looked for when the step is prepared, not before.
"""

from __future__ import annotations

import contextlib
import warnings

import torch
from torch import Tensor, nn

from engine.augment.kernel_augmenter import KernelAugmenter
from engine.pretrain.fused_check import (
    Halves,
    disagreement,
    key_disagreement,
    view_disagreement,
)
from engine.pretrain.piecewise import piecewise_updates
from engine.pretrain.plain_step import PlainStep, StepKind
from engine.runtime.compiled import compile_on_call, drop_compiled
from engine.runtime.compiling import compiling, keep_triton_kernels
from engine.runtime.cuda_graph import first_cause

_SLOWER = "computed one by one, which is slower"


class KernelStep:
    """A plain step through ``engine.kernels``.

    The kernels are those of the encoders, the loss, the order of the keys, their queue and the
    views; small nets are updated in pieces.

    Augmentations that have no kernel there (``KernelAugmenter.can_take``) are compiled. Each half
    is taken on its own, and only if it agrees with the step as written on a batch of this run
    (``fused_check``). Parameters, running statistics and their names are those of the plain step.

    Args:
        inner: the step; its halves are replaced.
    """

    def __init__(self, inner: PlainStep) -> None:
        self.inner = inner
        self._tried = False
        self._taken = False
        self._compiled = False
        self._view_kernel: KernelAugmenter | None = None

    @property
    def kind(self) -> StepKind:
        """As in ``Step``; ``kernels`` also where the augmentations are left as written."""
        return "kernels" if self._taken else self.inner.kind

    def prepare(self) -> list[str]:
        """Compiles the kernels of both halves; see ``Step``."""
        if self._tried:
            self._follow_statistics()
            return []
        self._tried = True
        if self.inner.state.runtime.device.type == "cuda":
            keep_triton_kernels()
        with self._on_device():
            notice = self._take_kernels()
            if notice:
                return [notice]
            self._taken = True
            return self._join_augmentations()

    def _take_kernels(self) -> str:
        """Puts the kernels into the loss; a sentence where they are not taken."""
        inner, state = self.inner, self.inner.state
        written = Halves(inner.augment, inner.loss)
        try:
            lacking = what_lacks(state.runtime.device, state.model.encoder_q.backbone)
            if lacking:
                return f"{lacking}; the operations of a step are {_SLOWER}."
            from engine.models.kernel_layers import with_kernels

            twin = with_kernels(state.model)
            dtype = self._view_dtype()

            def loss(view_1: Tensor, view_2: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
                # So that what is checked is what trains, whatever makes the views.
                return twin.loss_in_order(view_1.to(dtype), view_2.to(dtype), order)

            wrong = key_disagreement(state, twin) or disagreement(
                state,
                state.next_indices(),
                written=written,
                compiled=written._replace(loss=loss),
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise errors of many classes; none may end a run
            return (
                f"The kernels of a step could not be used ({first_cause(error)}); its operations "
                f"are {_SLOWER}."
            )
        finally:
            state.optimizer.zero_grad(set_to_none=True)  # of a check that did not end
        if wrong:
            return (
                f"What the kernels compute of a step is not the step ({wrong}); its operations "
                f"are {_SLOWER}."
            )
        inner.loss, inner.key_order, inner.enqueue = loss, twin.key_order, twin.enqueue
        updates = piecewise_updates(state)
        if updates is not None:
            inner.momentum_update, inner.optimise = updates.momentum_update, updates.optimise
        return ""

    def _join_augmentations(self) -> list[str]:
        """Makes views in few kernels; sentences where that is not by the quickest way there is."""
        state, notices = self.inner.state, list[str]()
        plain = state.images.dtype == torch.uint8 and state.images.is_contiguous()
        if plain and KernelAugmenter.can_take(state.config.augment, state.augmenter.size):
            why = self._take_view_kernel()
            if not why:
                return []
            notices.append(f"{why}; torch.compile joins them.")
        notice = self._compile_augmentations()
        return [*notices, notice] if notice else notices

    def _take_view_kernel(self) -> str:
        """Takes the kernel that makes views; why not, a sentence without its end, or empty."""
        inner, state = self.inner, self.inner.state
        dtype = self._view_dtype()
        try:
            shape = (state.images.shape[2], state.images.shape[3])
            kernel = KernelAugmenter(state.augmenter, shape, state.mean, state.std)

            def views(images: Tensor, numbers: Tensor) -> Tensor:
                return kernel(images, numbers, dtype)

            def checked(images: Tensor, numbers: Tensor) -> Tensor:
                wide = kernel(images, numbers)
                if not torch.equal(views(images, numbers), wide.to(dtype)):
                    raise ValueError("its bfloat16 is rounded otherwise")
                return wide

            wrong = view_disagreement(
                state, state.next_indices(), written=inner.augment, compiled=checked
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # as above
            return f"The kernel of the augmentations could not be used ({first_cause(error)})"
        if wrong:
            return f"What the kernel of the augmentations computes is not them ({wrong})"
        inner.augment, self._view_kernel = views, kernel
        return ""

    def _follow_statistics(self) -> None:
        """Has the kernel of the views normalise as the state does, which may have been loaded."""
        kernel, state = self._view_kernel, self.inner.state
        if kernel is not None and (kernel.mean is not state.mean or kernel.std is not state.std):
            kernel.normalise_by(state.mean, state.std)

    def _view_dtype(self) -> torch.dtype:
        """As the first convolution takes views: else autocast rounds them, at every reading."""
        return torch.bfloat16 if self.inner.state.runtime.bfloat16 else torch.float32

    def _compile_augmentations(self) -> str:
        """Compiles the augmentations; a sentence where they are left as they are."""
        inner, state = self.inner, self.inner.state
        written = inner.augment
        try:
            with compiling(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as in FusedStep
                compiled = compile_on_call(written)
                wrong = view_disagreement(
                    state, state.next_indices(), written=written, compiled=compiled
                )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # as above
            drop_compiled()
            return (
                f"The augmentations could not be fused ({first_cause(error)}); they are {_SLOWER}."
            )
        if wrong:
            drop_compiled()
            return (
                f"What torch {torch.__version__} compiled of the augmentations does not compute "
                f"them ({wrong}); they are {_SLOWER}."
            )
        inner.augment, self._compiled = compiled, True
        return ""

    def __call__(self, indices: Tensor) -> Tensor:
        """As in ``Step``."""
        with self._on_device():
            return self.inner(indices)

    def _on_device(self) -> contextlib.AbstractContextManager[object]:
        """Triton launches on the current device, whatever device the tensors are on."""
        device = self.inner.state.runtime.device
        return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()

    def release(self) -> None:
        """Nothing to drop: the kernels are told their addresses at each launch."""

    def close(self) -> None:
        """Gives back what was compiled."""
        if self._compiled:
            drop_compiled()


def what_lacks(device: torch.device, backbone: nn.Module) -> str:
    """Why there are no kernels for an encoder on a device, as a sentence without its end, or empty.

    A CPU, where tests stand in for a card, needs no Triton: it computes them by torch.
    """
    from engine.kernels import operations
    from engine.models.kernel_layers import can_take_kernels

    if device.type != "cpu" and not operations.HAS_TRITON:
        return (
            "runtime.capture is kernels, but triton is not installed (it comes with torch's builds "
            "for CUDA)"
        )
    if not can_take_kernels(backbone):
        return (
            "runtime.capture is kernels, but there are none for this encoder (only for convnet and "
            "the ResNets)"
        )
    return ""
