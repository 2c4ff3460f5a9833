"""The step with kernels between the convolutions is the step, and is left where it is not.

On a CPU, with the stand-in for CUDA's recording: the kernels' operations are torch's own there
(``tests/engine/kernels`` holds both to the same oracles).
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.augment.kernel_augmenter import KernelAugmenter
from engine.data.dataset import Dataset
from engine.kernels import operations, written_block, written_contrast, written_stem
from engine.models.convnet import ConvNet
from engine.models.kernel_layers import can_take_stem
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain import pretraining
from engine.pretrain.kernel_step import KernelStep, what_lacks
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.pretrain.resume_check import config_key
from engine.pretrain.step_wrappers import CapturedStep
from engine.runtime import compiled
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime

from ...benchmarks.speed import fusion
from ..tiny import RUNTIME, Script, Standin, compare, config_with, moved, noise, plain_step, run
from ..trees import differences

NO_DROPOUT: dict[str, Any] = {"model__dropout": 0.0}
# Of an update in float32, as in tests/engine/runtime/test_compiled.py.
NEAR = {"convnet": 1e-4, "resnet18": 1e-2}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """And nothing compiled before or after."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    torch.set_num_threads(threads)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are not compared with the step as written; with dropout that takes 64 passes."""
    kernel_step = importlib.import_module("engine.pretrain.kernel_step")
    monkeypatch.setattr(kernel_step, "disagreement", lambda *_, **__: "")


