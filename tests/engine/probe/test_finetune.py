"""Fine-tuning: it starts as the frozen probe, moves only where that helps, and repeats."""

from __future__ import annotations

import copy
import itertools
import math
import sys
import types

import msgspec
import pytest
import torch
from torch import nn

from engine.config import own_code
from engine.config.baselines import SupervisedConfig
from engine.config.heads.finetune import FinetuneConfig
from engine.config.heads.linear import LinearConfig
from engine.config.heads.logistic import LogisticConfig
from engine.config.missing_settings import read_config
from engine.config.resolve import resolve
from engine.config.schema import ModelConfig, ProbeConfig, TaskConfig, head_settings
from engine.data import shapes
from engine.data.dataset import Dataset, Split
from engine.errors import ConfigError, DataError
from engine.evaluate.features import checksum, extract
from engine.evaluate.random_init import calibrate_bn
from engine.evaluate.tasks import prepare_material
from engine.models.encoder import build_encoder
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.library import LEVELS, OFF, library
from engine.probe.finetune import start_of
from engine.probe.finetune_choice import best_length, decision_of
from engine.probe.head import EncoderToTrain
from engine.probe.labelled_features import LabelledFeatures
from engine.probe.logistic_choice import fit_logistic
from engine.probe.probe_run import run_probe
from engine.probe.supervised import SupervisedBaseline, Trial
from engine.probe.supervised_budget import plan_budget, plan_finetuning
from engine.probe.supervised_training import (
    Diverged,
    SupervisedData,
    SupervisedTraining,
    class_scores,
    classifier,
)
from engine.seeds import default_generator
from engine.sink import Interrupted, NullSink

LIBRARY = library()
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
CPU = torch.device("cpu")
MEAN, STD = torch.full((3,), 0.5), torch.full((3,), 0.25)
TINY = ModelConfig(encoder="tiny_backbones:make", dim=4, bn_splits=2)


