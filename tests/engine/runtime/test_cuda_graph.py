"""The recorded step: what CUDA would replay, replayed by a stand-in on a CPU.

The stand-in keeps the step and calls it at each replay. So everything is exercised but CUDA's own
part: tensors that stay where they are, what warm-up and recording leave behind, the learning rate,
generators, resume points, and what happens where recording fails. Tests on a device follow.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from engine.augment.augmenter import Augmenter, normalise
from engine.config.schedule import learning_rate
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.models.encoder import build_encoder
from engine.models.moco import MoCo
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain import loss_buffer, pretraining
from engine.pretrain.loop import pretrain
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.pretrain.resume_check import config_key
from engine.runtime.cuda_graph import CapturedFunction, preserved, recorder_for
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime

from ..no_waiting import NoWaiting
from ..tiny import RUNTIME, Script, Standin, compare, config_with, noise, plain_step, run
from ..trees import differences


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps this small are done before a second thread is awake."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def standins(monkeypatch: pytest.MonkeyPatch) -> list[Standin]:
    """Every pretraining that is made gets a recorder; the last one is the last of the list."""
    made: list[Standin] = []

    def make(_device: torch.device, capture: str) -> Standin:
        # "off": static, but recording fails, so the step is computed as it is
        made.append(Standin("warm-up" if capture == "off" else ""))
        return made[-1]

    monkeypatch.setattr(pretraining, "recorder_for", make)
    return made


def recorded_and_plain(dataset: Dataset, **values: Any) -> tuple[Pretraining, Pretraining]:
    """A pretraining that is recorded, and one whose very same step is called."""
    images = dataset.train.images
    recorded = Pretraining(config_with(**values), images, RUNTIME)
    plain = Pretraining(config_with(**values, runtime__capture="off"), images, RUNTIME)
    return recorded, plain


# ------------------------------------------------------------------- warm-up and recording


def test_warm_up_and_recording_leave_everything_as_it_was(
    dataset: Dataset, standins: list[Standin]
) -> None:
    training = Pretraining(config_with(), dataset.train.images, RUNTIME)
    for _ in range(2):
        plain_step(training)(
            training.state.next_indices()
        )  # somewhere on the way, not at the start
    before = copy.deepcopy(training.state_dict())
    places = [tensor.data_ptr() for tensor in training.state.changing_tensors()]
    assert training.prepare() == []
    assert training.compute_step.kind == "captured"
    assert standins[-1].recordings == 1
    assert differences(training.state_dict(), before) == []
    assert [tensor.data_ptr() for tensor in training.state.changing_tensors()] == places
    assert all(p.grad is None for p in training.state.model.parameters())
    assert all(
        group["lr"] is training.state._lr_tensor for group in training.state.optimizer.param_groups
    )


def test_a_step_changes_nothing_that_warm_up_would_not_put_back(
    dataset: Dataset, standins: list[Standin]
) -> None:
    """What a step does change, found by looking at all there is, is what is put back."""
    training = Pretraining(config_with(), dataset.train.images, RUNTIME)
    everything: dict[str, Tensor] = {
        **{
            name: value for name, value in vars(training.state).items() if isinstance(value, Tensor)
        },
        **dict(training.state.model.named_parameters()),
        **dict(training.state.model.named_buffers()),
        **{
            f"sgd {i}": s["momentum_buffer"]
            for i, s in enumerate(training.state.optimizer.state.values())
        },
    }
    indices = training.state.next_indices()
    before = {name: value.clone() for name, value in everything.items()}
    plain_step(training)(indices)
    changed = {name for name, value in everything.items() if not torch.equal(value, before[name])}
    told = {tensor.data_ptr() for tensor in training.state.changing_tensors()}
    assert "queue" in changed
    assert {name for name in changed if everything[name].data_ptr() not in told} == set()


@pytest.mark.parametrize("broken", ["warm-up", "recording"])
def test_where_recording_fails_the_run_goes_on_from_the_untouched_state(
    broken: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Standin(broken)
    monkeypatch.setattr(pretraining, "recorder_for", lambda *_: recorder)
    training = Pretraining(config_with(), dataset.train.images, RUNTIME)
    before = copy.deepcopy(training.state_dict())
    [notice] = training.prepare()
    reason = "an operation that cannot" if broken == "warm-up" else "not permitted when stream"
    assert reason in notice
    assert "\n" not in notice
    assert training.compute_step.kind == "plain"
    assert differences(training.state_dict(), before) == []
    assert training.prepare() == []  # said once, not tried again
    first = training.advance()
    training.load_state_dict(before)
    assert torch.equal(training.advance(), first)
    assert recorder.closed == 1


def test_a_step_that_does_not_fit_the_device_is_no_matter_of_recording(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin("memory"))
    training = Pretraining(config_with(), dataset.train.images, RUNTIME)
    with pytest.raises(torch.OutOfMemoryError):
        training.prepare()
    with pytest.raises(TrainingError, match=r"ran out at step 1; lower"):
        run(config_with(), dataset, tmp_path / "c.pt", Script())


def test_preserved_puts_back_after_an_error_too() -> None:
    tensor, generator = torch.arange(3.0), torch.Generator().manual_seed(3)
    state = generator.get_state()

    def disturb() -> None:
        with preserved([tensor], [generator]):
            tensor.fill_(9)
            torch.rand(2, generator=generator)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        disturb()
    assert tensor.tolist() == [0.0, 1.0, 2.0]
    assert torch.equal(generator.get_state(), state)


def test_a_captured_step_reads_its_input_and_gives_losses_of_their_own() -> None:
    seen = torch.zeros(2, dtype=torch.int64)

    def compute(indices: Tensor) -> Tensor:
        seen.copy_(indices)
        return indices.sum().float()

    given = torch.tensor([1, 2])
    step = CapturedFunction(compute, given, tensors=[seen], generators=[], recorder=Standin())
    assert seen.tolist() == [0, 0]
    losses = [step(torch.tensor([i, i + 1])) for i in range(3)]
    assert [float(loss) for loss in losses] == [1.0, 3.0, 5.0]
    assert seen.tolist() == [2, 3]
    assert given.tolist() == [1, 2]


def test_only_cuda_records_and_only_where_it_is_wanted() -> None:
    assert recorder_for(torch.device("cpu"), "auto") is None
    assert recorder_for(torch.device("mps"), "auto") is None
    assert recorder_for(torch.device("cuda", 0), "off") is None


def test_how_steps_are_launched_does_not_part_a_run_from_its_resume_point() -> None:
    assert config_key(config_with()) == config_key(config_with(runtime__capture="off"))


# ----------------------------------------------------------------------------- beside plain steps


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"moco__symmetric": False, "moco__shuffle_keys": False},
        {"model__encoder": "resnet18", "optim__sgd_momentum": 0.0, "optim__epochs": 2},
        {"optim__schedule": "step", "optim__milestones": (1, 2)},
        {"optim__warmup_epochs": 2, "moco__momentum_schedule": "cosine"},
    ],
    ids=["default", "asymmetric", "resnet18", "steps", "schedules"],
)
def test_replays_and_plain_steps_compute_the_same_over_epochs(
    values: dict[str, Any], dataset: Dataset, standins: list[Standin]
) -> None:
    recorded, plain = recorded_and_plain(dataset, **values)
    start = copy.deepcopy(recorded.state_dict()["generators"])
    steps = recorded.state.config.optim.epochs * recorded.steps_per_epoch
    losses = [recorded.advance().clone() for _ in range(steps)]
    torch.set_rng_state(start["default"])  # of dropout: it is the process's
    for step in range(steps):
        rate = learning_rate(
            plain.state.config.optim, plain.state.step, plain.state.steps_per_epoch
        )
        assert torch.equal(plain.advance(), losses[step])
        assert plain.state._lr_tensor is not None
        assert float(plain.state._lr_tensor) == pytest.approx(rate, rel=1e-6)
    assert (recorded.compute_step.kind, plain.compute_step.kind) == ("captured", "plain")
    assert standins[0].replays == steps
    assert differences(recorded.state_dict(), plain.state_dict()) == []


def test_one_step_of_both_agrees_from_each_of_many_states(
    dataset: Dataset, standins: list[Standin]
) -> None:
    """To the bit, since both are the same operations in the same order on a CPU."""
    source, plain = recorded_and_plain(dataset, optim__epochs=17)
    recorded = Pretraining(source.state.config, dataset.train.images, RUNTIME)
    for _ in range(50):
        source.advance()
        state = copy.deepcopy(source.state_dict())
        results: list[Any] = []
        for training in (recorded, plain):
            training.load_state_dict(copy.deepcopy(state))
            results.append((training.advance(), training.state_dict()))
        assert differences(results[0], results[1]) == []
        torch.set_rng_state(state["generators"]["default"])  # it is the process's
    assert recorded.compute_step.kind == "captured"
    assert standins[-1].recordings == 50  # anew for each state: its tensors have moved


def test_momentum_that_begins_with_zeros_is_what_sgd_begins_with(
    dataset: Dataset, standins: list[Standin]
) -> None:
    one, other = recorded_and_plain(dataset)
    other.state.optimizer.state.clear()
    state = torch.get_rng_state()
    plain_step(one)(one.state.next_indices())
    torch.set_rng_state(state)
    plain_step(other)(other.state.next_indices())
    assert differences(one.state_dict()["model"], other.state_dict()["model"]) == []
    assert (
        differences(
            one.state.optimizer.state_dict()["state"], other.state.optimizer.state_dict()["state"]
        )
        == []
    )


# ------------------------------------------------------------------------------- whole runs


def test_interrupted_paused_and_plain_runs_end_in_the_same_bits(
    dataset: Dataset, standins: list[Standin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_buffer, "MOST", 2)
    whole = Script()
    assert run(config_with(), dataset, tmp_path / "whole.pt", whole) == "finished"
    reference = checkpoints.load(tmp_path / "whole.pt")
    assert [step for step, key in sorted(whole.lines) if key == "train/loss"] == [*range(1, 13)]
    assert {step for step, key in whole.lines if key == "knn/top1"} == {0, 6, 12}
    assert whole.facts["step"] == "captured"
    assert [line.partition(";")[0] for line in whole.logged] == ["steps: recorded"]

    for stop in (1, 3, 5):
        path = tmp_path / f"{stop}.pt"
        first, second = Script({stop: ["hand-over"]}), Script({stop + 1: ["pause", "continue"]})
        assert run(config_with(), dataset, path, first) == "handed-over"
        assert standins[-1].closed == 1  # its memory is free before the successor starts
        torch.manual_seed(99)  # another process has another default generator
        assert run(config_with(), dataset, path, second, checkpoints.load(path)) == "finished"
        assert [request for request, _ in second.acknowledged] == ["pause", "continue"]
        assert differences(checkpoints.load(path), reference) == []
        assert first.lines | second.lines == whole.lines

    plain = Script()
    assert run(config_with(runtime__capture="off"), dataset, tmp_path / "plain.pt", plain)
    assert differences(checkpoints.load(tmp_path / "plain.pt"), reference) == []
    assert plain.lines == whole.lines
    assert plain.facts["step"] == "plain"
    assert len(plain.logged) == 1
    assert "could not be recorded" in plain.logged[0]


def test_a_resume_point_holds_the_learning_rate_as_a_number(
    dataset: Dataset, standins: list[Standin], tmp_path: Path
) -> None:
    training = Pretraining(config_with(), dataset.train.images, RUNTIME)
    for _ in range(training.steps_per_epoch + 1):
        training.advance()
    checkpoints.save(tmp_path / "c.pt", training.state_dict())
    state = checkpoints.load(tmp_path / "c.pt")
    [group] = state["optimizer"]["param_groups"]
    assert group["lr"] == learning_rate(training.state.config.optim, 7, 7)
    assert isinstance(group["lr"], float)
    other = Pretraining(config_with(), dataset.train.images, RUNTIME)
    other.load_state_dict(state)
    assert differences(other.state_dict(), training.state_dict()) == []


def test_a_loss_that_is_not_finite_keeps_the_last_good_resume_point(
    dataset: Dataset, standins: list[Standin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_buffer, "MOST", 2)
    advance = Pretraining.advance

    def broken(self: Pretraining) -> Tensor:
        loss = advance(self)
        return torch.full_like(loss, torch.nan) if self.state.step == 8 else loss

    monkeypatch.setattr(Pretraining, "advance", broken)
    sink = Script({4: ["checkpoint"]})
    with pytest.raises(TrainingError, match="step 8"):
        run(config_with(), dataset, tmp_path / "c.pt", sink)
    assert 4 <= checkpoints.load(tmp_path / "c.pt")["step"] < 8


# ------------------------------------------------------- nothing that waits, nothing that moves


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"moco__symmetric": False, "model__mlp_head": True, "optim__sgd_momentum": 0.0},
        {"model__encoder": "resnet18", "model__bn_splits": 1},
        {"augment__order": ("flip", "rotation", "crop", "grayscale", "color_jitter", "blur")},
    ],
    ids=["default", "asymmetric", "resnet18", "order"],
)
def test_a_step_never_waits_for_the_device(
    values: dict[str, Any], dataset: Dataset, standins: list[Standin]
) -> None:
    training = Pretraining(config_with(**values), dataset.train.images, RUNTIME)
    indices = training.state.next_indices()
    with NoWaiting() as watch:
        plain_step(training)(indices)
    assert watch.calls > 100


def test_the_watch_sees_what_waits(dataset: Dataset) -> None:
    """The augmentation by subsets, as a CPU has it, would not do."""
    augmenter = Augmenter(config_with().augment)
    params = augmenter.random_params(8, torch.Generator().manual_seed(0))
    with NoWaiting():
        augmenter.apply(dataset.train.images[:8], params, dense=True)
        with pytest.raises(AssertionError, match="waits"):
            augmenter.apply(dataset.train.images[:8], params, dense=False)
        with pytest.raises(AssertionError, match="mask"):
            dataset.train.images[dataset.train.labels > 1]


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
def test_the_forward_half_stays_on_the_device(
    encoder: str, chunks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tensors that only pretend to be on CUDA: no operation meets one of the CPU's.

    They have no values, so an operation that asks for one fails too.
    """
    if chunks:
        monkeypatch.setattr("engine.models.info_nce.MAX_LOGITS", 100)
    config = config_with(model__encoder=encoder)
    cuda, generator = torch.device("cuda", 0), torch.Generator().manual_seed(0)
    # what has no values cannot be copied deeply
    second = SimpleNamespace(deepcopy=lambda _encoder: build_encoder(config.model))
    monkeypatch.setattr("engine.models.moco.copy", second)
    with FakeTensorMode():
        with cuda:
            model = MoCo(config.model, config.moco).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):  # what .to(memory_format=...) does
                weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
                module.weight = torch.nn.Parameter(weight, module.weight.requires_grad)
        images = torch.empty(16, 3, 32, 32, dtype=torch.uint8, device=cuda)
        augmenter = Augmenter(config.augment)
        views = augmenter.apply(images, augmenter.random_params(16, generator, cuda))
        views = normalise(views, torch.empty(3, device=cuda), torch.empty(3, device=cuda))
        views = views.contiguous(memory_format=torch.channels_last)
        formats: list[bool] = []
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(
                    lambda _m, _i, out: formats.append(
                        out.is_contiguous(memory_format=torch.channels_last)
                    )
                )
        model.momentum_update()
        view_1, view_2 = views.chunk(2)
        loss, keys = model.loss(view_1, view_2, generator)
        model.enqueue(keys)
        assert loss.device == keys.device == model.queue.device == cuda
        assert loss.shape == ()
        assert formats
        assert all(formats)  # channels last from end to end


