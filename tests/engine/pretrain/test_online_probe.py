"""The online probe: right features, a right classifier, no withheld label, and no trace of it."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config.metrics import registered
from engine.data.dataset import Dataset, Split, holdout_split
from engine.errors import RunError
from engine.models.dropout import Dropout
from engine.models.encoder import Encoder
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.library import OFF, available
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain import pretraining
from engine.pretrain.branch import branched
from engine.pretrain.loop import pretrain
from engine.pretrain.online_probe import (
    EVERY_ON_A_CARD,
    LEARNING_RATE,
    NO_LABELS,
    OnlineProbe,
    probe_beside,
)
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.runtime import compiled
from engine.runtime.device import Runtime

from ...benchmarks.speed import fusion
from ..no_waiting import NoWaiting
from ..tiny import RUNTIME, Script, Standin, config_with, noise, plain_step, run
from ..trees import differences

NAMES = {"online/top1", "online/train_top1", "online/loss"}
LONG = {"optim__batch_size": 4}  # 7 steps an epoch


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.fixture
def on_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps on the CPU take the ways that they take on CUDA."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.compiler.reset()
    with fusion.as_on_cuda(RUNTIME.device):
        monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
        monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
        yield
        monkeypatch.undo()
    torch.compiler.reset()
    torch.set_num_threads(threads)


def begun(
    dataset: Dataset, runtime: Runtime = RUNTIME, **values: Any
) -> tuple[Pretraining, OnlineProbe]:
    training = Pretraining(config_with(**values), dataset.train.images, runtime)
    probe = probe_beside(training.state, dataset)
    assert probe is not None
    return training, probe


# ---------------------------------------------------------------------------------------------
# No trace

ON_CPU: dict[str, tuple[str, dict[str, Any]]] = {
    "groups": ("groupwise", {}),
    "groups of one view": ("groupwise", {"moco__symmetric": False}),
    "kernels in C": ("native", {}),
    "whole batch": ("plain", {"model__bn_splits": 1, "moco__symmetric": False}),
}


def ends_alike(dataset: Dataset, runtime: Runtime, **values: Any) -> str:
    """How steps are computed whose losses and states are the same with and without the probe."""
    losses, states, kinds = [], [], set()
    for probed in (False, True):
        config = config_with(monitor__online_probe=probed, **values)
        training = Pretraining(config, dataset.train.images, runtime)
        probe = probe_beside(training.state, dataset)
        assert (probe is not None) == probed == (training.state.model.kept is not None)
        assert training.prepare() == []
        kinds.add(training.compute_step.kind)
        of_run = []
        for _ in range(6):
            of_run.append(training.advance())
            if probe is not None:
                probe.after_step()
        losses.append(torch.stack(of_run))
        assert probe is None or probe.state_dict()["updates"] >= 2
        states.append(copy.deepcopy(training.state_dict()))
        training.close()
    assert torch.equal(losses[0], losses[1])
    assert differences(states[0], states[1]) == []
    (kind,) = kinds
    return kind


@pytest.mark.parametrize("way", ON_CPU)
@pytest.mark.parametrize("bfloat16", [False, True])
def test_on_a_cpu_the_probe_changes_no_bit(way: str, bfloat16: bool, dataset: Dataset) -> None:
    kind, values = ON_CPU[way]
    runtime = dataclasses.replace(RUNTIME, bfloat16=bfloat16)
    if kind == "native":
        if available() == OFF:
            pytest.skip("the kernels were not built")
        runtime = dataclasses.replace(runtime, kernels=available())
    splits = values.get("model__bn_splits", 2)
    threads = 1 if splits == 2 else 2  # with more threads than groups the step is plain
    runtime = dataclasses.replace(runtime, threads=threads)
    assert ends_alike(dataset, runtime, **values) == kind


@pytest.mark.parametrize("capture", ["auto", "kernels", "fused"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_recorded_the_probe_changes_no_bit(
    capture: str, symmetric: bool, dataset: Dataset, on_card: None
) -> None:
    values = {"runtime__capture": capture, "moco__symmetric": symmetric}
    # Without dropout the check of what was compiled takes a few passes in place of 64.
    kind = ends_alike(dataset, RUNTIME, model__dropout=0.0, **values)
    assert kind == ("captured" if capture == "auto" else f"{capture} and captured")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("bfloat16", [pytest.param(False, marks=pytest.mark.slow), True])
def test_what_the_compiler_makes_computes_the_same_bits_with_the_probe(
    bfloat16: bool,
    dataset: Dataset,
    on_card: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    runtime = dataclasses.replace(RUNTIME, bfloat16=bfloat16)
    off = {f"augment__{name}__enabled": False for name in ("blur", "color_jitter", "rotation")}
    kind = ends_alike(dataset, runtime, runtime__capture="fused", model__dropout=0.0, **off)
    assert kind == "fused and captured"


# ---------------------------------------------------------------------------------------------
# The features


def features_of(encoder: Encoder, images: Tensor, groups: int) -> Tensor:
    """Of an encoder in training mode, a group at a time, in float64."""
    one = copy.deepcopy(encoder).double()
    for module in one.modules():
        if isinstance(module, SplitBatchNorm2d):
            module.num_splits = 1
        if isinstance(module, Dropout):
            module.p = 0.0
    found = torch.empty(len(images), encoder.feature_dim, dtype=torch.float64)
    for group in range(groups):
        with torch.no_grad():
            found[group::groups] = one.backbone(images[group::groups].double())
    return found


def kept_as_expected(training: Pretraining) -> None:
    training.prepare()
    step = plain_step(training)
    view = step.views(
        training.state.images[:8] if isinstance(step, PlainStep) else torch.arange(8)
    )[0]
    other = view.flip(0)
    step.views = lambda _: (view, other)  # type: ignore[method-assign]
    before = copy.deepcopy(training.state.model.encoder_q)
    kept = training.state.model.kept
    assert kept is not None
    place = kept.data_ptr()
    training.advance()
    wanted = features_of(before, view, training.state.config.model.bn_splits)
    assert kept.shape == wanted.shape
    assert float((kept - wanted).norm()) < 1e-5 * float(wanted.norm())
    assert float(wanted.std(0).mean()) > 0.01  # or any features would do
    assert (kept.data_ptr(), kept.requires_grad) == (place, False)
    training.close()


@pytest.mark.parametrize("way", ON_CPU)
@pytest.mark.parametrize("mlp", [False, True])
def test_the_features_are_those_of_the_first_view_before_the_head(
    way: str, mlp: bool, dataset: Dataset
) -> None:
    kind, values = ON_CPU[way]
    runtime = dataclasses.replace(RUNTIME, threads=2 if kind == "plain" else 1)
    if kind == "native":
        runtime = dataclasses.replace(runtime, kernels=available())
    training, _ = begun(dataset, runtime, model__dropout=0.0, model__mlp_head=mlp, **values)
    kept_as_expected(training)


@pytest.mark.parametrize("capture", ["auto", "kernels", "fused"])
def test_so_they_are_on_a_card(capture: str, dataset: Dataset, on_card: None) -> None:
    training, _ = begun(dataset, model__dropout=0.0, runtime__capture=capture)
    kept_as_expected(training)


# ---------------------------------------------------------------------------------------------
# The classifier


def fed(probe: OnlineProbe, training: Pretraining, features: Tensor, batch: Tensor) -> None:
    assert training.state.model.kept is not None
    training.state.model.kept.copy_(features)
    training.state.batch = batch
    probe.update()


def batches(count: int, width: int, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Features that tell something of the labels, and the images that they are of."""
    generator = torch.Generator().manual_seed(3)
    directions = torch.randn(5, width, generator=generator)
    found = []
    for _ in range(count):
        batch = torch.randperm(28, generator=generator)[:8]
        noise_ = torch.randn(8, width, generator=generator)
        found.append((3.0 + 2.0 * noise_ + directions[labels[batch]], batch))
    return found