def make(config: ModelConfig) -> nn.Module:
    """Sixteen features of a few strided convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=4, bias=False),
        SplitBatchNorm2d(8, config.bn_splits),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, bias=False),
        SplitBatchNorm2d(16, config.bn_splits),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


@pytest.fixture(autouse=True)
def tiny_backbones(monkeypatch):
    module = types.ModuleType("tiny_backbones")
    module.make = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiny_backbones", module)
    own_code.name_paths([TINY.encoder])


def an_encoder(images, model=TINY, seed=0):
    with default_generator(seed, CPU):
        encoder = build_encoder(model).eval()
    calibrate_bn(encoder, images, mean=MEAN, std=STD)
    return encoder


def some_shapes(train=300, test=400, seed=1):
    (a, la), (b, lb) = (shapes.generate(n, seed=seed + i) for i, n in enumerate((train, test)))
    return Dataset("shapes", Split(a, la), Split(b, lb), tuple("0123456789"))


def some_config(**changes):
    return ProbeConfig(
        **{
            "head": "finetune",
            "label_fraction": 1.0,
            "baselines": (),
            "task": TaskConfig(name="all"),
            "logistic": LogisticConfig(l2=(0.01, 0.1, 1.0)),
            "supervised": SupervisedConfig(epochs=4, batch_size=32),
            "finetune": FinetuneConfig(lr=(0.005, 0.05)),
            **changes,
        }
    )


def probe(config, encoder, data, model=TINY, **options):
    return run_probe(
        config, dataset=data, pretrained=encoder, model=model, mean=MEAN, std=STD, device=CPU,
        **options,
    )  # fmt: skip


class Recorder(NullSink):
    """Writes down metrics and results; stops at its ``stop_at``-th look for a request."""

    def __init__(self, stop_at=math.inf):
        self.stop_at, self.looks, self.total = stop_at, 0, 0
        self.steps, self.results, self.lines = [], [], []

    def plan(self, plan):
        self.total = plan.total_steps

    def metrics(self, step, epoch, values):
        self.steps.append((step, dict(values)))

    def log(self, text):
        self.lines.append(text)

    def result(self, values):
        self.results.append(copy.deepcopy(dict(values)))

    def request(self):
        self.looks += 1
        return "stop" if self.looks > self.stop_at else None


def timeless(result):
    return {**result, "rows": [{**row, "seconds": 0.0} for row in result["rows"]]}


def figures(row):
    return {name: row[name] for name in ("top1", "balanced", "confusion", "low", "high")}


@pytest.mark.parametrize("encoder_name", ["tiny", "convnet"])
@pytest.mark.parametrize("kernels", [OFF, *AVAILABLE[-1:]])
def test_before_the_first_step_the_net_is_the_frozen_probe(encoder_name, kernels):
    """Its scores are those of standardisation and head in float64; so are the classes."""
    model = TINY if encoder_name == "tiny" else ModelConfig(dim=4)
    data = some_shapes(120, 200)
    train, test = data.train.images, data.test.images
    encoder = an_encoder(train, model)
    options = {"mean": MEAN, "std": STD, "device": CPU, "what": "backbone", "kernels": kernels}
    raw, raw_test = extract(encoder, train, **options), extract(encoder, test, **options)
    labelled = LabelledFeatures(raw)
    everyone = torch.arange(120)
    frozen = fit_logistic(
        labelled.features, data.train.labels, 10, LogisticConfig(l2=(0.01,)),
        fit=everyone, validate=everyone[:0],
    )  # fmt: skip
    images = SupervisedData(
        train, data.train.labels, 10, everyone, everyone[:0], MEAN, STD, kernels
    )
    to_train = EncoderToTrain(encoder, images, model, labelled.standardise, CPU, 0)
    net = classifier(model, 10).eval()
    start_of(to_train, frozen.solution).into(net)
    scores = class_scores(net, test, images, NullSink())
    double = raw.double()
    deviation = double.std(0, correction=0)
    deviation[deviation <= 1e-6 * double.mean(0).abs()] = 1.0
    standardised = (raw_test.double() - double.mean(0)) / deviation
    expected = standardised @ frozen.solution.weight.T + frozen.solution.bias
    torch.testing.assert_close(scores.double(), expected, atol=1e-3, rtol=1e-3)
    # Classes may differ only where two scores are equal up to that rounding.
    two = expected.topk(2).values
    clear = two[:, 0] - two[:, 1] > 2e-3
    assert int(clear.sum()) > 190
    assert torch.equal(scores.argmax(1)[clear], expected.argmax(1)[clear])
    assert not any(getattr(m, "num_splits", 1) > 1 for m in net.modules())


def test_gradients_reach_the_whole_encoder_and_the_first_one_is_left_alone():
    data = some_shapes(64, 10)
    encoder = an_encoder(data.train.images)
    before, everyone = checksum(encoder), torch.arange(64)
    images = SupervisedData(
        data.train.images, data.train.labels, 10, everyone, everyone[:0], MEAN, STD
    )
    labelled = LabelledFeatures(
        extract(encoder, data.train.images, mean=MEAN, std=STD, device=CPU, what="backbone")
    )
    frozen = fit_logistic(
        labelled.features, data.train.labels, 10, LogisticConfig(l2=(0.1,)),
        fit=everyone, validate=everyone[:0],
    )  # fmt: skip
    to_train = EncoderToTrain(encoder, images, TINY, labelled.standardise, CPU, 0)
    start = start_of(to_train, frozen.solution)
    with default_generator(0, CPU):
        training = SupervisedTraining(
            images, TINY, SupervisedConfig(weight_decay=0.0), rows=everyone, lr=0.01, epochs=1,
            batch_size=32, seed=0, sink=NullSink(), start=start,
        )  # fmt: skip
        first = {name: value.clone() for name, value in training.net.named_parameters()}
        for name, value in encoder.backbone.named_parameters():
            assert torch.equal(first[f"0.{name}"], value)
        list(training.train())
    for name, value in training.net.named_parameters():
        assert not torch.equal(first[name], value), name
    assert checksum(encoder) == before


def test_only_the_start_differs_from_the_training_from_scratch(monkeypatch):
    """The same images in the same order and with the same moves, rate by rate."""
    import engine.probe.supervised_training as module

    data = some_shapes(100, 50)
    seen = []
    draw = module.Moves.draw

    def drawn(n, *args, **options):
        moves = draw(n, *args, **options)
        seen.append((n, moves.rows.sum().item(), moves.columns.sum().item()))
        return moves

    monkeypatch.setattr(module.Moves, "draw", staticmethod(drawn))
    encoder = an_encoder(data.train.images)
    config = some_config(finetune=FinetuneConfig(lr=(0.02, 0.1)))
    probe(config, encoder, data)
    tuned = list(seen)
    seen.clear()
    scratch = msgspec.structs.replace(
        config, head="logistic", baselines=("supervised",),
        supervised=SupervisedConfig(epochs=4, batch_size=32, lr=(0.02, 0.1)),
    )  # fmt: skip
    probe(scratch, encoder, data)
    assert len(tuned) >= 2 * 2  # the trials at least: two rates, an epoch of two batches each
    assert tuned[:4] == seen[:4]


def test_with_the_learning_rate_0_it_is_the_frozen_probe():
    data = some_shapes(150, 200)
    encoder = an_encoder(data.train.images)
    before = checksum(encoder)
    config = some_config(finetune=FinetuneConfig(lr=(0.0,)))
    tuned = probe(config, encoder, data)["rows"][0]
    frozen = probe(some_config(head="logistic"), encoder, data)["rows"][0]
    assert figures(tuned) == figures(frozen)
    assert tuned["chosen"]["lr"] == 0.0
    assert tuned["chosen"]["tuning"]["epochs"] == 0
    assert "not fine-tuned" in tuned["protocol"]
    assert checksum(encoder) == before


def colours(n, seed):
    """Images of two classes: redder or greener than grey, equally bright."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = torch.randint(60, 180, (n, 1, 32, 32), generator=g).expand(n, 3, 32, 32).clone()
    shift = (20 * (2 * labels - 1)).view(-1, 1, 1)
    images[:, 0] += shift
    images[:, 1] -= shift
    return Split(images.to(torch.uint8), labels)