# ------------------------------------------------------------------------------- on a device

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(params=[True, False], ids=["deterministic", "fast"])
def determinism(request: pytest.FixtureRequest) -> Iterator[bool]:
    yield request.param
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


def on_cuda(deterministic: bool, **values: Any) -> tuple[PretrainConfig, Runtime]:
    config = config_with(
        **({"model__dim": 32, "moco__queue_size": 100, "optim__epochs": 67} | values),
        runtime__device="cuda",
        runtime__deterministic=deterministic,
    )
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=deterministic)
    return config, runtime


def cuda_recorded_and_plain(
    deterministic: bool, dataset: Dataset, **values: Any
) -> tuple[Pretraining, Pretraining]:
    both = []
    for capture in ("auto", "off"):
        config, runtime = on_cuda(deterministic, runtime__capture=capture, **values)
        both.append(Pretraining(config, dataset.train.images, runtime))
    return both[0], both[1]


@pytest.mark.gpu
@needs_gpu
def test_cuda_warm_up_and_recording_leave_everything_as_it_was(
    determinism: bool, dataset: Dataset
) -> None:
    config, runtime = on_cuda(determinism)
    training = Pretraining(config, dataset.train.images, runtime)
    for _ in range(2):
        plain_step(training)(training.state.next_indices())
    before = copy.deepcopy(training.state_dict())
    places = [tensor.data_ptr() for tensor in training.state.changing_tensors()]
    assert training.prepare() == []
    assert training.compute_step.kind == "captured"
    assert differences(training.state_dict(), before) == []
    assert [tensor.data_ptr() for tensor in training.state.changing_tensors()] == places
    training.close()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