def partly_labelled(dataset: Dataset) -> Dataset:
    labels = dataset.train.labels.clone()
    labels[::6] = -1
    return dataclasses.replace(dataset, train=Split(dataset.train.images, labels))


class Oracle:
    """The same by other means: autograd and torch's Adam in float64, and rows one by one."""

    def __init__(self, dataset: Dataset, width: int) -> None:
        config = config_with()
        labels = dataset.train.labels
        self.labels = labels
        bank, held = holdout_split(labels, config.data.holdout, config.runtime.seed)
        self.bank, self.held = set(bank.tolist()), set(held.tolist())
        self.layer = nn.Linear(width, len(dataset.class_names)).double()
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.adam = torch.optim.Adam(self.layer.parameters(), lr=LEARNING_RATE)
        self.mean = self.variance = torch.zeros(width, dtype=torch.float64)
        self.updates = 0
        self.loss, self.rows, self.hits, self.held_rows, self.held_hits = 0.0, 0, 0, 0, 0

    def update(self, features: Tensor, batch: Tensor) -> None:
        self.updates += 1
        share = max(0.05, 1 / self.updates)
        x = features.double()
        self.mean = (1 - share) * self.mean + share * x.mean(0)
        self.variance = (1 - share) * self.variance + share * x.var(0, correction=0)
        scores = self.layer((x - self.mean) / (self.variance + 1e-5).sqrt())
        terms = []
        for row, image in enumerate(batch.tolist()):
            right = int(scores[row].argmax()) == int(self.labels[image])
            if image in self.held:
                self.held_rows += 1
                self.held_hits += right
            elif image in self.bank:
                self.rows += 1
                self.hits += right
                terms.append(F.cross_entropy(scores[row], self.labels[image]))
        self.adam.zero_grad()
        loss = torch.stack(terms)
        loss.mean().backward()
        self.loss += float(loss.detach().sum())
        self.adam.step()


