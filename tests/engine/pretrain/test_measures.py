"""What a pretraining measures of itself: right values, at the right steps, without any trace."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config.metrics import MEASURES, registered
from engine.data.dataset import Dataset
from engine.errors import DamagedFileError
from engine.models.dropout import Dropout
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain import measures, pretraining
from engine.pretrain.measures import Measures, measure_due
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining

from ..no_waiting import NoWaiting
from ..tiny import RUNTIME, Script, Standin, config_with, noise, run
from ..trees import differences


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


def trained(
    dataset: Dataset, steps: int, total: int = 100, **values: Any
) -> tuple[Pretraining, Measures]:
    training = Pretraining(config_with(**values), dataset.train.images, RUNTIME)
    measures = Measures(training.state, total)
    for _ in range(steps):
        training.advance()
    return training, measures


def state_of(training: Pretraining) -> dict[str, Any]:
    return copy.deepcopy(training.state_dict())


WAYS: dict[str, dict[str, Any]] = {
    "groups": {},
    "whole batch": {"model__bn_splits": 1, "moco__symmetric": False},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("recorded", [False, True])
def test_measuring_changes_no_bit(
    way: str, recorded: bool, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, queue, statistics and generators after steps with and without measures between."""
    if recorded:
        monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
    runtime = dataclasses.replace(RUNTIME, threads=2)
    states = []
    for measured in (False, True):
        config = config_with(monitor__measures=measured, monitor__measure_every=1, **WAYS[way])
        training = Pretraining(config, dataset.train.images, runtime)
        training.prepare()
        measures = Measures(training.state, 100)
        for _ in range(4):
            training.advance()
            if measured:
                measures.after_step()
        assert len(measures.read(wait=True)) >= (2 if measured else 0)
        states.append(state_of(training))
        training.close()
    assert differences(states[0], states[1]) == []


def flat(encoder: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in encoder.parameters()])


def expected(training: Pretraining, measures: Measures) -> dict[str, float]:
    """The measures by other means: encoders in float32, one group at a time, plain loops."""
    model, mean, std = training.state.model, training.state.mean, training.state.std
    (view_1, view_2), order = measures._sample(training.state.step)
    groups = training.state.config.model.bn_splits
    assert view_1.shape == view_2.shape == (8, 3, 32, 32)
    assert sorted(order.tolist()) == list(range(8))
    # Of training images, normalised: the augmentations of a test of their own.
    back = view_1 * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    assert -1e-3 < float(back.min()) < float(back.max()) < 1.001

    def embed(encoder: nn.Module, images: Tensor) -> Tensor:
        one = copy.deepcopy(encoder).double()
        for module in one.modules():
            if isinstance(module, SplitBatchNorm2d):
                module.num_splits = 1
            if isinstance(module, Dropout):
                module.p = 0.0
        with torch.no_grad():
            return F.normalize(one(images.double()), dim=1)

    q = torch.empty(8, 8, dtype=torch.float64)
    k = torch.empty(8, 8, dtype=torch.float64)
    for group in range(groups):
        q[group::groups] = embed(model.encoder_q, view_1[group::groups])
        k[order[group::groups]] = embed(model.encoder_k, view_2[order[group::groups]])
    positive = [float(a @ b) for a, b in zip(q, k, strict=True)]
    negative = [[float(a @ b) for b in model.queue.double()] for a in q]
    worse = [sum(n >= p for n in row) for p, row in zip(positive, negative, strict=True)]
    values = torch.linalg.svdvals(q)
    p = values / values.sum() + 1e-7
    pairs = [math.exp(-2 * float((q[i] - q[j]).square().sum())) for i in range(8) for j in range(i)]
    first = view_2[order[::groups]]
    as_key, as_query = embed(model.encoder_k, first), embed(model.encoder_q, first)
    weights = [flat(encoder).double() for encoder in (model.encoder_q, model.encoder_k)]
    spread = q.std(0, correction=0) * math.sqrt(8)
    return {
        "contrast/positive": sum(positive) / 8,
        "contrast/negative": sum(map(sum, negative)) / 8 / 20,
        "contrast/gap": sum(positive) / 8 - sum(map(sum, negative)) / 8 / 20,
        "contrast/hardest": sum(map(max, negative)) / 8,
        "contrast/top1": 100 * sum(w < 1 for w in worse) / 8,
        "contrast/top5": 100 * sum(w < 5 for w in worse) / 8,
        "encoders/distance": float((weights[0] - weights[1]).norm() / weights[0].norm()),
        "encoders/agreement": float((as_key * as_query).sum(1).mean()),
        "embedding/spread": float(spread.mean()),
        "embedding/dead": float((spread < 0.01).sum()),
        "embedding/alignment": sum(2 - 2 * p for p in positive) / 8,
        "embedding/uniformity": math.log(sum(pairs) / len(pairs)),
        "embedding/rank": math.exp(-float((p * p.log()).sum())),
    }


