"""The strength of the logistic head: by folds where few images would be held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from engine.config.heads.logistic import LogisticConfig
from engine.probe.logistic_choice import fit_logistic, folds_of

STRENGTHS = (0.003, 0.03, 0.3, 3.0)


def labelled(n: int, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.arange(n) % classes)[torch.randperm(n, generator=generator)]
    features = torch.randn(n, 8, generator=generator) + 0.6 * torch.eye(8)[targets]
    return features, targets


def split(n: int, held: int) -> tuple[Tensor, Tensor]:
    return torch.arange(n)[held:], torch.arange(n)[:held]


def losses_of_scikit_learn(features: Tensor, targets: Tensor, l2: float, folds: int) -> float:
    """Mean cross-entropy of all images, each by the model that has not seen it; by hand."""
    x, y = features.double().numpy(), targets.numpy()
    logs = np.empty(len(y))
    for fit, held in StratifiedKFold(folds).split(x, y):
        model = LogisticRegression(C=1 / (l2 * len(fit)), tol=1e-10, max_iter=10_000)
        probabilities = model.fit(x[fit], y[fit]).predict_proba(x[held])
        logs[held] = np.log(probabilities[np.arange(len(held)), y[held]])
    return float(-logs.mean())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of what scikit-learn 1.10 will change
@pytest.mark.parametrize("seed", range(4))
def test_it_chooses_what_scikit_learn_chooses_on_the_same_folds(seed: int) -> None:
    features, targets = labelled(60, seed=seed)
    fit, validate = split(60, 12)
    config = LogisticConfig(l2=STRENGTHS, tolerance=1e-9)
    got = fit_logistic(features, targets, 3, config, fit=fit, validate=validate)
    assert got.folds == 5
    tried = {candidate["l2"]: candidate["loss"] for candidate in got.candidates}
    wanted = {l2: losses_of_scikit_learn(features, targets, l2, 5) for l2 in STRENGTHS}
    for l2, loss in tried.items():
        assert loss == pytest.approx(wanted[l2], abs=1e-5)
    assert got.l2 == min(wanted, key=lambda l2: wanted[l2])
    # Of 48 images in each fold: with folds of equal size the mean over images is that over folds.
    theirs = LogisticRegressionCV(
        Cs=[1 / (l2 * 48) for l2 in STRENGTHS],
        cv=StratifiedKFold(5),
        scoring="neg_log_loss",
        tol=1e-10,
        max_iter=10_000,
    ).fit(features.double().numpy(), targets.numpy())
    assert got.l2 == pytest.approx(1 / (float(np.ravel(theirs.C_)[0]) * 48))


def test_the_head_is_fitted_to_all_labelled_images_with_the_chosen_strength() -> None:
    features, targets = labelled(45, seed=7)
    fit, validate = split(45, 9)
    config = LogisticConfig(l2=STRENGTHS, tolerance=1e-9)
    got = fit_logistic(features, targets, 3, config, fit=fit, validate=validate)
    model = LogisticRegression(C=1 / (got.l2 * 45), tol=1e-12, max_iter=100_000)
    model.fit(features.double().numpy(), targets.numpy())
    centred = torch.from_numpy(model.coef_ - model.coef_.mean(0))
    assert torch.allclose(got.solution.weight, centred, atol=1e-5)


def test_from_a_hundred_held_out_on_and_with_folds_off_it_is_the_part_that_is_held_out() -> None:
    features, targets = labelled(150)
    for held, folds, wanted in ((100, 5, 0), (99, 5, 5), (99, 0, 0), (30, 3, 3)):
        fit, validate = split(150, held)
        config = LogisticConfig(l2=STRENGTHS, folds=folds)
        got = fit_logistic(features, targets, 3, config, fit=fit, validate=validate)
        assert got.folds == wanted
        if not wanted:
            own = LogisticConfig(l2=(got.l2,), folds=0)
            part = fit_logistic(
                *(features[fit], targets[fit], 3, own),
                fit=torch.arange(len(fit)),
                validate=validate[:0],
            )
            scores = part.solution.logits(features[validate].double())
            loss = float(torch.nn.functional.cross_entropy(scores, targets[validate]))
            (chosen,) = (c for c in got.candidates if c["l2"] == got.l2)
            assert chosen["loss"] == pytest.approx(loss, abs=1e-6)


def test_with_one_label_of_a_class_nothing_is_chosen() -> None:
    features, targets = labelled(10)
    targets[targets == 2] = 1
    targets[0] = 2
    config = LogisticConfig(l2=STRENGTHS)
    everyone = torch.arange(10)
    assert folds_of(config, targets, 3, 0) == 0
    got = fit_logistic(features, targets, 3, config, fit=everyone, validate=everyone[:0])
    assert (got.folds, got.candidates, got.l2) == (0, (), sorted(STRENGTHS, reverse=True)[2])