def test_the_classifier_is_that_of_an_independent_computation(dataset: Dataset) -> None:
    mixed = partly_labelled(dataset)
    training, probe = begun(mixed)
    width = training.state.model.encoder_q.feature_dim
    oracle = Oracle(mixed, width)
    for features, batch in batches(12, width, mixed.train.labels):
        fed(probe, training, features, batch)
        oracle.update(features, batch)
    wanted = torch.cat([oracle.layer.weight, oracle.layer.bias.unsqueeze(1)], dim=1).detach()
    found = probe.state_dict()
    assert float((found["weights"] - wanted).norm()) < 1e-4 * float(wanted.norm())
    training.state.step = training.steps_per_epoch
    probe._copies.send(training.state.step, (), found["sums"])
    (measured,) = probe.read()
    assert oracle.held_rows > 10  # or these sums say nothing
    assert oracle.rows > 30
    assert measured.values["online/top1"] == pytest.approx(
        100 * oracle.held_hits / oracle.held_rows
    )
    assert measured.values["online/train_top1"] == pytest.approx(100 * oracle.hits / oracle.rows)
    assert measured.values["online/loss"] == pytest.approx(oracle.loss / oracle.rows, rel=1e-5)
    training.close()


def test_a_withheld_label_reaches_no_weight(dataset: Dataset) -> None:
    training, probe = begun(dataset)
    _, held = holdout_split(dataset.train.labels, 0.25, 0)
    others = probe._held.clone()
    others[held] = (others[held] + 1) % 4
    liar = OnlineProbe(training.state, probe._fit, others, 4)
    probe._features = liar._features  # those that the model keeps now
    for features, batch in batches(30, liar._features.shape[1], dataset.train.labels):
        fed(probe, training, features, batch)
        liar.update()
    found, of_liar = probe.state_dict(), liar.state_dict()
    assert not torch.equal(found.pop("sums"), of_liar.pop("sums"))  # they were looked at
    assert differences(found, of_liar) == []
    assert float(found["weights"].norm()) > 0.01
    assert set(held.tolist()).isdisjoint((probe._fit >= 0).nonzero().flatten().tolist())
    training.close()


def test_hits_are_counted_before_the_classifier_has_seen_the_batch(dataset: Dataset) -> None:
    """At weights of zero every guess is the first class, however easy the batch is to learn."""
    training, probe = begun(dataset)
    batch = torch.arange(8)
    features = 10.0 * F.one_hot(dataset.train.labels[batch], 512).float()
    fed(probe, training, features, batch)
    _, rows, hits, held, held_hits = probe.state_dict()["sums"].tolist()
    assert rows + held == 8
    assert hits + held_hits == 2  # of four classes in turn
    training.close()


