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
import torch.nn.functional as F
from torch import Tensor

from engine import checkpoint as checkpoints
from engine import fused, moco, pretrain, trainer
from engine.belonging import config_key
from engine.config import PretrainConfig
from engine.data import Dataset
from engine.device import Runtime, apply_runtime, resolve_runtime
from engine.dropout import Dropout
from engine.sink import NullSink, Plan
from engine.trainer import Pretraining

from .tiny import RUNTIME, Standin, config_with, noise
from .trees import differences

NO_DROPOUT = {"model__dropout": 0.0}


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
def as_cuda(monkeypatch: pytest.MonkeyPatch) -> list[Standin]:
    """Steps on the CPU take the ways that they take on CUDA; the recorders that were made."""
    made: list[Standin] = []

    def make(_device: torch.device, capture: str) -> Standin | None:
        if capture != "off":
            made.append(Standin())
        return made[-1]

    def dropout(self: Dropout, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    monkeypatch.setattr(trainer, "recorder_for", make)
    monkeypatch.setattr(moco, "in_chunks", lambda _q, _queue: False)
    monkeypatch.setattr(Dropout, "forward", dropout)
    monkeypatch.setattr(fused, "BACKEND", "aot_eager")
    return made


def pair(
    dataset: Dataset, runtime: Runtime = RUNTIME, **values: Any
) -> tuple[Pretraining, Pretraining]:
    """A pretraining whose step is fused, and one whose step is not."""
    images = dataset.train.images
    one = Pretraining(config_with(**values, runtime__capture="fused"), images, runtime)
    other = Pretraining(config_with(**values), images, runtime)
    assert one.prepare() == other.prepare() == []
    assert (one.way, other.way) == ("fused and captured", "captured")
    return one, other


def update(training: Pretraining) -> tuple[float, Tensor]:
    """The loss of a step, and by how much it moved the query encoder's parameters."""
    parameters = list(training.model.encoder_q.parameters())
    before = [p.detach().clone() for p in parameters]
    loss = float(training.advance())
    moved = [(p - old).flatten() for p, old in zip(parameters, before, strict=True)]
    return loss, torch.cat(moved).detach()


def compare(one: Pretraining, other: Pretraining, steps: int, *, near: float) -> None:
    """From each of ``steps`` states: losses, updates, statistics and queues agree.

    Args:
        one: goes on from state to state.
        other: is put into each of its states.
        steps: how many.
        near: largest difference, relative to the loss and to the length of the update.
    """
    changing = list(zip(one._changing(), other._changing(), strict=True))
    for _ in range(steps):
        with torch.no_grad():
            for ours, theirs in changing:
                theirs.copy_(ours)
        for ours, theirs in zip(one._generators(), other._generators(), strict=True):
            theirs.set_state(ours.get_state())
        other.step = one.step
        loss, moved = update(one)
        plain_loss, plain_moved = update(other)
        assert loss == pytest.approx(plain_loss, rel=near)
        assert float((moved - plain_moved).norm()) <= near * float(plain_moved.norm())
        for (name, ours), (_, theirs) in zip(
            one.model.named_buffers(), other.model.named_buffers(), strict=True
        ):
            assert torch.allclose(ours, theirs, rtol=near, atol=near), name


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
    values: dict[str, Any], dataset: Dataset, as_cuda: list[Standin]
) -> None:
    """Without dropout, whose bits the two need not share. Within roundings of float32."""
    one, other = pair(dataset, **(NO_DROPOUT | values))
    epochs = one.config.optim.stop_epoch or one.config.optim.epochs
    compare(one, other, epochs * one.steps_per_epoch, near=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2  # with other rates, too


def test_a_fused_step_agrees_in_bfloat16_too(dataset: Dataset, as_cuda: list[Standin]) -> None:
    """The trunk in bfloat16 and head, loss and statistics in float32, as ``autocast`` has it."""
    runtime = dataclasses.replace(RUNTIME, bfloat16=True)
    one, other = pair(dataset, runtime, **NO_DROPOUT)
    wide, _ = pair(dataset, **NO_DROPOUT)
    losses = [update(training)[0] for training in (one, wide)]  # of the same first step
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]  # it did compute in another precision
    compare(one, other, 4, near=2e-2)


def test_the_whole_of_both_halves_is_one_graph_each(
    dataset: Dataset, as_cuda: list[Standin]
) -> None:
    """No break, so everything can be fused; and none is compiled again as the run goes on."""
    one, _ = pair(dataset)
    counters = torch._dynamo.utils.counters
    for _ in range(2 * one.steps_per_epoch):
        one.advance()
    assert sum(counters["graph_break"].values()) == 0
    assert counters["stats"]["unique_graphs"] == 2


def test_fusing_leaves_everything_as_it_was(dataset: Dataset, as_cuda: list[Standin]) -> None:
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    before = copy.deepcopy(training.state_dict())
    places = [tensor.data_ptr() for tensor in training._changing()]
    assert training.prepare() == []
    assert differences(training.state_dict(), before) == []
    assert [tensor.data_ptr() for tensor in training._changing()] == places
    assert all(p.grad is None for p in training.model.parameters())


