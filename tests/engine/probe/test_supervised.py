import math

import pytest
import torch

from engine.config.schema import ModelConfig, SupervisedConfig
from engine.errors import TrainingError
from engine.probe.supervised import _Trainer, fit_supervised, plan_budget, shift_and_flip
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


def options(n=48, **changes):
    split = {"fit": torch.arange(0, n - 12), "validate": torch.arange(n - 12, n)}
    return {**split, "mean": MEAN, "std": STD, "device": CPU, "seed": 0} | changes


def test_an_image_is_moved_mirrored_and_reflected_at_its_edges():
    images = some_images(200)
    got = shift_and_flip(images, torch.Generator().manual_seed(0))
    assert got.shape == images.shape
    assert got.is_contiguous(memory_format=torch.channels_last)
    padded = torch.nn.functional.pad(images.float(), (4, 4, 4, 4), mode="reflect").byte()
    seen = set()
    for i in range(200):
        found = []
        for y in range(9):
            for x in range(9):
                window = padded[i, :, y : y + 32, x : x + 32]
                if torch.equal(got[i], window):
                    found.append((y, x, False))
                if torch.equal(got[i], window.flip(2)):
                    found.append((y, x, True))
        assert len(found) == 1
        seen.update(found)
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(9))
    flips = sum(flip for _, _, flip in seen)
    assert 0.35 < flips / len(seen) < 0.65


def test_moving_draws_from_its_generator_alone_and_leaves_the_images():
    images = some_images(8)
    before, state = images.clone(), torch.get_rng_state()
    a, b = (shift_and_flip(images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(images, before)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("labels", "fit", "validate", "epochs", "selection", "batch"),
    [
        (5000, 4000, 1000, 60, 20, 128),
        (25_000, 20_000, 5000, 16, 5, 128),
        (500_000, 400_000, 100_000, 1, 1, 128),
        (10, 10, 0, 60, 0, 10),
        (20, 10, 10, 60, 20, 10),
    ],
)
def test_the_budget_counts_images_and_not_epochs(labels, fit, validate, epochs, selection, batch):
    budget = plan_budget(SupervisedConfig(), labels, fit, validate)
    assert (budget.epochs, budget.selection_epochs) == (epochs, selection)
    assert budget.batch_size == batch
    assert budget.images == epochs * labels
    assert budget.selection_images == 2 * selection * fit
    assert budget.reports == epochs + 2 * selection
    assert f"{epochs} epochs ({epochs * labels:,} images seen)" in budget.text()
    assert ("not tuned" in budget.text()) == (selection == 0)


def test_one_rate_is_not_chosen_from():
    assert plan_budget(SupervisedConfig(lr=(0.1,)), 100, 80, 20).selection_epochs == 0


def test_it_learns_and_reports_every_epoch():
    images, targets = bright_and_dark()
    heard = []
    config = SupervisedConfig(epochs=6, batch_size=12, lr=(0.02, 1e-9))
    got = fit_supervised(
        ModelConfig(), images, targets, 2, config, report=heard.append, **options()
    )
    fresh, truth = bright_and_dark(seed=9)
    assert torch.equal(got.predict(fresh), truth)
    assert got.lr == 0.02
    assert [c["lr"] for c in got.candidates] == [1e-9, 0.02]
    assert got.candidates[1]["top1"] == 100.0
    assert len(heard) == got.budget.reports == 10
    assert [set(h) for h in heard[:4]] == [{"selection_loss", "validation_top1"}] * 4
    assert [set(h) for h in heard[4:]] == [{"loss"}] * 6
    assert heard[-1]["loss"] < heard[4]["loss"]


def test_the_same_seed_gives_the_same_net_whatever_was_drawn_before():
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=2, batch_size=12)
    heard = ([], [], [])
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)  # what the process drew before must not matter
        state = torch.get_rng_state()
        fit_supervised(
            ModelConfig(), images, targets, 2, config, report=heard[i].append,
            **options(seed=seed),
        )  # fmt: skip
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
    got = fit_supervised(
        ModelConfig(), images, targets, 2, config, sink=Listening(), **options()
    )  # fmt: skip
    assert got.lr == 0.02
    assert got.candidates[1] == {"lr": 1000.0, "diverged": True}
    assert any("diverged with the learning rate 1000" in line for line in lines)


def test_a_baseline_that_always_diverges_says_what_to_lower():
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=3, batch_size=12, lr=(1000.0,), weight_decay=1.0)
    with pytest.raises(TrainingError, match=r"every learning rate \(1000\); lower supervised.lr"):
        fit_supervised(ModelConfig(), images, targets, 2, config, **options())


def test_without_validation_images_the_middle_rate_is_taken():
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=1, batch_size=12, lr=(0.5, 0.01, 0.02))
    got = fit_supervised(
        ModelConfig(), images, targets, 2, config,
        **options(fit=torch.arange(48), validate=torch.arange(0)),
    )  # fmt: skip
    assert got.lr == 0.02
    assert got.candidates == ()


def test_batchnorm_is_not_split():
    # 10 images a step are no multiple of the encoder's 8 groups
    images, targets = bright_and_dark()
    config = SupervisedConfig(epochs=1, batch_size=10, lr=(0.01,))
    got = fit_supervised(ModelConfig(bn_splits=8), images, targets, 2, config, **options())
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
        fit_supervised(
            ModelConfig(), images, targets, 2, SupervisedConfig(batch_size=12), sink=Stopping(),
            **options(),
        )  # fmt: skip
    assert torch.equal(state, torch.get_rng_state())


def test_the_net_is_judged_with_statistics_without_dropout():
    images, targets = bright_and_dark(96)
    trainer = _Trainer(
        ModelConfig(dropout=0.5), images, targets, 2, SupervisedConfig(), mean=MEAN, std=STD,
        device=CPU, seed=0, sink=NullSink(),
    )  # fmt: skip
    net = trainer.train(torch.arange(96), 0.02, 4, 16, lambda _net, _loss: None)
    trainer.settle(net, torch.arange(0, 96, 2))
    assert not any(module.training for module in net.modules())
    x = (images[::2] / 255 - 0.5) / 0.25
    for index in (1, 6, 11):  # BatchNorm in the three blocks of the backbone
        with torch.no_grad():
            before = torch.nn.Sequential(*list(net[0])[:index])(x)  # eval mode: no dropout
        expected, layer = before.mean((0, 2, 3)), net[0][index]
        torch.testing.assert_close(layer.running_mean, expected, atol=5e-3, rtol=1e-2)
        expected = before.var((0, 2, 3))
        torch.testing.assert_close(layer.running_var, expected, atol=5e-3, rtol=1e-2)