def test_images_that_tell_their_class_are_told_apart(tmp_path: Path) -> None:
    """Bright and dark ones: the withheld are told apart, and so are those of the training."""
    labels = torch.arange(96) % 2
    generator = torch.Generator().manual_seed(1)
    images = (
        30
        + 160 * labels.view(-1, 1, 1, 1)
        + torch.randint(0, 30, (96, 3, 32, 32), generator=generator)
    )
    bright = Dataset("b", Split(images.to(torch.uint8), labels), None, ("dark", "bright"))
    sink = Script()
    config = config_with(
        optim__epochs=25, augment__color_jitter__enabled=False, model__bn_splits=1,
        monitor__knn_every=0, monitor__measures=False,
    )  # fmt: skip
    assert run(config, bright, tmp_path / "c.pt", sink) == "finished"
    curve = [value for (_, name), value in sorted(sink.lines.items()) if name == "online/top1"]
    assert len(curve) == 25
    assert sum(curve[-5:]) / 5 > 90.0
    last = {name: value for (step, name), value in sink.lines.items() if step == 25 * 12}
    assert last["online/train_top1"] > 85.0
    assert last["online/loss"] < 0.4


# ---------------------------------------------------------------------------------------------
# The run


def test_an_epoch_has_an_update_at_each_step_and_one_line(dataset: Dataset, tmp_path: Path) -> None:
    sink = Script()
    run(config_with(optim__epochs=2, monitor__knn_every=0, **LONG), dataset, tmp_path / "c", sink)
    assert {step for step, name in sink.lines if name in NAMES} == {7, 14}
    state = checkpoints.load(tmp_path / "c")["online_probe"]
    assert state["updates"] == 14
    assert state["sums"].tolist() == [0.0] * 5
    assert {name for _, name in sink.lines} >= NAMES
    for name in NAMES:
        entry = registered(name)
        assert entry is not None
        assert entry.title


@pytest.mark.parametrize("steps", [3, 4, 7, 9])
def test_on_a_card_updates_are_counted_from_the_end_of_an_epoch(
    steps: int, dataset: Dataset, on_card: None
) -> None:
    """So that each epoch has one, and a resumed run the same ones."""
    training, probe = begun(dataset)
    training.state.steps_per_epoch = steps
    training.state.batch = torch.arange(8)
    updated = []
    for step in range(1, 2 * steps + 1):
        before = probe.state_dict()["updates"]
        training.state.step = step
        probe.after_step()
        if probe.state_dict()["updates"] > before:
            updated.append(step)
    wanted = [end - back for end in (steps, 2 * steps) for back in range(0, steps, EVERY_ON_A_CARD)]
    assert updated == sorted(wanted)


@pytest.mark.parametrize("stop", [3, 7, 11])
def test_a_resumed_run_has_the_same_probe(stop: int, dataset: Dataset, tmp_path: Path) -> None:
    config = config_with(optim__epochs=2, monitor__knn_every=0, **LONG)
    whole = Script()
    assert run(config, dataset, tmp_path / "whole.pt", whole) == "finished"
    first = Script({stop: ["stop"]})
    assert run(config, dataset, tmp_path / "c.pt", first) == "stopped"
    second = Script()
    run(config, dataset, tmp_path / "c.pt", second, checkpoints.load(tmp_path / "c.pt"))
    both = {**first.lines, **second.lines}
    wanted = {key: value for key, value in whole.lines.items() if key[1] in NAMES}
    assert {key: value for key, value in both.items() if key[1] in NAMES} == wanted
    states = [checkpoints.load(tmp_path / name)["online_probe"] for name in ("whole.pt", "c.pt")]
    assert differences(*states) == []


def test_every_piece_of_the_probes_state_matters(dataset: Dataset, tmp_path: Path) -> None:
    """A resume point with one piece disturbed ends in another probe or other figures."""
    config = config_with(optim__epochs=2, monitor__knn_every=0, **LONG)
    path = tmp_path / "c.pt"
    run(config, dataset, path, Script({5: ["stop"]}))

    def rest(piece: str) -> tuple[dict[str, Any], dict[Any, float]]:
        run(config, dataset, path, Script({5: ["stop"]}))
        state = checkpoints.load(path)
        if piece == "updates":
            state["online_probe"]["updates"] += 1
        elif piece:
            state["online_probe"][piece] += 1.0
        sink = Script()
        run(config, dataset, path, sink, state)
        return checkpoints.load(path)["online_probe"], sink.lines

    state, lines = rest("")
    assert len(state) == 7
    for piece in state:
        other_state, other_lines = rest(piece)
        assert differences(state, other_state) or lines != other_lines, piece


