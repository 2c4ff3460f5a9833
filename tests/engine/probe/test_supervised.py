import math

import pytest
import torch

from engine.config.baselines import SupervisedConfig
from engine.config.schema import ModelConfig
from engine.errors import TrainingError
from engine.probe.supervised import SupervisedBaseline, fit_supervised
from engine.probe.supervised_budget import plan_budget
from engine.probe.supervised_training import Diverged, SupervisedData, SupervisedTraining
from engine.sink import Interrupted, NullSink

CPU = torch.device("cpu")
MEAN, STD = torch.full((3,), 0.5), torch.full((3,), 0.25)


def some_images(n, seed=0, size=32):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=g, dtype=torch.uint8)


def bright_and_dark(n=48, seed=0):
    """Two classes that a net learns in a few steps."""
    targets = torch.arange(n) % 2
    images = some_images(n, seed) // 4 + (targets * 180).to(torch.uint8).view(-1, 1, 1, 1)
    return images, targets


def some_data(images, targets, fit=None, validate=None):
    n = len(images)
    fit = torch.arange(0, n - 12) if fit is None else fit
    validate = torch.arange(n - 12, n) if validate is None else validate
    return SupervisedData(images, targets, 2, fit, validate, MEAN, STD)


def fitted(images, targets, config, model=None, seed=0, **options):
    data = options.pop("data", None) or some_data(images, targets)
    model = model or ModelConfig()
    return fit_supervised(data, model, config, device=CPU, seed=seed, **options)


def test_it_learns_and_reports_every_epoch():
    images, targets = bright_and_dark()
    heard: list[dict[str, float]] = []
    config = SupervisedConfig(epochs=8, batch_size=12, lr=(0.02, 1e-9))
    got = fitted(images, targets, config, report=heard.append)
    fresh, truth = bright_and_dark(seed=9)
    assert torch.equal(got.predict(fresh), truth)
    assert got.lr == 0.02
    assert [c["lr"] for c in got.candidates] == [1e-9, 0.02]
    assert got.candidates[1]["top1"] == 100.0
    assert len(heard) == got.budget.reports == 12
    for lr, trial in (("1e-09", heard[:2]), ("0.02", heard[2:4])):
        names = {f"lr_{lr}/selection_loss", f"lr_{lr}/validation_top1"}
        assert [set(h) for h in trial] == [names] * 2
    assert [set(h) for h in heard[4:]] == [{"loss"}] * 8
    assert heard[-1]["loss"] < heard[4]["loss"]
    assert got.convergence is None
    assert "not known: too few labels" in got.training["protocol"]


def test_a_trial_is_judged_at_eight_places_and_its_end_does_not_depend_on_them(monkeypatch):
    images, targets = bright_and_dark(24)
    config = SupervisedConfig(epochs=36, batch_size=12)
    data = some_data(images, targets)
    ends, curves = [], []
    for looks in (8, 9):  # 9: after each of the epochs of a trial
        heard: list[dict[str, float]] = []
        monkeypatch.setattr("engine.probe.supervised.LOOKS", looks)
        budget = plan_budget(config, 24, 12, 12)
        assert budget.selection_epochs == 9
        end = SupervisedBaseline(
            data, ModelConfig(), config, budget, 0, report=heard.append
        ).try_rate(0.02)
        assert end is not None
        ends.append((end.loss, end.right.tolist()))
        curves.append(heard)
    assert ends[0] == ends[1]
    assert len(curves[0]) == len(curves[1]) == 9
    assert sum("lr_0.02/validation_top1" in values for values in curves[0]) == 8
    for seldom, often in zip(*curves, strict=True):
        assert often | seldom == often


def test_twice_the_epochs_are_compared_on_the_held_out_images():
    """With the rate that won; what it is compared with is the trial that chose the rate."""
    images, targets = bright_and_dark(220)
    heard: list[dict[str, float]] = []
    config = SupervisedConfig(epochs=4, batch_size=20, lr=(0.02, 1e-9))
    data = some_data(images, targets, torch.arange(120), torch.arange(120, 220))
    got = fitted(images, targets, config, data=data, report=heard.append)
    assert [set(h) for h in heard] == [
        {"lr_1e-09/selection_loss", "lr_1e-09/validation_top1"},  # two rates, one epoch each
        {"lr_0.02/selection_loss", "lr_0.02/validation_top1"},
        *[{"check_loss", "check_top1"}] * 2,
        *[{"loss"}] * 4,
    ]
    short, long = heard[1]["lr_0.02/validation_top1"], heard[3]["check_top1"]
    convergence = got.convergence
    assert convergence is not None
    assert (convergence.epochs, convergence.images) == ((1, 2), 100)
    assert convergence.top1 == pytest.approx((short, long))
    assert convergence.gain == pytest.approx(long - short)
    assert convergence.majority == 50.0
    # Not more than that, of trainings of one and two epochs.
    assert got.training["convergence"]["converged"] in (None, False)
    assert got.training["budget"]["check_images"] == 2 * 120
    assert convergence.text() in got.training["protocol"]


