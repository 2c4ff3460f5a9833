"""The fused step: what torch.compile makes of a step computes what the step computes.

On a CPU, with the stand-in for CUDA's recording. Most tests let the compiler trace and split the
step and run its graphs as they are (``aot_eager``), which needs no C compiler; one has kernels
made. Two things are as CUDA has them: whole logits, and torch's own dropout.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.data.dataset import Dataset
from engine.models import info_nce, split_batchnorm
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain import pretraining
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.pretrain.resume_check import config_key
from engine.runtime import compiled
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime

from ...benchmarks.speed import fusion
from ..tiny import RUNTIME, Script, Standin, compare, config_with, moved, noise, plain_step, run
from ..trees import differences

NO_DROPOUT: dict[str, Any] = {"model__dropout": 0.0}
FEWER: dict[str, Any] = {"augment__blur__enabled": False, "augment__color_jitter__enabled": False}
"""Settings with less to compile."""

# Of an update in float32. A ResNet that normalises groups of four images of noise multiplies a
# difference in the last place of its views by up to 10,000 (measured).
NEAR = {"convnet": 1e-4, "resnet18": 1e-2}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """One thread, and nothing compiled before or after."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch.compiler.reset()
    torch.set_num_threads(threads)


@pytest.fixture
def as_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps on the CPU take the ways that they take on CUDA."""
    with fusion.as_on_cuda(RUNTIME.device):
        monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
        monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
        yield
        monkeypatch.undo()  # first: what it would put back later is what as_on_cuda has set


def pair(
    dataset: Dataset, runtime: Runtime = RUNTIME, **values: Any
) -> tuple[Pretraining, Pretraining]:
    """A pretraining whose step is fused, and one whose step is not."""
    images = dataset.train.images
    one = Pretraining(config_with(**values, runtime__capture="fused"), images, runtime)
    other = Pretraining(config_with(**values), images, runtime)
    assert one.prepare() == other.prepare() == []
    assert (one.compute_step.kind, other.compute_step.kind) == ("fused and captured", "captured")
    return one, other


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"moco__symmetric": False, "moco__shuffle_keys": False},
        {"model__bn_splits": 1, "model__mlp_head": True},
        {"model__encoder": "resnet18", "optim__epochs": 2, "optim__stop_epoch": 1},
    ],
    ids=["default", "asymmetric", "one group", "resnet18"],
)
def test_a_fused_step_agrees_with_the_plain_one_from_each_of_many_states(
    values: dict[str, Any], dataset: Dataset, as_cuda: None
) -> None:
    """Without dropout, whose bits the two need not share. Within roundings of float32."""
    one, other = pair(dataset, **(NO_DROPOUT | values))
    epochs = one.state.config.optim.stop_epoch or one.state.config.optim.epochs
    near = NEAR[one.state.config.model.encoder]
    compare(one, other, epochs * one.steps_per_epoch, loss=1e-4, update=near, buffers=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # with other rates, too


def test_a_fused_step_agrees_in_bfloat16_too(dataset: Dataset, as_cuda: None) -> None:
    """The backbone in bfloat16 and head, loss and statistics in float32, as ``autocast`` has it."""
    runtime = dataclasses.replace(RUNTIME, bfloat16=True)
    one, other = pair(dataset, runtime, **NO_DROPOUT)
    wide, _ = pair(dataset, **NO_DROPOUT)
    losses = [moved(training)[0] for training in (one, wide)]  # of the same first step
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]  # it did compute in another precision
    compare(one, other, 4, loss=1e-3, update=1e-3, buffers=2e-2, wide=wide)


def test_the_whole_of_both_halves_is_one_graph_each(dataset: Dataset, as_cuda: None) -> None:
    """No break, so everything can be fused; and none is compiled again as the run goes on."""
    one, _ = pair(dataset)
    counters = torch._dynamo.utils.counters
    for _ in range(2 * one.steps_per_epoch):
        one.advance()
    assert sum(counters["graph_break"].values()) == 0
    assert counters["stats"]["unique_graphs"] == 2


def test_fusing_leaves_everything_as_it_was(dataset: Dataset, as_cuda: None) -> None:
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    before = copy.deepcopy(training.state_dict())
    places = [tensor.data_ptr() for tensor in training.state.changing_tensors()]
    assert training.prepare() == []
    assert differences(training.state_dict(), before) == []
    assert [tensor.data_ptr() for tensor in training.state.changing_tensors()] == places
    assert all(p.grad is None for p in training.state.model.parameters())


def test_what_a_fused_encoder_drops_is_the_generators(dataset: Dataset, as_cuda: None) -> None:
    """The same state gives another loss with each state of the generator, and the same with one."""
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    training.prepare()
    step = plain_step(training)
    assert isinstance(step, PlainStep)
    view_1, view_2 = step.views(training.state.images[training.state.next_indices()])
    losses = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        losses.append(float(step.loss(view_1, view_2, None)[0].detach()))
    assert losses[0] == losses[2] != losses[1]


def test_custom_gradients_are_kept_by_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to torch 2.11 it lost those of functions that return an alias: all exactly zero."""
    monkeypatch.setattr(info_nce, "ONEDNN", False)  # as on CUDA
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    queue = random(50, 16)

    def chunked(q: Tensor) -> Tensor:
        out: Tensor = info_nce.ChunkedLogSumExp.apply(q, queue, None, 0.5, 16)
        return out.sum()

    def normalised(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        found: tuple[Tensor, ...] = split_batchnorm._NormaliseGroups.apply(
            x, weight, bias, 2, 2, 1e-5
        )
        return (found[0].reshape(x.shape) ** 3).sum()

    cases: list[tuple[Callable[..., Tensor], list[Tensor]]] = [
        (chunked, [random(8, 16)]),
        (normalised, [random(8, 4, 6, 6), random(4), random(4)]),
        (normalised, [random(8, 4, 6, 6).bfloat16(), random(4), random(4)]),
    ]
    for function, inputs in cases:
        for values in inputs:
            values.requires_grad_()
        expected = torch.autograd.grad(function(*inputs), inputs)
        fused = torch.compile(function, dynamic=False, backend="aot_eager")
        for ours, theirs in zip(torch.autograd.grad(fused(*inputs), inputs), expected, strict=True):
            assert float(theirs.norm()) > 0.0
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def no_compiler(*_: Any) -> Callable[..., Any]:
    raise RuntimeError("no C compiler was found.\n(more lines)")


def test_without_a_compiler_the_run_says_so_and_computes_the_same_bits(
    dataset: Dataset, as_cuda: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", no_compiler)
    sink, plain = Script(), Script()
    fusing = config_with(runtime__capture="fused")
    assert run(fusing, dataset, tmp_path / "a.pt", sink) == "finished"
    [notice] = sink.logged
    assert "could not be fused" in notice
    assert "no C compiler was found" in notice
    assert "\n" not in notice
    assert sink.facts["step"] == "captured"
    assert run(config_with(), dataset, tmp_path / "b.pt", plain) == "finished"
    assert sink.lines == plain.lines
    assert len(plain.logged) == 1  # how its steps are computed
    one, other = (checkpoints.load(tmp_path / f"{name}.pt")["model"] for name in "ab")
    assert differences(one, other) == []


def test_memory_that_runs_out_is_no_matter_of_fusing(
    dataset: Dataset, as_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)

    def full(_step: PlainStep, _indices: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(PlainStep, "__call__", full)
    with pytest.raises(torch.OutOfMemoryError):
        training.prepare()


def test_one_fused_run_after_another_stays_fused(
    dataset: Dataset, as_cuda: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may hold few compiled forms of one function; a run gives its own back."""
    values: dict[str, Any] = {"optim__epochs": 1, "monitor__knn_every": 0}
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    for seed in range(2):
        config = config_with(runtime__capture="fused", runtime__seed=seed, **values)
        torch._dynamo.utils.counters.clear()
        sink = Script()
        assert run(config, dataset, tmp_path / f"{seed}.pt", sink) == "finished"
        assert sink.facts["step"] == "fused and captured"
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def test_fusing_parts_a_run_from_a_resume_point_of_other_numbers() -> None:
    assert config_key(config_with(runtime__capture="fused")) != config_key(config_with())


def test_a_cpu_fuses_nothing(dataset: Dataset) -> None:
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    assert training.prepare() == []
    assert training.compute_step.kind in ("plain", "groupwise")
    training.close()


def test_nothing_is_left_over_of_a_recording_that_fails_after_fusing(
    dataset: Dataset, as_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin("recording"))
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    before = copy.deepcopy(training.state_dict())
    [notice] = training.prepare()
    assert "could not be recorded" in notice
    assert training.compute_step.kind == "fused"
    assert differences(training.state_dict(), before) == []


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_kernels_that_the_compiler_makes_agree_with_the_plain_step(
    dataset: Dataset, as_cuda: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    one, other = pair(dataset, **(NO_DROPOUT | FEWER))
    compare(one, other, 4, loss=1e-3, update=1e-3, buffers=1e-3)


# ------------------------------------------------------------------------------- on a device


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
# Compiling ResNet-18 takes a minute, and runs take it with kernels of its own.
@pytest.mark.parametrize("encoder", ["convnet", pytest.param("resnet18", marks=pytest.mark.slow)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_a_fused_step_agrees_with_the_plain_one_from_each_of_30_states(
    precision: str, encoder: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [("fused", precision), ("off", precision)]
    if precision == "bfloat16":
        ways.append(("off", "float32"))
    trainings = []
    for capture, its_precision in ways:
        config = config_with(
            **NO_DROPOUT,
            model__encoder=encoder,
            model__dim=32,
            moco__queue_size=100,
            optim__epochs=10,
            runtime__device="cuda",
            runtime__precision=its_precision,
            runtime__capture=capture,
            # The augmentations are compiled once, with the smaller encoder.
            **({} if encoder == "convnet" else FEWER),
        )
        runtime = resolve_runtime(config.runtime)
        apply_runtime(runtime, deterministic=False)
        # TF32 rounds what a convolution reads to 10 bits. On an H100 half of the states of
        # ResNet-18 were 4e-3 apart with it, which says nothing about the kernels.
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        trainings.append(Pretraining(config, dataset.train.images, runtime))
        assert trainings[-1].prepare() == []
    fused, plain, *wide = trainings
    assert fused.compute_step.kind == "fused and captured"
    near = 1e-3 if precision == "float32" else 3e-2
    compare(
        fused,
        plain,
        30,
        loss=1e-3,
        update=1e-3,
        worst=20.0,
        buffers=near,
        wide=wide[0] if wide else None,
    )
    fused.close()
