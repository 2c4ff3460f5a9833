"""Compiles the kernels for cards that are not here, as ``launches`` would launch them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import triton
from torch import Tensor, nn
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from engine.config.models import ENCODERS
from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.kernels import launches, stem_launches
from engine.models.split_batchnorm import SplitBatchNorm2d

TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.uint8: "*u8",
    torch.int64: "*i64",
}


ASSEMBLER_READER = Path(next(iter(nvidia.__path__))) / "bin" / "cuobjdump"


class Launch(NamedTuple):
    """Of a kernel, what its compiler is told."""

    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...]
    warps: int
    stages: int | None = None


class Compiled(NamedTuple):
    """What the assembler says of a kernel for a thread, and what a program takes.

    Attributes:
        registers: of a thread.
        stack: bytes.
        local: bytes.
        shared: bytes of shared memory of a program.
        ptx: the instructions.
    """

    registers: int
    stack: int
    local: int
    shared: int
    ptx: str


class Spy:
    """In place of ``wrap_triton``: writes launches down."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def __call__(self, kernel: Any) -> Any:
        spy = self

        class Held:
            def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
                assert all(1 <= size < 65536 for size in grid[1:])
                return lambda *values, **named: spy.write(kernel, values, named)

        return Held()

    def write(self, kernel: Any, values: tuple[Any, ...], named: dict[str, Any]) -> None:
        warps, stages = named.pop("num_warps"), named.pop("num_stages", None)
        given = dict(zip((p.name for p in kernel.params), values, strict=False)) | named
        signature, constants, aligned = {}, {}, []
        for parameter in kernel.params:
            value = given.pop(parameter.name)
            # As the launcher specialises: a 1 is a constant, multiples of 16 are known as such.
            if parameter.is_constexpr or (type(value) is int and value == 1):
                signature[parameter.name], constants[parameter.name] = "constexpr", value
            elif isinstance(value, Tensor):
                signature[parameter.name] = TYPES[value.dtype]
                aligned.append(parameter.name)
            elif isinstance(value, int):
                assert value < 2**31
                signature[parameter.name] = "i32"
                aligned += [parameter.name] if value % 16 == 0 else []
            else:
                signature[parameter.name] = "fp32"
        assert not given
        launch = Launch(kernel, signature, constants, tuple(aligned), warps, stages)
        if launch not in self.launches:
            self.launches.append(launch)


def norms_of(preset: str) -> tuple[PretrainConfig, list[tuple[int, ...]]]:
    """The shapes of the inputs of a preset's BatchNorms, of all views at once."""
    config = resolve(PretrainConfig, preset_name=preset)
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        net = ENCODERS.load(config.model.encoder)(config.model)
    assert isinstance(net, nn.Module)
    for part in net.modules():
        if isinstance(part, SplitBatchNorm2d):
            part.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    views = 2 if config.moco.symmetric else 1
    net.eval()(torch.empty(views * config.optim.batch_size, 3, 32, 32, device="meta"))
    return config, shapes


def launches_of(preset: str, dtype: torch.dtype) -> Iterator[tuple[str, Launch]]:
    """Every kernel that a step of a preset launches, once each, with the shape that it is for."""
    config, shapes = norms_of(preset)
    views, splits = 2 if config.moco.symmetric else 1, config.model.bn_splits
    spy = Spy()
    with (
        patch.object(launches, "wrap_triton", spy),
        patch.object(stem_launches, "wrap_triton", spy),
    ):
        if dtype == torch.bfloat16:
            yield from _of_stem(spy, config, shapes[0])
        for shape in dict.fromkeys(shapes):
            known = len(spy.launches)
            x = torch.empty(shape, dtype=dtype, device="meta").contiguous(
                memory_format=torch.channels_last
            )
            channels = torch.empty(shape[1], device="meta")
            batches = torch.empty((), dtype=torch.int64, device="meta")
            mean, inverse = launches.launch_statistics(
                x, channels, channels, batches, views, splits, 1e-5, 0.1
            )
            by_channel = (mean, inverse, channels, channels)
            if config.model.encoder == "convnet":
                seed = torch.empty(1, dtype=torch.int64, device="meta")
                for p, winners in ((config.model.dropout, True), (0.0, False)):
                    out, winner = launches.launch_pooled_apply(
                        x, *by_channel, seed, views, p, winners
                    )
                    if winners:
                        launches.launch_pooled_backward(out, x, winner, *by_channel[:3], views, p)
            else:
                for residual, relu in ((None, True), (x, True), (None, False)):
                    launches.launch_norm_apply(x, residual, *by_channel, views, relu)
                    launches.launch_norm_backward(x, x, residual, *by_channel, views, relu)
            for launch in spy.launches[known:]:
                yield "x".join(map(str, shape)), launch


def _of_stem(
    spy: Spy, config: PretrainConfig, shape: tuple[int, ...]
) -> Iterator[tuple[str, Launch]]:
    """The first convolution, which makes what has ``shape``."""
    n, c = shape[:2]
    views, splits = 2 if config.moco.symmetric else 1, config.model.bn_splits
    padding = 0 if config.model.encoder == "convnet" else 1
    x = torch.empty(n, 3, 32, 32, dtype=torch.bfloat16, device="meta").contiguous(
        memory_format=torch.channels_last
    )
    weight = torch.empty(c, 3, 3, 3, device="meta")
    out, _ = stem_launches.launch_stem(x, weight, padding, views, splits, True)
    assert out.shape == shape
    stem_launches.launch_stem_backward(out, x, padding)
    for launch in spy.launches:
        yield "x".join(map(str, x.shape)), launch


def compile_for(launch: Launch, capability: int, folder: Path) -> Compiled:
    """Compiles and assembles a kernel for cards of ``capability`` (80: A100, 90: H100)."""
    names = list(launch.signature)
    source = ASTSource(
        launch.kernel,
        launch.signature,
        constexprs=launch.constants,
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in launch.aligned},
    )
    target = GPUTarget("cuda", capability, 32)
    options = {"num_warps": launch.warps}
    if launch.stages is not None:
        options["num_stages"] = launch.stages
    made = triton.compile(source, target=target, options=options)
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(made.asm["cubin"])
    words = [str(ASSEMBLER_READER), "--dump-resource-usage", str(cubin)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", said)
    assert found, said
    registers, stack, local = map(int, found.groups())
    return Compiled(registers, stack, local, made.metadata.shared, made.asm["ptx"])