@pytest.mark.parametrize("shuffled", [True, False])
def test_measures_are_those_of_an_independent_computation(shuffled: bool, dataset: Dataset) -> None:
    training, measures = trained(
        dataset, 5, model__dropout=0.0, moco__shuffle_keys=shuffled, moco__momentum=0.5
    )
    wanted = expected(training, measures)
    measures.measure()
    (found,) = measures.read()
    training.close()
    assert found.step == 5
    assert set(found.values) == set(MEASURES) - {"queue/agreement"}
    for name, value in wanted.items():
        assert found.values[name] == pytest.approx(value, rel=2e-3, abs=2e-5), name
    assert 0.0 < wanted["encoders/distance"] < 1.0  # or these encoders say nothing
    assert found.values["queue/filled"] == 1.0  # 5 steps of 16 keys, and 20 places


def test_the_norm_is_that_of_the_gradient_in_every_way_of_a_step(dataset: Dataset) -> None:
    training, _ = trained(dataset, 1, optim__weight_decay=0.0, optim__sgd_momentum=0.0)
    plain = Pretraining(training.state.config, dataset.train.images, RUNTIME)
    plain.close()
    plain.compute_step = PlainStep(plain.state)
    for each in (training, plain):
        before = flat(each.state.model.encoder_q).clone()
        each.advance()
        after = flat(each.state.model.encoder_q)
        # Without decay and momentum a step is the gradient times the rate.
        moved = float((after - before).norm()) / each.state.config.optim.lr
        assert each.state.gradient_norm is not None
        assert float(each.state.gradient_norm) == pytest.approx(moved, rel=1e-3)
        assert moved > 0.01
    training.close()


def test_dropout_is_that_of_the_queries_alone(dataset: Dataset) -> None:
    """Without it the cosine of positives is another one; keys never drop units."""
    found = []
    for dropout in (0.0, 0.8):
        training, measures = trained(dataset, 0, model__dropout=dropout)
        measures.measure()
        found.append(measures.read()[0].values)
        training.close()
    assert found[0]["contrast/positive"] > found[1]["contrast/positive"] + 0.01
    # both encoders begin with the same weights, and this one compares them without dropout
    assert found[0]["encoders/agreement"] == pytest.approx(1.0, abs=1e-5)
    assert found[1]["encoders/agreement"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("momentum", "least", "most"), [(1.0, 0.99999, 1.00001), (0.0, -1, 0.999)])
def test_keys_agree_with_later_ones_as_far_as_their_encoder_stands_still(
    momentum: float, least: float, most: float, dataset: Dataset
) -> None:
    training, measures = trained(
        dataset, 0, moco__momentum=momentum, moco__queue_size=48, optim__lr=0.5
    )
    assert measures.queue_age == 3.0
    measures.measure()
    kept = measures._snapshot
    assert kept is not None
    old = copy.deepcopy(training.state.model.encoder_k)
    agreements = {}
    for step in range(1, 6):
        training.advance()
        measures.after_step()
        for measured in measures.read():
            if "queue/agreement" in measured.values:
                agreements[measured.step] = measured.values["queue/agreement"]
        if step == 3:
            now = copy.deepcopy(training.state.model.encoder_k)
    training.close()
    assert list(agreements) == [3]  # as old as the oldest key of the queue
    assert least <= agreements[3] <= most
    embedded = []
    for encoder in (old, now):
        for module in encoder.modules():
            if isinstance(module, SplitBatchNorm2d):
                module.num_splits = 1
        with torch.no_grad():
            embedded.append(F.normalize(encoder(kept.views), dim=1))
    wanted = float((embedded[0] * embedded[1]).sum(1).mean())
    assert agreements[3] == pytest.approx(wanted, abs=1e-4)