@pytest.fixture
def as_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps on the CPU take the ways that they take on CUDA; nothing is really compiled."""
    with fusion.as_on_cuda(RUNTIME.device):
        monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
        monkeypatch.setattr(compiled, "BACKEND", "eager")
        yield
        monkeypatch.undo()


def with_capture(
    capture: str, dataset: Dataset, runtime: Runtime = RUNTIME, **values: Any
) -> Pretraining:
    config = config_with(**values, runtime__capture=capture)
    return Pretraining(config, dataset.train.images, runtime)


def pair(
    dataset: Dataset, runtime: Runtime = RUNTIME, **values: Any
) -> tuple[Pretraining, Pretraining]:
    """A pretraining whose step has kernels, and one whose step has none."""
    one = with_capture("kernels", dataset, runtime, **values)
    other = with_capture("auto", dataset, runtime, **values)
    assert one.prepare() == other.prepare() == []
    assert (one.compute_step.kind, other.compute_step.kind) == ("kernels and captured", "captured")
    return one, other


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"moco__symmetric": False, "moco__shuffle_keys": False},
        {"model__bn_splits": 1, "model__mlp_head": True},
        {"model__encoder": "resnet18", "optim__epochs": 1},
    ],
    ids=["default", "asymmetric", "one group", "resnet18"],
)
def test_a_step_agrees_with_the_plain_one_from_each_of_many_states(
    values: dict[str, Any], dataset: Dataset, as_cuda: None
) -> None:
    """Without dropout, whose units are others. Within roundings of float32."""
    one, other = pair(dataset, **(NO_DROPOUT | values))
    epochs = one.state.config.optim.epochs
    near = NEAR[one.state.config.model.encoder]
    compare(one, other, epochs * one.steps_per_epoch, loss=1e-4, update=near, buffers=1e-4)


def test_a_step_agrees_in_bfloat16_too(dataset: Dataset, as_cuda: None) -> None:
    runtime = dataclasses.replace(RUNTIME, bfloat16=True)
    one, other = pair(dataset, runtime, **NO_DROPOUT)
    wide, _ = pair(dataset, **NO_DROPOUT)
    losses = [moved(training)[0] for training in (one, wide)]  # of the same first step
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]  # it did compute in another precision
    compare(one, other, 4, loss=1e-3, update=1e-3, buffers=2e-2, wide=wide)


def test_preparing_leaves_everything_as_it_was(dataset: Dataset, as_cuda: None) -> None:
    training = with_capture("kernels", dataset)
    before = copy.deepcopy(training.state_dict())
    places = [tensor.data_ptr() for tensor in training.state.changing_tensors()]
    assert training.prepare() == []
    assert differences(training.state_dict(), before) == []
    assert [tensor.data_ptr() for tensor in training.state.changing_tensors()] == places
    assert all(p.grad is None for p in training.state.model.parameters())


def test_a_run_goes_on_in_the_same_bits_and_its_encoder_fits_any_other(
    dataset: Dataset, as_cuda: None, trusted: None, tmp_path: Path
) -> None:
    """With dropout: the state of the generator determines the units."""
    whole = with_capture("kernels", dataset)
    losses = [float(whole.advance()) for _ in range(6)]
    parted = with_capture("kernels", dataset)
    found = [float(parted.advance()) for _ in range(3)]
    kept = tmp_path / "checkpoint.pt"
    checkpoints.save(kept, parted.state_dict())
    parted.close()
    resumed = with_capture("kernels", dataset)
    resumed.load_state_dict(checkpoints.load(kept))
    assert found + [float(resumed.advance()) for _ in range(3)] == losses
    assert differences(resumed.state_dict(), whole.state_dict()) == []
    plain = with_capture("auto", dataset)
    plain.state.model.load_state_dict(whole.state.model.state_dict())  # names and shapes are equal


def test_a_resume_point_belongs_to_this_way_of_a_step() -> None:
    keys = {config_key(config_with(runtime__capture=c)) for c in ("kernels", "fused", "auto")}
    assert len(keys) == 3
    assert config_key(config_with(runtime__capture="off")) in keys


def test_a_whole_run_says_how_its_steps_are_computed(
    dataset: Dataset, as_cuda: None, tmp_path: Path
) -> None:
    sink = Script()
    config = config_with(runtime__capture="kernels", optim__epochs=1)
    assert run(config, dataset, tmp_path / "a.pt", sink) == "finished"
    assert sink.logged == []
    assert sink.facts["step"] == "kernels and captured"


def test_a_cpu_takes_none(dataset: Dataset) -> None:
    training = with_capture("kernels", dataset)
    assert training.prepare() == []
    assert training.compute_step.kind in ("plain", "groupwise")
    training.close()


# --------------------------------------------------------------------------------- where it is left


def detached(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: tuple(0.0 * part for part in function(*arguments))


def scaled(function: Callable[..., Any]) -> Callable[..., Any]:
    def changed(*arguments: Any) -> Any:
        first, *rest = function(*arguments)
        return (1.5 * first, *rest)

    return changed


def longer(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: 1.5 * function(*arguments)


def reversed_(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: function(*arguments).flip(0)


def skipped(_function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_: None


def broken(function: Callable[..., Any]) -> Callable[..., Any]:
    def fails(*arguments: Any) -> Any:
        raise RuntimeError("ptxas: no kernel image.\n(more lines)")

    return fails


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(
    ("operation", "change", "said"),
    [
        ("pooled_backward", detached, "is zero"),
        ("pooled_backward", scaled, "gradient of backbone"),
        ("pooled_apply", scaled, "its "),
        ("statistics", broken, "ptxas: no kernel image"),
    ],
)
def test_kernels_that_are_wrong_are_left_in_one_sentence(
    operation: str,
    change: Callable[..., Any],
    said: str,
    dropout: float,
    dataset: Dataset,
    as_cuda: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plain step is recorded, and computes the same bits as without."""
    monkeypatch.setattr(written_block, operation, change(getattr(written_block, operation)))
    training = with_capture("kernels", dataset, model__dropout=dropout)
    [notice] = training.prepare()
    assert said in notice
    assert notice.endswith("computed one by one, which is slower.")
    assert "\n" not in notice
    assert training.compute_step.kind == "captured"
    plain = with_capture("auto", dataset, model__dropout=dropout)
    plain.prepare()
    for seed in range(2):
        torch.manual_seed(seed)
        ours = float(training.advance())
        torch.manual_seed(seed)
        assert ours == float(plain.advance())


