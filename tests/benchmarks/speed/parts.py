"""Where a step on a CPU spends its time: each part by itself, beside what it would take at best.

One thread, processor time. The parts are those of one BatchNorm group, from the layers that really
compute it, times the groups of queries (forward and backward) and of keys (forward). At best:
products and convolutions at the rate of large products of their dtype, layers between convolutions
at the rate of copies inside the cache, both measured in the same run.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.models.convnet_pass import ConvNetPass
from engine.models.fused_layers import FusedNorm, FusedPooledNorm
from engine.native.library import OFF
from engine.pretrain.groupwise_step import GroupwiseStep
from engine.pretrain.pretraining import Pretraining
from engine.pretrain.replicas import PassReplica
from engine.runtime.device import apply_runtime, resolve_runtime

from . import ours, roofline, timing

REST = "the rest: Python, dispatch, copies, updates"
LAYERS = (nn.Conv2d, FusedNorm, FusedPooledNorm)


@dataclasses.dataclass(frozen=True)
class Call:
    """A layer as one group of queries calls it, with its inputs."""

    layer: nn.Module
    inputs: tuple[Tensor, ...]


def measure(
    values: Mapping[str, Any], *, preset: str, repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Milliseconds of every part of a step, and at best."""
    config = resolve(PretrainConfig, preset_name=preset, extra={**values, "runtime.threads": 1})
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=False)
    if runtime.kernels == OFF:
        raise SystemExit("parts: the kernels in C were not built, or are switched off.")
    training = Pretraining(config, ours.pictures(4 * config.optim.batch_size), runtime)
    step = training.compute_step
    assert isinstance(step, GroupwiseStep)
    say("measuring the rates")
    rates = roofline.cpu_rates(1)
    timed = functools.partial(milliseconds, repeats=repeats)
    whole = timed(training.advance)
    say("measuring the parts")
    backward = step._backward
    views, groups = (2 if config.moco.symmetric else 1), backward.splits
    half = "bfloat16" if runtime.bfloat16 else "float32"
    counted = roofline.operations(config)
    images = step.views(training.state.next_indices())[0][0::groups]
    replica = backward._replicas_q[0]
    replica.refresh()
    per_step = groups * views
    if isinstance(replica, PassReplica):
        of_convolutions, of_between, moved = pass_parts(replica.backbone, images, timed)
    else:
        calls = group_calls(replica, images)
        convolutions = [call for call in calls if isinstance(call.layer, nn.Conv2d)]
        between = [call for call in calls if not isinstance(call.layer, nn.Conv2d)]
        of_convolutions = sum(both_ways(call, timed) for call in convolutions)
        of_between = sum(both_ways(call, timed) for call in between)
        moved = sum(bytes_between(call) for call in between)
    head = backward._replicas_q[0].encoder.projection_head
    features = torch.randn(len(images), backward.moco.encoder_q.feature_dim)
    head_call = Call(head, (features,))
    of_head = 8.0 * len(images) * sum(p.numel() for p in head.parameters()) * per_step
    moved *= per_step
    q = nn.functional.normalize(torch.randn(len(images), config.model.dim), dim=1)
    loss = backward._loss
    loss.read()
    k = q.clone()

    def queries() -> None:
        loss.with_gradient(q, k, 1.0)

    rows = [
        (
            "convolutions",
            per_step * of_convolutions,
            1e3 * (counted.encoders - of_head) / rates[half],
        ),
        (
            "BatchNorm, dropout, pooling, ReLU",
            per_step * of_between,
            1e3 * moved / rates["cache"],
        ),
        (
            "logits, loss",
            per_step * timed(queries) + timed(loss.read),
            1e3 * counted.logits / rates[half if loss.packed else "float32"],
        ),
        ("head", per_step * both_ways(head_call, timed), 1e3 * of_head / rates["float32"]),
        ("augmentation", timed(lambda: step.views(training.state.next_indices())), None),
    ]
    training.close()
    rest = whole - sum(took for _, took, _ in rows)
    return {
        "whole": whole,
        "kernels": runtime.kernels,
        "rates": rates,
        "parts": [*rows, (REST, rest, None)],
    }