def test_cuda_replays_equal_their_own_kernels_run_one_by_one(
    encoder: str, dataset: Dataset
) -> None:
    """In deterministic mode, to the bit, over epochs with other learning rates."""
    recorded, plain = cuda_recorded_and_plain(
        True, dataset, model__encoder=encoder, optim__epochs=5
    )
    try:
        start = copy.deepcopy(recorded.state_dict())
        plain.load_state_dict(copy.deepcopy(start))
        ours = [recorded.advance() for _ in range(15)]
        ended = copy.deepcopy(recorded.state_dict())
        plain.load_state_dict(copy.deepcopy(start))  # the default generator is the process's
        theirs = [plain.advance() for _ in range(15)]
        assert torch.equal(torch.stack(ours), torch.stack(theirs))
        assert differences(ended, plain.state_dict()) == []
        assert (recorded.compute_step.kind, plain.compute_step.kind) == ("captured", "plain")
    finally:
        recorded.close()
        torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_one_step_of_both_agrees_from_each_of_60_states(
    precision: str, dataset: Dataset
) -> None:
    """Kernels that add in any order: the two updates differ by at most 1e-3 (bfloat16: 2e-2) of

    their length, and the losses by 1e-4 (bfloat16: 1e-3) of their size.
    """
    near, far = (1e-4, 1e-3) if precision == "float32" else (1e-3, 2e-2)
    recorded, plain = cuda_recorded_and_plain(False, dataset, runtime__precision=precision)
    recorded.prepare()
    compare(recorded, plain, 60, loss=near, update=far, buffers=far)
    assert recorded.compute_step.kind == "captured"
    recorded.close()