def test_it_learns_what_the_frozen_features_lack():
    """The encoder sees the sum of the channels alone, and the classes differ in colour."""
    data = Dataset("colours", colours(240, 0), colours(200, 1), ("red", "green"))
    encoder = an_encoder(data.train.images)
    with torch.no_grad():
        first = encoder.backbone[0].weight
        first.copy_(first.mean(1, keepdim=True).expand_as(first))
    calibrate_bn(encoder, data.train.images, mean=MEAN, std=STD)
    before = checksum(encoder)
    config = some_config(
        supervised=SupervisedConfig(epochs=40, batch_size=32),
        finetune=FinetuneConfig(lr=(0.1, 0.3)),
    )
    sink = Recorder()
    result = probe(config, encoder, data, sink=sink)
    (row,) = result["rows"]
    frozen = probe(some_config(head="logistic"), encoder, data)["rows"][0]
    assert frozen["top1"] < 65.0
    assert row["top1"] > 95.0
    assert row["chosen"]["lr"] in (0.1, 0.3)
    decision, still = row["chosen"]["decision"], row["chosen"]["candidates"][0]
    assert still["lr"] == 0.0
    assert decision["lr"] == row["chosen"]["lr"]
    assert decision["gain"] == pytest.approx(decision["top1"] - still["top1"])
    assert decision["gain"] > decision["error"] > 0.0
    assert checksum(encoder) == before
    assert "BatchNorm over the whole batch" in row["protocol"]
    assert f"{row['chosen']['lr']:g} for the backbone, 0.02 for the" in row["protocol"]
    assert "rate chosen from 2 by trainings of 10 epochs" in row["protocol"]
    assert "the length from 0, 10 or 40 epochs (0: the frozen encoder)" in row["protocol"]
    assert [length["epochs"] for length in decision["lengths"]] == [0, 10, 40]
    assert decision["top1"] == max(length["top1"] for length in decision["lengths"])
    assert decision["epochs"] == row["chosen"]["tuning"]["epochs"] == 40
    assert row["chosen"]["head_lr"] == 0.02
    assert result["protocol"].startswith("The whole encoder, fine-tuned on the 240 labelled images")
    assert "Frozen features" not in result["protocol"]
    assert msgspec.json.decode(msgspec.json.encode(result)) == result
    # Each epoch of two short trials, a long one and the last training; the frozen head, the test.
    numbers = [step for step, _ in sink.steps]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == sink.total == 2 * 10 + 40 + 40 + 2
    losses = [v["probe/pretrained/loss"] for _, v in sink.steps if "probe/pretrained/loss" in v]
    assert len(losses) == 40
    assert losses[-1] < losses[0]


