import pytest

from engine.config.baselines import SupervisedConfig
from engine.probe.supervised_budget import plan_budget
from engine.probe.supervised_convergence import LEAST_HELD_OUT


@pytest.mark.parametrize("labels", [500, 5000, 15_000, 25_000, 500_000])
def test_a_large_labelled_part_is_trained_for_as_many_epochs_as_a_small_one(labels):
    config = SupervisedConfig()
    assert config.max_images == 0
    budget = plan_budget(config, labels, labels * 4 // 5, labels // 5)
    assert budget.epochs == budget.planned_epochs == config.epochs == 200
    assert (budget.selection_epochs, budget.check_epochs) == (50, 100)
    assert budget.images == 200 * labels
    assert "cut" not in budget.text(0.1)


@pytest.mark.parametrize(
    ("labels", "fit", "validate", "epochs", "selection", "check", "batch"),
    [
        (5000, 4000, 1000, 60, 15, 30, 128),
        (25_000, 20_000, 5000, 16, 4, 8, 128),
        (500_000, 400_000, 100_000, 1, 1, 0, 128),  # nothing is twice as long and still in it
        (10, 10, 0, 60, 0, 0, 10),
        (20, 10, 10, 60, 15, 0, 10),  # enough to choose by, too few to judge by
    ],
)
def test_a_limit_in_images_cuts_the_epochs_and_says_so(
    labels, fit, validate, epochs, selection, check, batch
):
    config = SupervisedConfig(epochs=60, max_images=400_000)
    budget = plan_budget(config, labels, fit, validate)
    assert (budget.epochs, budget.planned_epochs) == (epochs, 60)
    assert (budget.selection_epochs, budget.check_epochs) == (selection, check)
    assert budget.batch_size == batch
    assert budget.images == epochs * labels
    assert budget.selection_images == 2 * selection * fit
    assert budget.check_images == check * fit
    assert budget.all_images == epochs * labels + (2 * selection + check) * fit
    assert budget.reports == epochs + 2 * selection + check
    assert f"({epochs * labels:,} images seen)" in budget.text(0.1)
    assert ("not tuned, 0.1;" in budget.text(0.1)) == (selection == 0)
    assert ("cut by supervised.max_images from 60" in budget.text(0.1)) == (epochs < 60)


def test_one_rate_is_not_chosen_from_and_yet_its_length_is_judged():
    few = plan_budget(SupervisedConfig(lr=(0.1,)), 100, 80, 20)
    assert (few.chooses, few.selection_epochs, few.check_epochs) == (False, 0, 0)
    many = plan_budget(SupervisedConfig(lr=(0.1,)), 1000, 900, LEAST_HELD_OUT)
    assert (many.chooses, many.checks) == (False, True)
    assert (many.selection_epochs, many.check_epochs) == (50, 100)
    assert many.selection_images == 50 * 900