@pytest.mark.gpu
@needs_gpu
def test_cuda_runs_resume_in_the_same_bits_recorded_or_not(
    dataset: Dataset, tmp_path: Path
) -> None:
    """Deterministic; with kNN between replays, and a second part that launches kernel by kernel."""
    config, runtime = on_cuda(True, optim__epochs=6)
    plain, _ = on_cuda(True, optim__epochs=6, runtime__capture="off")
    kwargs: dict[str, Any] = {"dataset": dataset, "runtime": runtime}
    try:
        sink = Script()
        pretrain(config, sink=sink, checkpoint=tmp_path / "a.pt", **kwargs)
        assert sink.facts["step"] == "captured"
        whole = checkpoints.load(tmp_path / "a.pt")
        for second in (config, plain):
            path = tmp_path / "b.pt"
            pretrain(config, sink=Script({4: ["stop"]}), checkpoint=path, **kwargs)
            state = checkpoints.load(path)
            assert 4 <= state["step"] < 18
            torch.manual_seed(99)
            pretrain(second, sink=Script(), checkpoint=path, state=state, **kwargs)
            assert differences(checkpoints.load(path), whole) == []
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
@needs_gpu
def test_cuda_a_step_that_waits_is_not_recorded_and_the_run_goes_on(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, runtime = on_cuda(True)
    reference, _ = on_cuda(True, runtime__capture="off")
    kwargs: dict[str, Any] = {"dataset": dataset, "runtime": runtime}
    compute = PlainStep.__call__

    def waits(self: PlainStep, indices: Tensor) -> Tensor:
        loss = compute(self, indices)
        if torch.cuda.is_current_stream_capturing():
            float(loss)  # CUDA refuses, and the recording is void
        return loss

    try:
        pretrain(reference, sink=Script(), checkpoint=tmp_path / "a.pt", **kwargs)
        monkeypatch.setattr(PlainStep, "__call__", waits)
        sink = Script()
        assert pretrain(config, sink=sink, checkpoint=tmp_path / "b.pt", **kwargs) == "finished"
        assert len(sink.logged) == 2  # the first is how its steps are computed
        assert "could not be recorded" in sink.logged[1]
        assert sink.facts["step"] == "plain"
        one, other = (checkpoints.load(tmp_path / f"{name}.pt") for name in "ab")
        assert differences(one, other) == []
        # and the next run of the process can record again
        monkeypatch.setattr(PlainStep, "__call__", compute)
        again = Script()
        pretrain(config, sink=again, checkpoint=tmp_path / "c.pt", **kwargs)
        assert again.facts["step"] == "captured"
        assert differences(checkpoints.load(tmp_path / "c.pt"), one) == []
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
@needs_gpu
def test_cuda_a_plain_step_never_waits_for_the_device(dataset: Dataset) -> None:
    config, runtime = on_cuda(False, runtime__capture="off")
    training = Pretraining(config, dataset.train.images, runtime)
    for _ in range(training.steps_per_epoch):
        training.advance()
    training.state.next_indices()  # a new epoch may wait once for its order
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(training.steps_per_epoch):
            training.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_gpu
def test_cuda_a_closed_recording_gives_its_memory_back(dataset: Dataset) -> None:
    values = {"model__encoder": "resnet18", "optim__batch_size": 24}
    config, runtime = on_cuda(False, **values)
    training = Pretraining(config, dataset.train.images, runtime)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    training.advance()
    held = torch.cuda.memory_reserved()
    training.close()
    # what stays are the libraries' workspaces
    assert torch.cuda.memory_reserved() - before < 0.5 * (held - before)