def test_with_few_labels_it_does_not_lose_what_the_frozen_features_have():
    """Whatever the rates: the largest would destroy them."""
    data = some_shapes(400, 500)
    encoder = an_encoder(data.train.images)
    config = some_config(
        label_fraction=0.25,
        supervised=SupervisedConfig(epochs=8, batch_size=16),
        finetune=FinetuneConfig(lr=(0.001, 0.02, 1.0)),
    )
    gains = []
    for subset in range(4):
        at = msgspec.structs.replace(config, subset_seed=subset)
        tuned, frozen = (
            probe(msgspec.structs.replace(at, head=head), encoder, data)["rows"][0]["top1"]
            for head in ("finetune", "logistic")
        )
        gains.append(tuned - frozen)
    # Twenty held-out images decide; five points are two standard errors of 500 test images at 25 %.
    assert sum(gains) / 4 > -5.0, gains


def test_an_interrupted_fine_tuning_ends_in_the_same_bits():
    data = some_shapes(100, 100)
    encoder = an_encoder(data.train.images)
    config = some_config(baselines=("random-init", "supervised"))
    whole = Recorder()
    expected = probe(config, encoder, data, sink=whole)
    for share in (0.1, 0.5, 0.9):
        torch.manual_seed(int(100 * share))  # what the process drew before must not matter
        first = Recorder(stop_at=int(share * whole.looks))
        with pytest.raises(Interrupted):
            probe(config, encoder, data, sink=first)
        done = first.results[-1] if first.results else None
        got = probe(config, encoder, data, done=done)
        assert timeless(got) == timeless(expected)
    top1 = {row["source"]: row["top1"] for row in expected["rows"]}
    for row in expected["rows"]:
        assert "right" not in row
        if row["source"] != "supervised":
            gain = row["over_scratch"]
            assert gain["gain"] == pytest.approx(top1[row["source"]] - top1["supervised"])
            assert gain["low"] < gain["gain"] < gain["high"]


def test_a_stop_is_asked_for_at_every_step(monkeypatch):
    data = some_shapes(100, 20)
    encoder = an_encoder(data.train.images)
    looks = []
    advance = SupervisedTraining._advance
    sink = Recorder()

    def counted(self, batch):
        looks.append(sink.looks)
        return advance(self, batch)

    monkeypatch.setattr(SupervisedTraining, "_advance", counted)
    probe(some_config(), encoder, data, sink=sink)
    assert len(looks) >= 4
    assert all(after > before for before, after in itertools.pairwise(looks))


def test_a_rate_that_diverges_is_skipped_and_named(monkeypatch):
    data = some_shapes(100, 50)
    encoder = an_encoder(data.train.images)
    epoch = SupervisedTraining._epoch

    def diverging(self):
        if self.lr == 0.05:
            raise Diverged
        return epoch(self)

    monkeypatch.setattr(SupervisedTraining, "_epoch", diverging)
    sink = Recorder()
    (row,) = probe(some_config(), encoder, data, sink=sink)["rows"]
    assert {"lr": 0.05, "diverged": True} in row["chosen"]["candidates"]
    assert row["chosen"]["lr"] != 0.05
    assert "fine-tuning: it diverged with the learning rate 0.05" in sink.lines
    # And where all do, the frozen encoder is left: no failure.
    monkeypatch.setattr(SupervisedTraining, "_epoch", lambda self: (_ for _ in ()).throw(Diverged))
    (row,) = probe(some_config(), encoder, data)["rows"]
    frozen = probe(some_config(head="logistic"), encoder, data)["rows"][0]
    assert figures(row) == figures(frozen)


def test_a_rate_that_diverges_at_full_length_gives_way_to_the_frozen_encoder(monkeypatch):
    data = Dataset("colours", colours(240, 0), colours(50, 1), ("red", "green"))
    encoder = an_encoder(data.train.images)
    with torch.no_grad():
        first = encoder.backbone[0].weight
        first.copy_(first.mean(1, keepdim=True).expand_as(first))
    calibrate_bn(encoder, data.train.images, mean=MEAN, std=STD)
    epoch = SupervisedTraining._epoch

    def diverging(self):
        if self.epochs == 40:
            raise Diverged
        return epoch(self)

    monkeypatch.setattr(SupervisedTraining, "_epoch", diverging)
    twin = SupervisedConfig(epochs=40, batch_size=32)
    whole = FinetuneConfig(lr=(0.1,), choose_length=False)
    (row,) = probe(some_config(supervised=twin, finetune=whole), encoder, data)["rows"]
    assert row["chosen"]["candidates"] == [row["chosen"]["candidates"][0]]
    assert row["chosen"]["lr"] == 0.0
    assert "it diverged with every learning rate" in row["protocol"]
    # The trial of a quarter did not diverge, and it is better than the frozen encoder.
    both = FinetuneConfig(lr=(0.1,))
    (row,) = probe(some_config(supervised=twin, finetune=both), encoder, data)["rows"]
    assert [c["epochs"] for c in row["chosen"]["decision"]["lengths"]] == [0, 10]
    assert row["chosen"]["tuning"]["epochs"] == 10


