import pytest

from engine.config.baselines import SupervisedConfig
from engine.probe.supervised_budget import plan_budget


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