def test_a_longer_trial_changes_nothing_of_the_result():
    images, targets = bright_and_dark(220)
    config = SupervisedConfig(epochs=4, batch_size=20, lr=(0.02,))
    fit, held = torch.arange(120), torch.arange(120, 220)
    nets = [
        fitted(images, targets, config, data=some_data(images, targets, fit, held[:count]))
        for count in (99, 100)  # one too few to judge by
    ]
    assert [fit.convergence is None for fit in nets] == [True, False]
    fresh = some_images(64, seed=3)
    assert torch.equal(nets[0].predict(fresh), nets[1].predict(fresh))


def test_the_same_seed_gives_the_same_net_whatever_was_drawn_before():
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=2, batch_size=12)
    heard: list[list[dict[str, float]]] = [[], [], []]
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)  # what the process drew before must not matter
        state = torch.get_rng_state()
        fitted(images, targets, config, seed=seed, report=heard[i].append)
        assert torch.equal(state, torch.get_rng_state())
    assert heard[0] == heard[1]
    assert heard[0] != heard[2]


def test_a_rate_that_diverges_is_passed_over():
    images, targets = bright_and_dark()
    lines = []

    class Listening(NullSink):
        def log(self, text):
            lines.append(text)

    config = SupervisedConfig(epochs=9, batch_size=12, lr=(1000.0, 0.02), weight_decay=1.0)
    got = fitted(images, targets, config, sink=Listening())
    assert got.lr == 0.02
    assert got.candidates[1] == {"lr": 1000.0, "diverged": True}
    assert any("diverged with the learning rate 1000" in line for line in lines)


def test_every_training_has_a_curve_of_its_own():
    """The trials of two rates, and the training with the rate that was chosen, are three curves."""
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=9, batch_size=12, lr=(0.02, 0.04))
    heard: list[dict[str, float]] = []
    got = fitted(images, targets, config, report=heard.append)
    names = [name for values in heard for name in values]
    trial = got.budget.selection_epochs
    assert trial > 1
    for lr in ("0.02", "0.04"):
        for name in ("selection_loss", "validation_top1"):
            assert names.count(f"lr_{lr}/{name}") == trial
    assert names.count("loss") == got.budget.epochs == 9
    assert len(heard) == got.budget.reports


def test_the_loss_of_a_rate_that_diverged_does_not_go_on_in_that_of_the_next(monkeypatch):
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=6, batch_size=12, lr=(0.02, 0.04))
    train, seen = SupervisedTraining.train, []

    def diverging(self):
        seen.append((self.lr, self.epochs))
        for epoch, loss in enumerate(train(self)):
            if self.epochs == 6 and [e for _, e in seen].count(6) == 1 and epoch == 2:
                raise Diverged
            yield loss

    monkeypatch.setattr(SupervisedTraining, "train", diverging)
    heard: list[dict[str, float]] = []
    got = fitted(images, targets, config, report=heard.append)
    names = [name for values in heard for name in values]
    assert names.count("loss") == 2
    assert names.count(f"lr_{got.lr:g}/loss") == 6


def test_a_baseline_that_always_diverges_says_what_to_lower():
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=3, batch_size=12, lr=(1000.0,), weight_decay=1.0)
    with pytest.raises(TrainingError, match=r"every learning rate \(1000\); lower supervised.lr"):
        fitted(images, targets, config)


def test_without_validation_images_the_middle_rate_is_taken():
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=1, batch_size=12, lr=(0.5, 0.01, 0.02))
    data = some_data(images, targets, torch.arange(48), torch.arange(0))
    got = fitted(images, targets, config, data=data)
    assert got.lr == 0.02
    assert got.candidates == ()


def test_batchnorm_is_not_split():
    # 10 images a step are no multiple of the encoder's 8 groups
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=1, batch_size=10, lr=(0.01,))
    got = fitted(images, targets, config, ModelConfig(bn_splits=8))
    assert math.isfinite(got.lr)


def test_a_stop_is_heard_between_steps_and_the_generator_is_given_back():
    class Stopping(NullSink):
        left = 5

        def request(self):
            self.left -= 1
            return "stop" if self.left < 0 else None

    images, targets = bright_and_dark()
    state = torch.get_rng_state()
    with pytest.raises(Interrupted):
        fitted(images, targets, SupervisedConfig(batch_size=12), sink=Stopping())
    assert torch.equal(state, torch.get_rng_state())