@pytest.mark.parametrize("head", ["finetune", "logistic", "linear"])
@pytest.mark.parametrize(("share", "labels"), [(0.05, 1), (0.2, 4), (0.25, 5)])
def test_under_five_labels_a_class_nothing_is_tuned_and_every_row_says_so(head, share, labels):
    data = some_shapes(200, 60)
    encoder = an_encoder(data.train.images)
    config = some_config(
        head=head,
        label_fraction=share,
        baselines=("random-init", "supervised"),
        linear=LinearConfig(epochs=2, views=1, lr=(0.01, 0.1, 1.0)),
    )
    result = probe(config, encoder, data)
    assert result["labels"] == 10 * labels
    few = labels < 5
    assert ("not tuned: under 5 labels in a class" in result["protocol"]) == few
    noun = "label" if labels == 1 else "labels"
    for row in result["rows"]:
        assert 0.0 <= row["top1"] <= 100.0
        assert (row["chosen"]["candidates"] == []) == few
        why = f"the smallest class has {labels} {noun} and that begins at 5"
        assert (why in row["protocol"]) == few
    scratch = result["rows"][-1]
    assert ("learning rate not tuned, 0.1;" in scratch["protocol"]) == few
    if few:
        assert scratch["chosen"]["lr"] == 0.1
        fixed = {
            "finetune": {"lr": 0.004, "l2": 0.1},
            "logistic": {"l2": 0.1},
            "linear": {"lr": 0.1},
        }
        for row in result["rows"][:-1]:
            assert {name: row["chosen"][name] for name in fixed[head]} == fixed[head]


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_under_five_labels_a_class_the_encoder_is_trained_from_the_frozen_probe(share, monkeypatch):
    """One training, as long as the twin's, with fixed rates: no trial and no frozen encoder."""
    data = some_shapes(200, 200)
    encoder = an_encoder(data.train.images)
    before, made = checksum(encoder), []
    train = SupervisedTraining.train

    def seen(self):
        rates = [group["lr"] for group in self.optimizer.param_groups]
        weight = {name: value.clone() for name, value in self.net.state_dict().items()}
        yield from train(self)
        moved = {
            name for name, value in self.net.state_dict().items() if (value != weight[name]).any()
        }
        made.append((rates, self.epochs, len(self.rows), weight["1.bias"], moved))

    monkeypatch.setattr(SupervisedTraining, "train", seen)
    config = some_config(label_fraction=share, finetune=FinetuneConfig(fixed_lr=0.01))
    sink = Recorder()
    (row,) = probe(config, encoder, data, sink=sink)["rows"]
    ((rates, epochs, rows, bias, moved),) = made
    assert (rates, epochs, rows) == ([0.01, 0.02], 4, int(200 * share))
    assert bias.abs().max() > 0.0  # a fitted head, and no new one
    assert {"0.0.weight", "0.3.weight", "1.weight", "1.bias"} <= moved
    assert checksum(encoder) == before
    assert row["chosen"]["tuning"]["epochs"] == 4
    assert row["chosen"]["decision"] == {}
    assert "not fine-tuned" not in row["protocol"]
    assert "0.01 for the backbone, 0.02 for the classifier" in row["protocol"]
    assert sink.steps[-1][0] == sink.total == 4 + 1 + 1  # epochs, the frozen head, the test


def test_a_fixed_rate_that_diverges_leaves_the_frozen_probe_and_says_so(monkeypatch):
    data = some_shapes(200, 60)
    encoder = an_encoder(data.train.images)
    monkeypatch.setattr(SupervisedTraining, "_epoch", lambda self: (_ for _ in ()).throw(Diverged))
    (row,) = probe(some_config(label_fraction=0.2), encoder, data)["rows"]
    frozen = probe(some_config(label_fraction=0.2, head="logistic"), encoder, data)["rows"][0]
    assert figures(row) == figures(frozen)
    assert "it diverged with the fixed learning rate 0.004" in row["protocol"]