def test_a_checkpoint_without_a_probe_goes_on_with_a_new_one(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"
    off = config_with(optim__epochs=2, monitor__online_probe=False, **LONG)
    run(off, dataset, path, Script({5: ["stop"]}))
    state = checkpoints.load(path)
    assert "online_probe" not in state
    sink = Script()
    on = config_with(optim__epochs=2, **LONG)
    assert run(on, dataset, path, sink, state) == "finished"
    assert checkpoints.load(path)["online_probe"]["updates"] == 9
    # and the other way round
    run(on, dataset, path, Script({5: ["stop"]}))
    assert run(off, dataset, path, Script(), checkpoints.load(path)) == "finished"
    assert "online_probe" not in checkpoints.load(path)


DAMAGES: dict[str, Any] = {
    "weights": torch.zeros(3, 513),
    "sums": None,
    "updates": -1,
    "mean": torch.zeros(512, dtype=torch.float64),
}


@pytest.mark.parametrize("piece", [*DAMAGES, ""])
def test_a_state_that_is_none_of_such_a_probe_is_refused(
    piece: str, dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "c.pt"
    run(config_with(), dataset, path, Script({1: ["stop"]}))
    state = checkpoints.load(path)
    if piece:
        state["online_probe"][piece] = DAMAGES[piece]
    else:
        state["online_probe"] = [1, 2]
    with pytest.raises(RunError, match=rf"The checkpoint is damaged: online_probe\.?{piece} "):
        run(config_with(), dataset, path, Script(), state)


def test_other_labels_are_learned_anew(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    run(config_with(), dataset, path, Script({6: ["stop"]}))
    two = Split(dataset.train.images, dataset.train.labels % 2)
    other = dataclasses.replace(dataset, train=two, class_names=("a", "b"))
    outcome = pretrain(
        config_with(),
        dataset=other,
        runtime=RUNTIME,
        sink=Script(),
        checkpoint=path,
        state=checkpoints.load(path),
        allow_other_data=True,
    )
    assert outcome == "finished"
    state = checkpoints.load(path)["online_probe"]
    assert (len(state["weights"]), state["updates"]) == (2, 6)


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ({"optim__epochs": 9}, True),
        ({"runtime__seed": 1}, False),
        ({"data__holdout": 0.5}, False),
        ({"monitor__online_probe": False}, False),
    ],
)
def test_a_run_that_goes_on_from_anothers_takes_its_probe_where_the_labels_are_withheld_as_before(
    values: dict[str, Any], taken: bool, dataset: Dataset, tmp_path: Path
) -> None:
    run(config_with(), dataset, tmp_path / "c.pt", Script({5: ["stop"]}))
    start = checkpoints.load(tmp_path / "c.pt")
    config = config_with(**values)
    fresh = Pretraining(config, dataset.train.images, RUNTIME)
    made = branched(start, fresh.state_dict(), config)
    fresh.close()
    assert (made.state.get("online_probe") is start["online_probe"]) == taken
    wanted = not taken and config.monitor.online_probe
    assert any("online probe begins anew" in notice for notice in made.notices) == wanted
    sink = Script({6: ["stop"]})
    pretrain(
        config,
        dataset=dataset,
        runtime=RUNTIME,
        sink=sink,
        checkpoint=tmp_path / "d.pt",
        start=start,
    )
    if config.monitor.online_probe:
        updates = checkpoints.load(tmp_path / "d.pt")["online_probe"]["updates"]
        assert updates == (6 if taken else 1)


@pytest.mark.parametrize("labels", ["none", "one of each class"])
def test_without_labels_to_withhold_it_says_so(
    labels: str, dataset: Dataset, tmp_path: Path
) -> None:
    images = dataset.train.images
    bare = Dataset("n", Split(images, torch.full((28,), -1)), None, ())
    if labels != "none":
        names = tuple(f"c{i}" for i in range(28))
        bare = Dataset("n", Split(images, torch.arange(28)), None, names)
    sink = Script({1: ["stop"]})
    run(config_with(), bare, tmp_path / "c.pt", sink)
    assert NO_LABELS in sink.logged
    assert "online_probe" not in checkpoints.load(tmp_path / "c.pt")
    silent = Script({1: ["stop"]})
    run(config_with(monitor__online_probe=False), bare, tmp_path / "d.pt", silent)
    assert silent.logged == []


def test_updates_wait_for_no_device(dataset: Dataset) -> None:
    training, probe = begun(dataset)
    training.advance()
    with NoWaiting() as watch:
        probe.update()
    assert watch.calls > 20
    training.close()
