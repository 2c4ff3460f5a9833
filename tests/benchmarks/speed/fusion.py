"""What fusing saves of a step: operations, kernels and the bytes that they move.

One by one: as ``roofline`` counts, on the plain step. Fused: by the compiler's own account of the
kernels that it makes of both halves of the step (``runtime.capture=fused``), the convolutions and
products of libraries among them. On a CPU the step is put on the ways that it takes on CUDA (dense
augmentation of the whole batch, whole logits, torch's dropout) and the kernels are those for the
CPU: Triton's join a little more or less.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.dropout import Dropout
from engine.pretrain.step_wrappers import CapturedStep

from . import ours, timing
from .roofline import ByteCounter

PARTS = ("augmentation", "model, forward", "model, backward")


@contextlib.contextmanager
def as_on_cuda(device: torch.device) -> Iterator[None]:
    """On a CPU, steps that are made inside take the ways that they take on CUDA."""

    def dropout(self: Dropout, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    with contextlib.ExitStack() as stack:
        if device.type == "cpu":
            for name, value in (
                # A recorder makes the step a static one; this stand-in records nothing.
                ("engine.pretrain.pretraining.recorder_for", lambda *_: object()),
                ("engine.models.info_nce.in_chunks", lambda *_: False),
                ("engine.augment.augmenter._CPU_CHUNK", 1 << 30),
                ("engine.models.dropout.Dropout.forward", dropout),
            ):
                stack.enter_context(patch(name, value))
        yield


@contextlib.contextmanager
def kernels_counted(found: list[tuple[int, int]]) -> Iterator[None]:
    """Kernels and bytes of every graph that is compiled inside.

    The compiler's caches are off: of a graph that comes from one, no kernel would be counted.

    Args:
        found: gets the count of kernels and bytes of each graph.
    """
    import torch._functorch.config
    import torch._inductor.config
    from torch._inductor.graph import GraphLowering

    compiled = GraphLowering.compile_to_module

    def counted(self: GraphLowering) -> Any:
        module = compiled(self)
        found.append((len(self.scheduler.nodes), int(self.count_bytes()[0])))
        return module

    with (
        patch.object(GraphLowering, "compile_to_module", counted),
        torch._inductor.config.patch(force_disable_caches=True, fx_graph_cache=False),
        torch._functorch.config.patch(enable_autograd_cache=False),
    ):
        yield


def measure(values: dict[str, Any], *, say: Callable[[str], None]) -> dict[str, Any]:
    """Counts both forms of one step of the notebook preset with these settings over it."""
    device = torch.device(values["runtime.device"])
    with as_on_cuda(device):
        settings = {**values, "runtime.capture": "fused"}
        training, _ = ours.start(settings, ours.pictures(8192))
        assert isinstance(training.compute_step, CapturedStep)
        fused = training.compute_step.inner
        indices = training.state.next_indices()
        say("counting the operations")
        with ByteCounter() as one_by_one:
            fused(indices)
        say("compiling")
        found: list[tuple[int, int]] = []
        with kernels_counted(found):
            notices = fused.prepare()
        training.close()
    result: dict[str, Any] = {
        "operations": one_by_one.calls,
        "megabytes": one_by_one.bytes / 1e6,
        "error": " ".join(notices),
        "fused": {
            part: {"kernels": kernels, "megabytes": count / 1e6}
            for part, (kernels, count) in zip(PARTS, found, strict=False)
        },
    }
    return result


def show(result: dict[str, Any]) -> str:
    """Both forms as a table."""
    rows: list[tuple[object, ...]] = [
        ("one by one", f"{result['operations']:,}", f"{result['megabytes']:,.0f}")
    ]
    if result["error"]:
        return timing.table(("step", "kernels", "MB moved"), rows) + f"\n{result['error']}"
    parts = result["fused"]
    rows += [
        (f"fused: {name}", part["kernels"], f"{part['megabytes']:,.0f}")
        for name, part in parts.items()
    ]
    kernels = sum(part["kernels"] for part in parts.values())
    megabytes = sum(part["megabytes"] for part in parts.values())
    rows.append(("fused", kernels, f"{megabytes:,.0f}"))
    return timing.table(("step", "kernels", "MB moved"), rows)