def test_a_probe_of_an_earlier_version_goes_on_as_it_began():
    """What its record lacks reads as what it did: one rate, one length, frozen at one label."""
    flat = msgspec.to_builtins(some_config(label_fraction=0.05))
    for name in ("head_lr", "fixed_lr", "choose_length"):
        del flat["finetune"][name]
    del flat["tune_from"]
    config = read_config("probe", flat, "The record")
    assert isinstance(config, ProbeConfig)
    own = head_settings(config, "finetune")
    assert isinstance(own, FinetuneConfig)
    assert (config.tune_from, own.head_lr, own.fixed_lr, own.choose_length) == (2, 0.0, 0.0, False)
    data = some_shapes(200, 60)
    encoder = an_encoder(data.train.images)
    (row,) = probe(config, encoder, data)["rows"]
    (frozen,) = probe(some_config(label_fraction=0.05, head="logistic"), encoder, data)["rows"]
    assert figures(row) == figures(frozen)
    two = msgspec.structs.replace(config, label_fraction=0.1)
    (row,) = probe(two, encoder, data)["rows"]
    assert [c["lr"] for c in row["chosen"]["candidates"]] == [0.0, 0.005, 0.05]
    assert [length["epochs"] for length in row["chosen"]["decision"]["lengths"]] == [0, 4]


def test_backbone_and_classifier_fall_along_one_cosine_from_rates_of_their_own(monkeypatch):
    data = some_shapes(64, 10)
    everyone = torch.arange(64)
    images = SupervisedData(
        data.train.images, data.train.labels, 10, everyone, everyone[:0], MEAN, STD
    )
    with default_generator(0, CPU):
        training = SupervisedTraining(
            images, TINY, SupervisedConfig(weight_decay=0.0), rows=everyone, lr=0.0, epochs=2,
            batch_size=16, seed=0, sink=NullSink(), head_lr=0.1,
        )  # fmt: skip
    first = {name: value.clone() for name, value in training.net.named_parameters()}
    rates = []
    step = training.optimizer.step

    def stepped():
        rates.append([group["lr"] for group in training.optimizer.param_groups])
        return step()

    monkeypatch.setattr(training.optimizer, "step", stepped)
    list(training.train())
    expected = [0.1 * 0.5 * (1.0 + math.cos(math.pi * i / 8)) for i in range(8)]
    assert [head for _, head in rates] == pytest.approx(expected)
    assert [backbone for backbone, _ in rates] == [0.0] * 8
    for name, value in training.net.named_parameters():
        assert torch.equal(first[name], value) == name.startswith("0."), name


def test_the_length_of_the_best_trial_is_that_of_the_training_on_everything():
    """Of equal accuracy and loss the shortest; each figure is that of a trial of its length."""
    right = torch.zeros(10, dtype=torch.bool)
    better = right.clone()
    better[:3] = True

    def trial(loss, which):
        return Trial(0.01, loss, which)

    still, worse = trial(1.0, right), trial(2.0, right)
    assert best_length({0: still, 5: trial(3.0, better), 20: worse}) == 5
    assert best_length({0: still, 5: worse, 20: trial(0.5, right)}) == 20
    assert best_length({0: still, 5: trial(1.0, right), 20: trial(1.0, right)}) == 0
    decision = decision_of({0: still, 5: trial(3.0, better), 20: worse})
    assert (decision["epochs"], decision["gain"]) == (5, pytest.approx(30.0))
    # Three gained, none lost, of ten.
    assert decision["error"] == pytest.approx(100 * math.sqrt(3 - 9 / 10) / 10)
    lost = decision_of({0: trial(1.0, better), 5: still, 20: worse})
    assert (lost["epochs"], lost["gain"]) == (20, pytest.approx(-30.0))


