"""The pretraining loop: exact resumption, requests, the schedule, and how it fails."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.config.metrics import MEASURES
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset, Split, channel_statistics
from engine.errors import DataError, RunError, TrainingError
from engine.evaluate.features import extract
from engine.evaluate.knn_monitor import measure_knn
from engine.models.moco import MoCo
from engine.native.library import OFF, available
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.loop import pretrain
from engine.pretrain.pretraining import Pretraining
from engine.runs.data_identity import OtherDataError, identity_in
from engine.seeds import stream_seed
from engine.sink import NullSink, Request

from ..tiny import RUNTIME, config_with, noise
from ..trees import differences


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


class Script(NullSink):
    """Records everything; asks for ``requests[step]`` once ``step`` metrics have passed."""

    def __init__(self, requests: Mapping[int, list[Request]] | None = None) -> None:
        self.requests = {step: list(wanted) for step, wanted in (requests or {}).items()}
        self.step = 0
        self.lines: list[tuple[int, float, dict[str, float]]] = []
        self.saved: list[int] = []
        self.acknowledged: list[tuple[Request, int]] = []
        self.asked_while_idle = 0

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        self.lines.append((step, epoch, dict(values)))
        if "train/loss" in values:
            self.step = step

    def checkpointed(self, step: int) -> None:
        self.saved.append(step)

    def request(self) -> Request | None:
        wanted = self.requests.get(self.step)
        return wanted[0] if wanted else None

    def acknowledge(self, request: Request, step: int) -> None:
        assert self.requests[self.step].pop(0) == request
        self.acknowledged.append((request, step))


def run(
    config: PretrainConfig,
    dataset: Dataset,
    path: Path,
    sink: Script,
    state: dict[str, Any] | None = None,
    *,
    allow_other_data: bool = False,
) -> str:
    return pretrain(
        config,
        dataset=dataset,
        runtime=RUNTIME,
        sink=sink,
        checkpoint=path,
        state=state,
        allow_other_data=allow_other_data,
    )


@pytest.fixture(scope="module")
def whole(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Script]:
    """An undisturbed run: its last checkpoint and what it reported."""
    path = tmp_path_factory.mktemp("whole") / "checkpoint.pt"
    sink = Script()
    assert run(config_with(), dataset, path, sink) == "finished"
    return checkpoints.load(path), sink


# 28 images in batches of 8: 3 steps an epoch, 12 in all; kNN after steps 0, 6 and 12.
@pytest.mark.parametrize("stop", [1, 3, 5, 6, 7, 11])
@pytest.mark.parametrize("request_", ["stop", "hand-over"])
def test_an_interrupted_run_ends_in_the_same_bits(
    stop: int,
    request_: Request,
    dataset: Dataset,
    whole: tuple[dict[str, Any], Script],
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoint.pt"
    first = Script({stop: [request_]})
    outcome = run(config_with(), dataset, path, first)
    assert outcome == ("stopped" if request_ == "stop" else "handed-over")
    assert first.acknowledged == [(request_, stop)]
    torch.manual_seed(99)  # another process has another default generator
    second = Script()
    assert run(config_with(), dataset, path, second, checkpoints.load(path)) == "finished"
    state, reference = whole
    assert differences(checkpoints.load(path), state) == []
    merged = {(s, k): v for s, _, line in first.lines + second.lines for k, v in line.items()}
    expected = {(s, k): v for s, _, line in reference.lines for k, v in line.items()}
    assert merged == expected


PIECES: dict[str, Callable[[dict[str, Any]], None]] = {
    "queue": lambda s: s["model"]["queue"].neg_(),
    "queue_ptr": lambda s: s["model"]["queue_ptr"].add_(3),
    "key encoder": lambda s: s["model"]["encoder_k.projection_head.weight"].mul_(1.01),
    "query encoder": lambda s: s["model"]["encoder_q.projection_head.weight"].mul_(1.01),
    "running statistics": lambda s: next(
        v for k, v in s["model"].items() if k.startswith("encoder_q") and "running_mean" in k
    ).add_(1.0),
    "optimizer": lambda s: s["optimizer"]["state"][0]["momentum_buffer"].zero_(),
    "default generator": lambda s: s["generators"].update(
        default=torch.Generator().manual_seed(1).get_state()
    ),
    "augmentation generator": lambda s: s["generators"].update(
        augment=torch.Generator().manual_seed(1).get_state()
    ),
    "shuffle generator": lambda s: s["generators"].update(
        shuffle=torch.Generator().manual_seed(1).get_state()
    ),
    "step": lambda s: s.update(step=s["step"] - 1),
    "sum of the epoch's losses": lambda s: s.update(epoch_sum=0.0),
}


@pytest.mark.parametrize("piece", PIECES)
def test_every_piece_of_the_resume_point_matters(
    piece: str, dataset: Dataset, whole: tuple[dict[str, Any], Script], tmp_path: Path
) -> None:
    """A resume point with one piece disturbed does not reproduce the run: none is dead weight."""
    path = tmp_path / "checkpoint.pt"
    run(config_with(), dataset, path, Script({5: ["stop"]}))
    state = checkpoints.load(path)
    PIECES[piece](state)
    sink = Script()
    run(config_with(), dataset, path, sink, state)
    expected = {(s, k): v for s, _, line in whole[1].lines for k, v in line.items()}
    got = {(s, k): v for s, _, line in sink.lines for k, v in line.items()}
    final = checkpoints.load(path)
    assert differences(final, whole[0]) or any(expected.get(k) != v for k, v in got.items())


def test_same_seed_same_numbers_other_seed_other_numbers(dataset: Dataset, tmp_path: Path) -> None:
    losses: list[list[float]] = []
    for seed in (3, 3, 4):
        sink = Script({4: ["stop"]})
        run(config_with(runtime__seed=seed), dataset, tmp_path / f"{len(losses)}.pt", sink)
        losses.append([line["train/loss"] for _, _, line in sink.lines if "train/loss" in line])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_pause_checkpoint_and_continue_change_nothing(
    dataset: Dataset, whole: tuple[dict[str, Any], Script], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    sink = Script({4: ["checkpoint"], 7: ["pause", "checkpoint", "continue"], 8: ["continue"]})
    assert run(config_with(), dataset, path, sink) == "finished"
    assert sink.acknowledged == [
        ("checkpoint", 4),
        ("pause", 7),
        ("checkpoint", 7),
        ("continue", 7),
        ("continue", 8),
    ]
    assert sink.saved == [4, 6, 7, 12]  # at 6 kNN was the best so far, which is kept
    assert differences(checkpoints.load(path), whole[0]) == []


@pytest.mark.parametrize("stop", [None, 1, 2])
def test_the_untrained_encoder_is_measured_after_the_first_epoch(
    dataset: Dataset, tmp_path: Path, stop: int | None
) -> None:
    config, path = config_with(), tmp_path / "c.pt"
    sinks = [Script({stop: ["stop"]} if stop else None), Script()]
    assert run(config, dataset, path, sinks[0]) == ("stopped" if stop else "finished")
    if stop:
        assert run(config, dataset, path, sinks[1], checkpoints.load(path)) == "finished"
    told = [(step, name) for sink in sinks for step, _, line in sink.lines for name in line]
    assert told[0] == (1, "train/loss"), "a run shows its first loss before anything else"
    assert told.count((0, "knn/top1")) == 1
    assert told.index((0, "knn/top1")) > told.index((3, "train/loss"))  # three steps an epoch

    torch.manual_seed(stream_seed(config.runtime.seed, "default"))
    untrained = MoCo(config.model, config.moco).encoder_q
    mean, std = channel_statistics(dataset.train.images)
    place: dict[str, Any] = {"mean": mean, "std": std, "device": torch.device("cpu")}
    expected = measure_knn(untrained, dataset, config, untrained=True, sink=NullSink(), **place)
    got = next(line for sink in sinks for step, _, line in sink.lines if step == 0)
    assert got == expected


@pytest.mark.skipif(available() == OFF, reason="the kernels were not built")
def test_the_monitor_uses_the_kernels_of_the_run(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def noting(*values: Any, **options: Any) -> Tensor:
        used.append(options["kernels"])
        return extract(*values, **options)

    monkeypatch.setattr("engine.evaluate.knn_monitor.extract", noting)
    for kernels in (OFF, available()):
        used.clear()
        runtime = replace(RUNTIME, kernels=kernels)
        place: dict[str, Any] = {"dataset": dataset, "checkpoint": tmp_path / f"{kernels}.pt"}
        pretrain(config_with(), runtime=runtime, sink=Script(), **place)
        assert set(used) == {kernels}


def test_a_paused_run_can_be_stopped(dataset: Dataset, tmp_path: Path) -> None:
    sink = Script({2: ["pause", "stop"]})
    path = tmp_path / "c.pt"
    assert run(config_with(), dataset, path, sink) == "stopped"
    assert checkpoints.load(path)["step"] == 2


def test_the_optimizer_holds_exactly_the_query_encoder(dataset: Dataset) -> None:
    training = Pretraining(config_with(), dataset.train.images, RUNTIME)
    held = [id(p) for group in training.state.optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in training.state.model.encoder_q.parameters())
    before = copy.deepcopy(training.state.model.encoder_q.state_dict())
    training.advance()
    moved = [
        name
        for name, p in training.state.model.encoder_q.named_parameters()
        if not torch.equal(p, before[name])
    ]
    assert moved == [name for name, _ in training.state.model.encoder_q.named_parameters()]


def test_an_epoch_shows_each_image_at_most_once_and_epochs_differ(dataset: Dataset) -> None:
    training = Pretraining(config_with(), dataset.train.images, RUNTIME)
    index = {bytes(image.numpy().tobytes()): i for i, image in enumerate(dataset.train.images)}
    epochs = []
    for _ in range(2):
        seen = []
        for _ in range(training.steps_per_epoch):
            seen += [
                index[image.numpy().tobytes()]
                for image in training.state.images[training.state.next_indices()]
            ]
            training.state.step += 1
        assert len(set(seen)) == len(seen) == 24
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_an_earlier_end_keeps_the_schedule(dataset: Dataset, tmp_path: Path) -> None:
    full, early = Script(), Script()
    run(config_with(), dataset, tmp_path / "full.pt", full)
    run(config_with(optim__stop_epoch=2), dataset, tmp_path / "early.pt", early)
    lines = {(s, k): v for s, _, line in early.lines for k, v in line.items()}
    reference = {(s, k): v for s, _, line in full.lines for k, v in line.items()}
    assert max(step for step, _ in lines) == 6
    # Measures are taken at the end as well, and for the longer run that is no end.
    assert all(
        reference[step, name] == value
        for (step, name), value in lines.items()
        if step < 6 or name not in MEASURES
    )
    # and it may be prolonged: the same resume point serves a later end
    state = checkpoints.load(tmp_path / "early.pt")
    run(config_with(), dataset, tmp_path / "early.pt", Script(), state)
    assert (
        differences(checkpoints.load(tmp_path / "early.pt"), checkpoints.load(tmp_path / "full.pt"))
        == []
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_checkpoint(
    bad: float, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Pretraining.advance

    def broken(self: Pretraining) -> Tensor:
        loss = advance(self)
        return torch.full_like(loss, bad) if self.state.step == 5 else loss

    monkeypatch.setattr(Pretraining, "advance", broken)
    path = tmp_path / "checkpoint.pt"
    sink = Script({4: ["checkpoint"]})
    with pytest.raises(TrainingError, match="step 5"):
        run(config_with(), dataset, path, sink)
    assert checkpoints.load(path)["step"] == 4
    assert not math.isfinite(sink.lines[-1][2]["train/loss"])


def test_out_of_memory_says_what_to_lower(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Pretraining) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Pretraining, "advance", broken)
    with pytest.raises(TrainingError, match=r"optim.batch_size \(8\)"):
        run(config_with(), dataset, tmp_path / "c.pt", Script())


def test_a_batch_larger_than_the_data_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 28 training images"):
        run(config_with(optim__batch_size=32), dataset, tmp_path / "c.pt", Script())


def test_a_foreign_checkpoint_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    run(config_with(), dataset, path, Script({2: ["stop"]}))
    state = checkpoints.load(path)
    with pytest.raises(RunError, match=r"moco\.queue_size is 20 there and 24"):
        run(config_with(moco__queue_size=24), dataset, path, Script(), state)
    fewer = Dataset(
        name="noise",
        train=Split(dataset.train.images[:20], dataset.train.labels[:20]),
        test=None,
        class_names=dataset.class_names,
        skipped=(),
    )
    with pytest.raises(OtherDataError, match=r"number of training images \(28 then, 20 now\)"):
        run(config_with(), fewer, path, Script(), state)
    of_0_1 = {key: value for key, value in state.items() if key != "data"}
    with pytest.raises(RunError, match="images have changed"):  # an epoch has other steps
        run(config_with(), fewer, path, Script(), of_0_1)
    with pytest.raises(RunError, match="not one of a pretraining"):
        run(config_with(), dataset, path, Script(), state | {"kind": "probe"})
    with pytest.raises(RunError, match="made on cuda"):
        run(config_with(), dataset, path, Script(), state | {"device_type": "cuda"})


def test_other_images_or_labels_are_refused_and_allowed_ones_are_in_the_next_checkpoint(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"
    run(config_with(), dataset, path, Script({2: ["stop"]}))
    state = checkpoints.load(path)
    assert identity_in(state["data"]) == dataset.identity
    inverted = replace(dataset, train=Split(255 - dataset.train.images, dataset.train.labels))
    shuffled = replace(dataset, train=Split(dataset.train.images, dataset.train.labels.flip(0)))
    renamed = replace(dataset, class_names=("a", "b", "c", "e"))
    for other, what in ((inverted, "images"), (shuffled, "labels"), (renamed, "names")):
        with pytest.raises(OtherDataError, match=what):
            run(config_with(), other, path, Script(), state)
    tested = replace(dataset, test=dataset.train)  # test images that were added meanwhile
    assert run(config_with(), tested, path, Script({3: ["stop"]}), state) == "stopped"
    # Asked to leave before its next step, it still saves whose steps are to come.
    sink = Script({2: ["stop"]})
    sink.step = 2
    left = run(config_with(), inverted, path, sink, state, allow_other_data=True)
    assert left == "stopped"
    saved = checkpoints.load(path)
    assert saved["step"] == 2
    assert identity_in(saved["data"]) == inverted.identity
    assert run(config_with(), inverted, path, Script(), saved) == "finished"


def test_a_checkpoint_without_a_digest_goes_on_and_has_one_then(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"
    run(config_with(), dataset, path, Script({2: ["stop"]}))
    state = checkpoints.load(path)
    del state["data"]
    inverted = replace(dataset, train=Split(255 - dataset.train.images, dataset.train.labels))
    assert run(config_with(), inverted, path, Script({3: ["stop"]}), state) == "stopped"
    assert identity_in(checkpoints.load(path)["data"]) == inverted.identity


def test_unlabelled_images_are_pretrained_on_without_knn(dataset: Dataset, tmp_path: Path) -> None:
    unlabelled = Dataset(
        name="noise",
        train=Split(dataset.train.images, torch.full((28,), -1)),
        test=None,
        class_names=(),
        skipped=(),
    )
    sink = Script()
    assert run(config_with(), unlabelled, tmp_path / "c.pt", sink) == "finished"
    assert not any("knn/top1" in line for _, _, line in sink.lines)


@pytest.mark.parametrize("damage", ["truncate", "empty", "garbage", "foreign"])
def test_a_damaged_checkpoint_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"step": 1, "weights": torch.ones(100)})
    data = path.read_bytes()
    if damage == "foreign":
        torch.save([1, 2], path)
    else:
        path.write_bytes(
            {"truncate": data[: len(data) // 2], "empty": b"", "garbage": b"\x80x" * 99}[damage]
        )
    with pytest.raises(RunError) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value)


def test_a_newer_checkpoint_and_a_missing_one_are_explained(tmp_path: Path) -> None:
    torch.save({"schema": 99}, tmp_path / "new.pt")
    with pytest.raises(RunError, match="newer moco-tui"):
        checkpoints.load(tmp_path / "new.pt")
    with pytest.raises(RunError, match="There is no checkpoint"):
        checkpoints.load(tmp_path / "none.pt")


def test_a_failed_save_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"step": 1})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="the disk is full"):
        checkpoints.save(path, {"step": 2})
    assert checkpoints.load(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_deterministic_cuda_resumes_in_the_same_bits(dataset: Dataset, tmp_path: Path) -> None:
    from engine.runtime.device import apply_runtime, resolve_runtime

    # losses come a block late, and all of them before a kNN: the request is seen after step 3
    config = config_with(runtime__device="cuda", runtime__deterministic=True, monitor__knn_every=1)
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=True)
    try:
        kwargs: dict[str, Any] = {"dataset": dataset, "runtime": runtime}
        pretrain(config, sink=Script(), checkpoint=tmp_path / "a.pt", **kwargs)
        path = tmp_path / "b.pt"
        pretrain(config, sink=Script({3: ["stop"]}), checkpoint=path, **kwargs)
        pretrain(config, sink=Script(), checkpoint=path, state=checkpoints.load(path), **kwargs)
        assert differences(checkpoints.load(path), checkpoints.load(tmp_path / "a.pt")) == []
    finally:
        torch.use_deterministic_algorithms(False)


def test_classes_of_one_image_leave_nothing_to_withhold(dataset: Dataset, tmp_path: Path) -> None:
    single = Dataset(
        name="noise",
        train=Split(dataset.train.images, torch.arange(28)),
        test=None,
        class_names=tuple(f"c{i}" for i in range(28)),
        skipped=(),
    )
    sink = Script({1: ["stop"]})
    assert run(config_with(), single, tmp_path / "c.pt", sink) == "stopped"
    assert not any("knn/top1" in line for _, _, line in sink.lines)


def test_knn_is_the_share_of_right_votes_for_withheld_images(
    dataset: Dataset, tmp_path: Path
) -> None:
    """Against scikit-learn, on images that are bright or dark by class."""
    from sklearn.neighbors import KNeighborsClassifier

    from engine.data.dataset import holdout_split

    labels = torch.arange(28) % 2
    level = torch.randint(0, 120, (28, 1, 1, 1), generator=torch.Generator().manual_seed(1))
    images = (level + 120 * labels.view(-1, 1, 1, 1)).expand(28, 3, 32, 32).to(torch.uint8)
    images = (images // 2 + dataset.train.images // 2).contiguous()
    bright = Dataset("b", Split(images, labels), None, ("dark", "bright"))
    config = config_with(monitor__knn_k=1)
    training = Pretraining(config, images, RUNTIME)
    place: dict[str, Any] = {
        "mean": training.state.mean,
        "std": training.state.std,
        "device": RUNTIME.device,
    }
    encoder = training.state.model.encoder_q
    got = measure_knn(encoder, bright, config, untrained=False, sink=NullSink(), **place)
    bank, held = holdout_split(labels, config.data.holdout, 0)
    features = torch.nn.functional.normalize(extract(encoder, images, **place), dim=1).numpy()
    oracle = KNeighborsClassifier(1, metric="cosine").fit(features[bank], labels[bank])
    assert got["knn/top1"] == pytest.approx(100 * oracle.score(features[held], labels[held]))


@pytest.mark.parametrize("behind", [True, False])
def test_images_without_labels_are_trained_on_and_leave_knn_as_it_was(
    dataset: Dataset, behind: bool
) -> None:
    """The withheld images and the bank are those of the labelled images alone."""
    train = dataset.train
    others = 255 - train.images[:9]
    parts = [(train.images, train.labels), (others, torch.full((9,), -1))]
    images, labels = (torch.cat(list(p)) for p in zip(*parts[:: 1 if behind else -1], strict=True))
    mixed = Dataset("b", Split(images, labels), None, dataset.class_names)
    config = config_with()
    encoder = Pretraining(config, train.images, RUNTIME).state.model.encoder_q
    place: dict[str, Any] = {
        "mean": torch.zeros(3),
        "std": torch.ones(3),
        "device": RUNTIME.device,
        "untrained": False,
        "sink": NullSink(),
    }
    assert measure_knn(encoder, mixed, config, **place) == pytest.approx(
        measure_knn(encoder, dataset, config, **place)
    )