def test_a_fused_encoder_drops_its_share_of_units(dataset: Dataset, as_cuda: list[Standin]) -> None:
    """The same state gives another loss with each state of the generator, and the same with one."""
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    training.prepare()
    views = training._views(training._batch())
    losses = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        losses.append(float(training._loss(*views, None)[0].detach()))
    assert losses[0] == losses[2] != losses[1]


class Script(NullSink):
    """Keeps the losses, what was logged and how steps were computed."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.logged: list[str] = []
        self.way = ""

    def plan(self, plan: Plan) -> None:
        self.way = plan.facts["step"]

    def log(self, text: str) -> None:
        self.logged.append(text)

    def metrics(self, step: int, epoch: float, values: Any) -> None:
        if "train/loss" in values:
            self.losses.append(values["train/loss"])


def run(config: PretrainConfig, dataset: Dataset, path: Path) -> Script:
    sink = Script()
    outcome = pretrain.pretrain(
        config, dataset=dataset, runtime=RUNTIME, sink=sink, checkpoint=path
    )
    assert outcome == "finished"
    return sink


def no_compiler(*_: Any) -> Callable[..., Any]:
    raise RuntimeError("no C compiler was found.\n(more lines)")


def test_without_a_compiler_the_run_says_so_and_computes_the_same_bits(
    dataset: Dataset, as_cuda: list[Standin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "BACKEND", no_compiler)
    sink = run(config_with(runtime__capture="fused"), dataset, tmp_path / "a.pt")
    [notice] = sink.logged
    assert "could not be fused" in notice
    assert "no C compiler was found" in notice
    assert "\n" not in notice
    assert sink.way == "captured"
    plain = run(config_with(), dataset, tmp_path / "b.pt")
    assert (sink.losses, plain.logged) == (plain.losses, [])
    one, other = (checkpoints.load(tmp_path / f"{name}.pt")["model"] for name in "ab")
    assert differences(one, other) == []


def test_memory_that_runs_out_is_no_matter_of_fusing(
    dataset: Dataset, as_cuda: list[Standin], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)

    def full(_indices: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(training, "compute", full)
    with pytest.raises(torch.OutOfMemoryError):
        training.prepare()


def test_one_fused_run_after_another_stays_fused(
    dataset: Dataset, as_cuda: list[Standin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may hold few compiled forms of one function; a run gives its own back."""
    values: dict[str, Any] = {"optim__epochs": 1, "monitor__knn_every": 0}
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    for seed in range(2):
        config = config_with(runtime__capture="fused", runtime__seed=seed, **values)
        torch._dynamo.utils.counters.clear()
        assert run(config, dataset, tmp_path / f"{seed}.pt").way == "fused and captured"
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def test_fusing_parts_a_run_from_a_resume_point_of_other_numbers() -> None:
    assert config_key(config_with(runtime__capture="fused")) != config_key(config_with())


def test_a_cpu_fuses_nothing(dataset: Dataset) -> None:
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    assert training.prepare() == []
    assert training.way in ("plain", "groupwise")
    training.close()


def test_nothing_is_left_over_of_a_recording_that_fails_after_fusing(
    dataset: Dataset, as_cuda: list[Standin], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "recorder_for", lambda *_: Standin("recording"))
    training = Pretraining(config_with(runtime__capture="fused"), dataset.train.images, RUNTIME)
    before = copy.deepcopy(training.state_dict())
    [notice] = training.prepare()
    assert "could not be recorded" in notice
    assert training.way == "fused"
    assert differences(training.state_dict(), before) == []


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_kernels_that_the_compiler_makes_agree_with_the_plain_step(
    dataset: Dataset, as_cuda: list[Standin], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fused, "BACKEND", "inductor")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    fewer = {"augment__blur__enabled": False, "augment__color__enabled": False}  # to compile
    one, other = pair(dataset, **(NO_DROPOUT | fewer))
    compare(one, other, 4, near=1e-3)


# ------------------------------------------------------------------------------- on a device


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_a_fused_step_agrees_with_the_plain_one_from_each_of_200_states(
    precision: str, encoder: str, dataset: Dataset
) -> None:
    near = 1e-3 if precision == "float32" else 3e-2
    both = []
    for capture in ("fused", "off"):
        config = config_with(
            **NO_DROPOUT,
            model__encoder=encoder,
            model__dim=32,
            moco__queue_size=100,
            optim__epochs=67,
            runtime__device="cuda",
            runtime__precision=precision,
            runtime__capture=capture,
        )
        runtime = resolve_runtime(config.runtime)
        apply_runtime(runtime, deterministic=False)
        both.append(Pretraining(config, dataset.train.images, runtime))
        assert both[-1].prepare() == []
    assert both[0].way == "fused and captured"
    compare(both[0], both[1], 200, near=near)
    both[0].close()