def test_a_quarter_of_the_length_is_trained_where_that_was_better(monkeypatch):
    data = some_shapes(100, 60)
    encoder = an_encoder(data.train.images)
    validate = SupervisedBaseline.validate

    def judged(self, net, lr):
        trial = validate(self, net, lr)
        # The longer trial is the one that reports under its own name: it is made last.
        best = torch.ones_like(trial.right)
        lengths.append(len(lengths))
        if len(lengths) > 2:  # two rates of one epoch each, then the whole length
            best[0] = False
        return Trial(lr, trial.loss, best)

    lengths: list[int] = []
    monkeypatch.setattr(SupervisedBaseline, "validate", judged)
    sink = Recorder()
    (row,) = probe(some_config(), encoder, data, sink=sink)["rows"]
    tuning, decision = row["chosen"]["tuning"], row["chosen"]["decision"]
    assert (decision["epochs"], tuning["epochs"], tuning["planned_epochs"]) == (1, 1, 1)
    assert tuning["images"] == 100
    assert "cut by" not in row["protocol"]
    losses = [v for _, v in sink.steps if "probe/pretrained/loss" in v]
    assert len(losses) == 1
    lengths.clear()
    whole = some_config(finetune=FinetuneConfig(lr=(0.005, 0.05), choose_length=False))
    (row,) = probe(whole, encoder, data)["rows"]
    assert row["chosen"]["tuning"]["epochs"] == 4
    assert [c["epochs"] for c in row["chosen"]["decision"]["lengths"]] == [0, 4]


def test_an_amount_below_one_label_a_class_is_one_sentence():
    with pytest.raises(DataError, match=r"without a label; it must be at least 0\.025\.$"):
        prepare_material(some_config(label_fraction=0.01), some_shapes(200, 20))


def test_pixels_have_nothing_to_train():
    data = some_shapes(40, 20)
    encoder = an_encoder(data.train.images)
    options = {"baselines": ("pixels",)}
    tuned = probe(some_config(**options), encoder, data)["rows"][1]
    frozen = probe(some_config(head="logistic", **options), encoder, data)["rows"][1]
    assert figures(tuned) == figures(frozen)
    assert "no encoder to train" in tuned["protocol"]


def test_kernels_in_c_give_a_fine_tuning_as_good():
    if not AVAILABLE:
        pytest.skip("the kernels are not built")
    data = some_shapes(60, 20)
    model = ModelConfig(dim=4, dropout=0.0, bn_splits=1)
    encoder = an_encoder(data.train.images, model)
    config = some_config(
        supervised=SupervisedConfig(epochs=4, batch_size=16), finetune=FinetuneConfig(lr=(0.005,))
    )
    rows = [
        probe(config, encoder, data, model, kernels=level)["rows"][0]
        for level in (OFF, AVAILABLE[-1])
    ]
    plain, fast = (row["chosen"]["decision"] for row in rows)
    assert fast["loss"] == pytest.approx(plain["loss"], rel=0.05)


def test_the_budget_is_that_of_the_training_from_scratch_and_a_whole_trial():
    config = SupervisedConfig(epochs=100, batch_size=64)
    three = FinetuneConfig(lr=(0.0, 0.01, 0.02, 0.03))
    twin = plan_budget(config, 1000, 800, 200)
    ours = plan_finetuning(config, three, 1000, 800, 200)
    shared = ("epochs", "planned_epochs", "selection_epochs", "batch_size", "images")
    assert [getattr(ours, name) for name in shared] == [getattr(twin, name) for name in shared]
    assert (ours.rates, ours.selection_images, ours.check_images) == (3, 3 * 25 * 800, 100 * 800)
    assert ours.reports == 100 + 100 + 3 * 25
    one = FinetuneConfig(lr=(0.01,), choose_length=False)
    assert plan_finetuning(config, one, 1000, 800, 200).reports == 200
    one = FinetuneConfig(lr=(0.01,))
    assert plan_finetuning(config, one, 1000, 800, 200).reports == 225
    fixed = plan_finetuning(config, three, 1000, 1000, 0)
    assert (fixed.reports, fixed.all_images, fixed.rates) == (100, 100_000, 1)
    for rates, validate in (
        (FinetuneConfig(lr=(0.0,)), 200),
        (FinetuneConfig(lr=(0.0,)), 0),
        (FinetuneConfig(fixed_lr=0.0), 0),
    ):
        nothing = plan_finetuning(config, rates, 1000, 1000 - validate, validate)
        assert (nothing.reports, nothing.all_images) == (0, 0)


@pytest.mark.parametrize("value", ["-0.1", "[]", "fast", "nan"])
def test_bad_rates_are_one_sentence(value):
    with pytest.raises(ConfigError) as caught:
        resolve(ProbeConfig, sets=[f"finetune.lr={value}"])
    assert "\n" not in str(caught.value)
    assert "finetune.lr" in str(caught.value)