def test_measures_are_due_at_ends_of_epochs_and_within_long_ones() -> None:
    def due(steps_per_epoch: int, every: int, total: int) -> list[int]:
        return [s for s in range(total + 1) if measure_due(s, steps_per_epoch, every, total)]

    assert due(97, 100, 300) == [97, 194, 291, 300]
    assert due(10, 25, 100) == [20, 40, 60, 80, 100]  # every second epoch; 2.5 is rounded to even
    assert due(250, 100, 500) == [100, 200, 250, 350, 450, 500]
    assert due(130, 100, 260) == [130, 260]  # not 30 steps before an end
    assert due(1, 1, 3) == [1, 2, 3]


def test_a_setting_left_open_measures_as_often_as_suits_the_device(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "USUAL_EVERY", {"cpu": 3, "cuda": 1})
    steps = []
    for every in (0, 3, 2):
        sink = Script()
        config = config_with(monitor__measure_every=every)
        assert run(config, dataset, tmp_path / f"{every}.pt", sink) == "finished"
        steps.append({step for step, name in sink.lines if name == "contrast/top1"})
    assert steps[0] == steps[1] != steps[2]


def test_a_resumed_run_measures_the_same(dataset: Dataset, tmp_path: Path) -> None:
    config = config_with(monitor__measure_every=3)
    whole = Script()
    assert run(config, dataset, tmp_path / "whole.pt", whole) == "finished"
    first = Script({3: ["stop"]})
    assert run(config, dataset, tmp_path / "c.pt", first) == "stopped"
    second = Script()
    run(config, dataset, tmp_path / "c.pt", second, checkpoints.load(tmp_path / "c.pt"))
    both = first.lines | second.lines
    measured = {key: value for key, value in whole.lines.items() if key[1] in MEASURES}
    assert {step for step, name in measured if name != "queue/agreement"} == {3, 6, 9, 12}
    assert {key: value for key, value in both.items() if key[1] in MEASURES} == measured
    # That of the sample at the stop is among them: a key leaves this queue after a step.
    assert (4, "queue/agreement") in second.lines


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda found: found.pop("keys"), "measures.keys is missing"),
        (lambda found: found.update(keys=found["keys"][:-1]), "measures.keys is"),
        (lambda found: found.update(step=10**6), "measures.step"),
        (lambda found: found.update(step=-1), "measures.step"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(
    dataset: Dataset, damage: Callable[[dict[str, Any]], object], words: str
) -> None:
    training, measures = trained(dataset, 3)
    measures.measure()
    state = measures.state_dict()
    damage(state)
    with pytest.raises(DamagedFileError, match=words):
        Measures(training.state, 12).load_state_dict(state)


def test_without_measures_nothing_is_measured(dataset: Dataset, tmp_path: Path) -> None:
    sink = Script()
    run(config_with(monitor__measures=False), dataset, tmp_path / "c.pt", sink)
    assert not {name for _, name in sink.lines} & set(MEASURES)


def test_measuring_waits_for_no_device(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
    training, measures = trained(dataset, 1)
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(measures, "_send", lambda *given: sent.append(given))
    with NoWaiting() as watch:
        measures.measure()
        monkeypatch.setattr(measures, "queue_age", 0.0)
        training.state.step += 1
        measures._follow()
    assert watch.calls > 100
    assert len(sent) == 2


def test_every_measure_is_registered() -> None:
    for name in MEASURES:
        entry = registered(name)
        assert entry is not None
        assert entry.title