@torch.no_grad()
def pass_parts(
    one: ConvNetPass, images: Tensor, timed: Callable[[Callable[[], object]], float]
) -> tuple[float, float, float]:
    """Milliseconds of convolutions and of what stands between them, and the bytes that it moves.

    For a group of queries, with its gradient, and for one of keys.
    """
    statistics = torch.empty(2, sum(one.channels))
    at = statistics.data_ptr()
    convolutions = blocks = moved = 0.0
    x = images.contiguous(memory_format=torch.channels_last)
    for number, block in enumerate(one.blocks):
        y, wanted = block.convolution.forward(x), number > 0
        grad = torch.randn_like(block.forward(x, 1, at, at))
        forward = functools.partial(block.convolution.forward, x)
        back = functools.partial(block.convolution.backward, x, torch.randn_like(y), wanted=wanted)
        convolutions += 2 * timed(forward) + timed(back)
        blocks += timed(functools.partial(block.forward, x, 1, at, at)) - timed(forward)
        blocks += timed(functools.partial(block.backward, grad, wanted=wanted)) - timed(back)
        block.dropout.eval()  # keys have none
        blocks += timed(functools.partial(block.forward, x, None, at, at)) - timed(forward)
        block.dropout.train()
        of_y, of_grad = (float(t.numel() * t.element_size()) for t in (y, grad))
        moved += 2.0 * (2.0 * of_y + of_grad) + 2.0 * (of_grad + of_y) + of_y
        x = grad
    return convolutions, blocks, moved


def group_calls(replica: Any, images: Tensor) -> list[Call]:
    """The calls of convolutions and of the layers between them, for the images of one group."""
    found: list[Call] = []

    def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = tuple(x.detach() for x in inputs if isinstance(x, Tensor))
        found.append(Call(layer, given))

    hooks = [
        layer.register_forward_pre_hook(note)
        for layer in replica.encoder.modules()
        if isinstance(layer, LAYERS)
    ]
    replica.encode(images)
    for hook in hooks:
        hook.remove()
    return found


def both_ways(call: Call, timed: Callable[[Callable[[], object]], float]) -> float:
    """Milliseconds of a layer for a group of queries, with its gradient, and for one of keys."""
    first = call.inputs[0].shape[1] == 3 and isinstance(call.layer, nn.Conv2d)
    inputs = tuple(x.clone().requires_grad_(not first) for x in call.inputs)
    parameters = list(call.layer.parameters())
    wanted = [x for x in (*inputs, *parameters) if x.requires_grad]
    with torch.no_grad():
        gradient = torch.randn_like(call.layer(*call.inputs))

    def queries() -> None:
        torch.autograd.grad(call.layer(*inputs), wanted, gradient)

    def keys() -> None:
        with torch.no_grad():
            call.layer(*call.inputs)

    return timed(queries) + timed(keys)


def bytes_between(call: Call) -> float:
    """Bytes that a layer between two convolutions has to move for queries and for keys.

    Forward: the input once for its statistics and once to be applied, and the output; backward:
    gradient and input once for the sums and once to be applied, and the gradient of the input.
    """
    values = sum(x.numel() * x.element_size() for x in call.inputs)
    pooled = isinstance(call.layer, FusedPooledNorm)
    x = call.inputs[0]
    out = x.numel() * x.element_size() // (4 if pooled else 1)
    forward = x.numel() * x.element_size() + values + out
    backward = 2.0 * (out + x.numel() * x.element_size()) + values
    return 2.0 * forward + backward


def milliseconds(work: Callable[[], object], *, repeats: int) -> float:
    """Processor time of a call, the median."""
    work()
    took = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        took.append(1e3 * (time.process_time() - began))
    return statistics.median(took)


def show(result: dict[str, Any]) -> str:
    """The parts as a table."""
    whole = result["whole"]
    rows = [
        (name, f"{took:.1f}", f"{100 * took / whole:.0f} %", "" if best is None else f"{best:.1f}")
        for name, took, best in result["parts"]
    ]
    rows.append(("the whole step", f"{whole:.1f}", "", ""))
    rates = ", ".join(f"{name} {value / 1e9:,.0f} G/s" for name, value in result["rates"].items())
    lines = timing.table((f"kernels: {result['kernels']}", "ms", "share", "at best"), rows)
    return f"{lines}\none thread, processor time; rates here: {rates}"