@pytest.mark.parametrize(
    ("operation", "change", "said"),
    [
        ("contrast", scaled, "its loss"),
        ("unit_rows", longer, "its "),
        ("order_of", reversed_, "its order of keys is another"),
        ("enqueue", skipped, "its queue of keys is another"),
    ],
)
def test_a_loss_or_keys_that_are_wrong_are_left_too(
    operation: str,
    change: Callable[..., Any],
    said: str,
    dataset: Dataset,
    as_cuda: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(written_contrast, operation, change(getattr(written_contrast, operation)))
    training = with_capture("kernels", dataset, **NO_DROPOUT)
    before = copy.deepcopy(training.state_dict())
    [notice] = training.prepare()
    assert said in notice
    assert training.compute_step.kind == "captured"
    assert differences(training.state_dict(), before) == []


def test_what_a_machine_or_an_encoder_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    card, cpu, net = torch.device("cuda"), torch.device("cpu"), ConvNet(0.1, 2)
    monkeypatch.setattr(operations, "HAS_TRITON", False)
    assert "triton is not installed" in what_lacks(card, net)
    assert what_lacks(cpu, net) == ""
    monkeypatch.setattr(operations, "HAS_TRITON", True)
    assert what_lacks(card, net) == ""
    assert "none for this encoder" in what_lacks(card, nn.Sequential(nn.Flatten()))


@pytest.mark.parametrize(
    ("layer", "taken"),
    [
        (nn.Conv2d(3, 32, 3, bias=False), True),
        (nn.Conv2d(3, 64, 3, padding=1, bias=False), True),
        (nn.Conv2d(3, 64, 7, 2, 3, bias=False), False),
        (nn.Conv2d(3, 32, 3), False),
        (nn.Conv2d(4, 32, 3, bias=False), False),
        (nn.Conv2d(3, 32, 3, padding=1, padding_mode="reflect", bias=False), False),
        (nn.Conv2d(3, 32, 3, bias=False, dtype=torch.float64), False),
    ],
)
def test_the_first_convolution_is_a_kernel_where_it_can_be(layer: nn.Conv2d, taken: bool) -> None:
    assert can_take_stem(layer) == taken


def test_without_triton_the_operations_are_there_by_torch() -> None:
    """Nothing but the kernels themselves imports it, and nothing before a step wants them."""
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'triton' else find(n, *a)\n"
        "import engine.pretrain.pretraining\n"
        "assert 'engine.kernels.group_block' not in sys.modules\n"
        "import torch, engine.kernels.group_block as g\n"
        "x, c, n = torch.randn(4, 3, 2, 2), torch.zeros(3), torch.tensor(0)\n"
        "mean, inverse = g.group_statistics(x, c, c + 1, n, 1, 2, 1e-5, 0.1)\n"
        "print(tuple(g.norm_apply(x, None, mean, inverse, c, c, 1, True).shape), g.HAS_TRITON)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(4, 3, 2, 2) False\n", done.stderr[-2000:]


def test_the_views_of_a_step_are_those_as_written_in_the_precision_of_its_convolutions(
    dataset: Dataset, as_cuda: None, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is compiled for them."""
    monkeypatch.setattr(compiled, "BACKEND", no_compiler)
    for bfloat16, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        runtime = dataclasses.replace(RUNTIME, bfloat16=bfloat16)
        training = with_capture("kernels", dataset, runtime)
        assert training.prepare() == []
        step, state = plain_step(training), training.state
        assert isinstance(step, PlainStep)
        images = state.images[:6]
        numbers = state.augmenter.uniform_numbers(12, torch.Generator().manual_seed(3))
        views = step.augment(images, numbers)
        assert views.dtype == dtype
        assert torch.equal(views, step._augment_as_written(images, numbers).to(dtype))
        training.close()


@pytest.mark.parametrize("has_view_kernel", [True, False])
def test_the_first_convolution_of_the_check_is_that_of_a_step(
    has_view_kernel: bool, dataset: Dataset, as_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel, of views in bfloat16, in both encoders: whatever makes the views."""
    monkeypatch.setattr(KernelAugmenter, "can_take", lambda *_: has_view_kernel)
    right, taken = written_stem.stem, []

    def noted(x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        taken.append(x.dtype)
        return right(x, *others)

    monkeypatch.setattr(written_stem, "stem", noted)
    runtime = dataclasses.replace(RUNTIME, bfloat16=True)
    training = with_capture("kernels", dataset, runtime, **NO_DROPOUT)
    assert training.prepare() == []
    assert set(taken) == {torch.bfloat16}
    taken.clear()
    plain_step(training)(training.state.next_indices())
    assert taken == [torch.bfloat16] * 2


def test_views_are_normalised_by_the_statistics_of_a_state_that_is_loaded_later(
    dataset: Dataset, as_cuda: None, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's table, of which a CPU computes nothing, has them too."""
    training = with_capture("kernels", dataset)
    assert training.prepare() == []
    kept = copy.deepcopy(training.state_dict())
    kept["mean"] += 0.125
    kept["std"] *= 2.0
    training.load_state_dict(kept)
    assert training.prepare() == []
    step, state = plain_step(training), training.state
    assert isinstance(step, PlainStep)
    images = state.images[:6]
    numbers = state.augmenter.uniform_numbers(12, torch.Generator().manual_seed(3))
    assert torch.equal(step.augment(images, numbers), step._augment_as_written(images, numbers))
    assert isinstance(training.compute_step, CapturedStep)
    assert isinstance(training.compute_step.inner, KernelStep)
    kernel = training.compute_step.inner._view_kernel
    assert kernel is not None
    assert torch.equal(kernel.table[2, 4:7], state.mean)
    assert torch.allclose(kernel.table[2, 7:10], 1.0 / state.std, rtol=1e-6)
    training.close()


def no_compiler(*_: Any) -> Callable[..., Any]:
    raise RuntimeError("no C compiler was found.\n(more lines)")


def stretched(views: Tensor, dtype: torch.dtype) -> Tensor:
    return 1.1 * views


def rounded_otherwise(views: Tensor, dtype: torch.dtype) -> Tensor:
    return 1.1 * views if dtype == torch.bfloat16 else views


def failing(views: Tensor, dtype: torch.dtype) -> Tensor:
    raise RuntimeError("ptxas: no kernel image.\n(more lines)")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (stretched, "computes is not them (its augmented views are others)"),
        (rounded_otherwise, "could not be used (its bfloat16 is rounded otherwise"),
        (failing, "could not be used (ptxas: no kernel image"),
    ],
)
@pytest.mark.parametrize("compiles", [True, False])
def test_a_kernel_of_the_views_that_is_wrong_is_left_to_the_compiler(
    compiles: bool,
    change: Callable[[Tensor, torch.dtype], Tensor],
    said: str,
    dataset: Dataset,
    as_cuda: None,
    trusted: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = KernelAugmenter.__call__

    def wrong(
        self: KernelAugmenter, images: Tensor, numbers: Tensor, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        return change(right(self, images, numbers), dtype).to(dtype)

    monkeypatch.setattr(KernelAugmenter, "__call__", wrong)
    if not compiles:
        monkeypatch.setattr(compiled, "BACKEND", no_compiler)
    training = with_capture("kernels", dataset, dataclasses.replace(RUNTIME, bfloat16=True))
    notice, *others = training.prepare()
    assert said in notice
    assert notice.endswith("; torch.compile joins them.")
    assert "\n" not in notice
    assert len(others) == (0 if compiles else 1)
    assert training.compute_step.kind == "kernels and captured"
    step = plain_step(training)
    assert isinstance(step, PlainStep)
    assert (step.augment == step._augment_as_written) == (not compiles)


def test_augmentations_that_cannot_be_compiled_leave_the_kernels(
    dataset: Dataset, as_cuda: None, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those for which there is no kernel."""
    monkeypatch.setattr(compiled, "BACKEND", no_compiler)
    monkeypatch.setattr(KernelAugmenter, "can_take", lambda *_: False)
    training = with_capture("kernels", dataset)
    [notice] = training.prepare()
    assert notice.startswith("The augmentations could not be fused (")
    assert "no C compiler was found" in notice
    assert "\n" not in notice
    assert training.compute_step.kind == "kernels and captured"
    step = plain_step(training)
    assert isinstance(step, PlainStep)
    assert step.augment == step._augment_as_written


def test_augmentations_that_are_compiled_wrongly_are_left(
    dataset: Dataset, as_cuda: None, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_step = importlib.import_module("engine.pretrain.kernel_step")
    monkeypatch.setattr(
        kernel_step, "compile_on_call", lambda function: lambda *given: 1.1 * function(*given)
    )
    monkeypatch.setattr(KernelAugmenter, "can_take", lambda *_: False)
    training = with_capture("kernels", dataset)
    [notice] = training.prepare()
    assert "does not compute them (its augmented views are others)" in notice
    assert training.compute_step.kind == "kernels and captured"


def test_memory_that_runs_out_is_no_matter_of_kernels(
    dataset: Dataset, as_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> tuple[Tensor, Tensor]:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(written_block, "pooled_apply", full)
    with pytest.raises(torch.OutOfMemoryError):
        with_capture("kernels", dataset).prepare()


# ------------------------------------------------------------------------------------- on a device

on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def on_card(
    capture: str, encoder: str, precision: str, dataset: Dataset, **values: Any
) -> Pretraining:
    config = config_with(
        model__encoder=encoder,
        model__dim=32,
        moco__queue_size=100,
        optim__epochs=20,
        runtime__device="cuda",
        runtime__precision=precision,
        runtime__capture=capture,
        **values,
    )
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=False)
    return Pretraining(config, dataset.train.images, runtime)


@pytest.mark.gpu
@on_a_card
@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_a_step_agrees_with_the_plain_one_from_each_of_30_states(
    precision: str, encoder: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [("kernels", precision), ("off", precision)]
    if precision == "bfloat16":
        ways.append(("off", "float32"))
    trainings = []
    for capture, its_precision in ways:
        trainings.append(on_card(capture, encoder, its_precision, dataset, **NO_DROPOUT))
        # As in test_compiled: TF32 says nothing about the kernels.
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        assert trainings[-1].prepare() == []
    ours, plain, *wide = trainings
    assert ours.compute_step.kind == "kernels and captured"
    near = 1e-3 if precision == "float32" else 3e-2
    compare(
        ours,
        plain,
        30,
        loss=1e-3,
        update=1e-3,
        worst=20.0,
        buffers=near,
        wide=wide[0] if wide else None,
    )
    ours.close()


@pytest.mark.gpu
@on_a_card
@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_50_recorded_steps_are_those_that_are_not_recorded(
    precision: str, encoder: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit, with dropout: each replay draws the units that a step at its place draws."""
    found = []
    for recorder in (True, False):
        with monkeypatch.context() as patched:
            if not recorder:
                patched.setattr(pretraining, "recorder_for", lambda *_: None)
            training = on_card("kernels", encoder, precision, dataset, runtime__deterministic=True)
        apply_runtime(training.state.runtime, deterministic=True)
        try:
            assert training.prepare() == []
            kind = "kernels and captured" if recorder else "kernels"
            assert training.compute_step.kind == kind
            losses = torch.stack([training.advance() for _ in range(50)])
            found.append((losses.cpu(), copy.deepcopy(training.state.model.state_dict())))
        finally:
            training.close()
            apply_runtime(training.state.runtime, deterministic=False)
    (ours, our_model), (theirs, their_model) = found
    assert torch.equal(ours, theirs)
    assert differences(our_model, their_model) == []
    assert len(set(ours.tolist())) > 40
