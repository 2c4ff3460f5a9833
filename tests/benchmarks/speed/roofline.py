"""The step against what the device can do: operations, bytes, and the rates of this machine.

Counted: a multiplication and an addition are two operations. Products and convolutions of the
encoders are counted by ``torch.utils.flop_counter`` (queries forward and backward, keys forward);
the logits as two products of ``(queries, dim)`` with ``(K, dim)``, one for the logits and one for
the gradient. All else (normalising, ReLU, pooling, augmenting, updates) is a few operations a
value and counts through its bytes.

Bytes are counted twice. ``least``: what has to cross the memory even if everything were fused: the
batch, both views once out and twice in, every passage over parameters, gradients, momentum and
key parameters, the queue once and the keys. ``one by one``: inputs and outputs of every operation
of the plain step (dense augmentation, ``MoCo.loss``, backward, updates), as if no cache held
anything between two of them; dropout is counted in its CPU form.

Rates are measured in the same run: square products, and copies (bytes read plus bytes written) of
a block that is far larger than the caches and, on a CPU, of one that fits into them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from engine.augment.augmenter import Augmenter, normalise
from engine.config.schema import ModelConfig, PretrainConfig
from engine.models.encoder import build_encoder
from engine.models.moco import MoCo

from . import ours, timing
from .timing import Figure


@dataclass(frozen=True)
class Operations:
    """Of one step.

    Attributes:
        encoders: of both encoders, with the backward pass of the query encoder.
        logits: of the products with the queue, forward and gradient.
    """

    encoders: int
    logits: int


def encoder_operations(model: ModelConfig) -> tuple[int, int]:
    """Operations an image: forward, and forward with backward."""
    with torch.random.fork_rng(devices=[]):
        encoder = build_encoder(model).train()
        batch = 2 * model.bn_splits
        images = torch.randn(batch, 3, 32, 32)
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            encoder(images)
        with FlopCounterMode(display=False) as both:
            encoder(images).sum().backward()
    return forward.get_total_flops() // batch, both.get_total_flops() // batch


def operations(config: PretrainConfig) -> Operations:
    """Of one step of a configuration."""
    queries = config.optim.batch_size * (2 if config.moco.symmetric else 1)
    forward, both = encoder_operations(config.model)
    logits = 2 * queries * config.moco.queue_size * config.model.dim
    return Operations(encoders=queries * (forward + both), logits=2 * logits)


def least_bytes(config: PretrainConfig, parameters: int, trunk_bytes: int) -> int:
    """Bytes that a wholly fused step still moves.

    Args:
        config: of the pretraining.
        parameters: of one encoder.
        trunk_bytes: of a value of the views, 2 in bfloat16.
    """
    batch, queries = config.optim.batch_size, 2 * config.optim.batch_size
    pixels = 3 * 32 * 32
    views = 3 * queries * pixels * trunk_bytes
    # the query encoder reads its parameters and writes gradients; SGD reads parameter, gradient
    # and momentum and writes two of them; the momentum update reads two and writes one; the key
    # encoder reads its own
    passages = 2 + 5 + 3 + 1
    queue = 4 * config.model.dim * (config.moco.queue_size + queries)
    return batch * pixels + views + 4 * parameters * passages + queue


class ByteCounter(TorchDispatchMode):
    """Counts operations and sums the bytes that each reads and writes, while it is entered.

    An operation that returns a view of its input moves nothing, nor does one that only reserves
    memory; one that overwrites its first argument does not read it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.calls += 1
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name.startswith(("empty", "new_empty", "detach", "_to_cpu")):
            return out
        read = list(tensors((args, kwargs or {})))
        written = list(tensors(out))
        if not func._schema.is_mutable:
            places = {t.untyped_storage().data_ptr() for t in read if t.layout == torch.strided}
            written = [
                t
                for t in written
                if t.layout != torch.strided or t.untyped_storage().data_ptr() not in places
            ]
            if not written:
                return out
        elif name in ("copy_", "fill_", "zero_", "random_", "uniform_"):
            read = read[1:]
        elif not written:  # _foreach_*_ and their like return nothing
            written = list(tensors(args[:1]))
        self.bytes += sum(t.numel() * t.element_size() for t in (*read, *written))
        return out


def tensors(tree: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [found for part in tree for found in tensors(part)]
    return []


def bytes_one_by_one(
    config: PretrainConfig, images: Tensor, device: torch.device, bfloat16: bool
) -> tuple[int, int]:
    """Bytes that the operations of a plain step read and write: of the data, and of the model."""
    generator = torch.Generator(device).manual_seed(0)
    augmenter = Augmenter(config.augment)
    mean, std = torch.full((3,), 0.5, device=device), torch.full((3,), 0.25, device=device)
    with ByteCounter() as data:
        both = torch.cat([images, images])
        params = augmenter.random_params(len(both), generator, device)
        views = normalise(augmenter.apply(both, params, dense=True), mean, std)
        view_1, view_2 = views.contiguous(memory_format=torch.channels_last).chunk(2)
    with torch.random.fork_rng():
        moco = MoCo(config.model, config.moco).to(device)
        moco.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(
            moco.trainable_parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4, foreach=True
        )
        with ByteCounter() as model:
            moco.momentum_update()
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                loss, keys = moco.loss(view_1, view_2, generator)
            loss.backward()
            optimizer.step()
            moco.enqueue(keys)
    return data.bytes, model.bytes


def rate(work: Callable[[], object], amount: float) -> float:
    """Amount a second: the best of many short tries, since whatever else runs can only slow it."""
    cuda = torch.cuda.is_available()
    best = 0.0
    for _ in range(20 if cuda else 60):
        count = 0
        start = time.perf_counter()
        # launches return at once on CUDA: a clock would let thousands of them queue up
        while count < (5 if cuda else 1) or (not cuda and time.perf_counter() - start < 0.002):
            work()
            count += 1
        if cuda:
            torch.cuda.synchronize()
        best = max(best, amount * count / (time.perf_counter() - start))
    return best


def device_rates(device: torch.device) -> dict[str, float]:
    """Operations and bytes a second that this device reaches."""
    return cuda_rates(device) if device.type == "cuda" else cpu_rates(torch.get_num_threads())


def cuda_rates(device: torch.device) -> dict[str, float]:
    """Large square products without TF32, and copies of a gibibyte."""
    found = {}
    side = 8192
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(side, side, device=device).to(dtype)
        found[str(dtype).removeprefix("torch.")] = rate(partial(torch.mm, a, a), 2.0 * side**3)
    source = torch.ones(1 << 28, device=device)
    target = torch.empty_like(source)
    found["memory"] = rate(partial(target.copy_, source), 2.0 * 4 * source.numel())
    return found


def cpu_rates(threads: int) -> dict[str, float]:
    """What one thread reaches, times the threads: short tries of one thread find a free moment
    of a busy machine. The products are those of oneDNN, which the engine uses too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = {}
    side = 512
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(side, side).to(dtype)
        packed = a.to_mkldnn() if dtype == torch.float32 else a
        found[str(dtype).removeprefix("torch.")] = rate(partial(F.linear, packed, a), 2.0 * side**3)
    for name, size in (("memory", 1 << 26), ("cache", 1 << 16)):
        source = torch.ones(size)
        target = torch.empty_like(source)
        found[name] = rate(partial(target.copy_, source), 2.0 * 4 * size)
    torch.set_num_threads(before)
    return {name: threads * value for name, value in found.items()}


def measure(
    values: dict[str, Any], *, repeats: int, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Counts, rates and the measured step of the notebook preset with these settings over it."""
    images = ours.pictures(8192)
    training, runtime = ours.start(values, images)
    config, device = training.state.config, runtime.device
    say("counting")
    counted = operations(config)
    parameters = sum(p.numel() for p in training.state.model.encoder_q.parameters())
    least = least_bytes(config, parameters, 2 if runtime.bfloat16 else 4)
    batch = training.state.images[: config.optim.batch_size]
    data_bytes, model_bytes = bytes_one_by_one(config, batch, device, runtime.bfloat16)
    training.close()
    say("measuring the rates")
    rates = device_rates(device)
    names: tuple[ours.Part, ...] = ("whole", "model", "data")
    ways: dict[str, ours.Ours] = {
        part: ours.Ours(ours.start(values, images)[0], part) for part in names
    }
    laps = timing.take_turns(ways, device, repeats=repeats, seconds=seconds, least=2, say=say)
    for way in ways.values():
        way.training.close()
    backbone = "bfloat16" if runtime.bfloat16 else "float32"
    result = {
        "gflop": {"encoders": counted.encoders / 1e9, "logits": counted.logits / 1e9},
        "megabytes": {
            "least": least / 1e6,
            "data, one by one": data_bytes / 1e6,
            "model, one by one": model_bytes / 1e6,
        },
        "rates": rates,
        "backbone": backbone,
        "ms": {
            "arithmetic": 1e3
            * (counted.encoders / rates[backbone] + counted.logits / rates["float32"]),
            "least bytes": 1e3 * least / rates["memory"],
            "bytes one by one": 1e3 * (data_bytes + model_bytes) / rates["memory"],
        },
        "measured_ms": {
            part: Figure.of([1000 * timing.wall(turn) for turn in laps[part]]) for part in laps
        },
        "processor_ms": Figure.of([1000 * timing.work(turn) for turn in laps["whole"]]),
        "threads": 1 if device.type == "cuda" else runtime.threads,
    }
    return {**result, **shares(result)}


def shares(result: dict[str, Any]) -> dict[str, float]:
    """Of the attainable: the larger of arithmetic and least bytes over the measured step.

    ``share`` is of the wall time. ``processor_share`` is of the processor time, all threads of the
    bound against all threads of the step, which other programs on a CPU disturb less.
    """
    bound = max(result["ms"]["arithmetic"], result["ms"]["least bytes"])
    return {
        "share": bound / result["measured_ms"]["whole"].median,
        "processor_share": bound * result["threads"] / result["processor_ms"].median,
    }


def show(result: dict[str, Any]) -> str:
    """Counts, rates and bounds as one table."""
    rates, ms, got = result["rates"], result["ms"], result["measured_ms"]
    backbone = result["backbone"]
    flop, mega = result["gflop"], result["megabytes"]
    moved = mega["data, one by one"] + mega["model, one by one"]
    rows: list[tuple[object, ...]] = [
        (
            f"encoders, {backbone}",
            f"{flop['encoders']:.1f} GFLOP",
            f"{rates[backbone] / 1e9:,.0f} GFLOP/s",
            1e12 * flop["encoders"] / rates[backbone],
        ),
        (
            "logits, float32",
            f"{flop['logits']:.1f} GFLOP",
            f"{rates['float32'] / 1e9:,.0f} GFLOP/s",
            1e12 * flop["logits"] / rates["float32"],
        ),
        (
            "least bytes",
            f"{mega['least']:,.0f} MB",
            f"{rates['memory'] / 1e9:,.1f} GB/s",
            ms["least bytes"],
        ),
        (
            "bytes, operations one by one",
            f"{moved:,.0f} MB ({mega['data, one by one']:,.0f} of the data)",
            f"{rates['memory'] / 1e9:,.1f} GB/s",
            ms["bytes one by one"],
        ),
    ]
    if "cache" in rates:
        rows.append(
            (
                "the same from the cache",
                f"{moved:,.0f} MB",
                f"{rates['cache'] / 1e9:,.1f} GB/s",
                1e9 * moved / rates["cache"],
            )
        )
    lines = timing.table(("of a step", "counted", "rate here", "ms"), rows)
    return (
        f"{lines}\n"
        f"measured: {got['whole']} ms (model {got['model']}, data {got['data']}); the larger of "
        f"arithmetic and least bytes is {100 * result['share']:.0f} % of that"
        + (
            f", and {100 * result['processor_share']:.0f} % of the processor time "
            f"({result['processor_ms']} ms)"
            if "cache" in rates
            else ""
        )
    )
