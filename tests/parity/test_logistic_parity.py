import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from engine.config.heads.logistic import LogisticConfig
from engine.evaluate.features import Standardiser
from engine.probe.logistic import Problem, solve_logistic, solve_many
from engine.probe.logistic_choice import fit_logistic
from engine.probe.principal_directions import Spectrum
from engine.sink import Interrupted, NullSink

from ..engine.gradients import grad


def case(n=400, width=20, classes=4, seed=0, noise=1.0, skew=1.0):
    """Correlated features of overlapping classes, standardised, float64."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=g, dtype=torch.float64)
    targets = torch.arange(n) % classes
    targets = targets[torch.randperm(n, generator=g)]
    x = centres[targets] + noise * torch.randn(n, width, generator=g, dtype=torch.float64)
    mix = torch.randn(width, width, generator=g, dtype=torch.float64)
    spread = torch.logspace(0, -skew, width, dtype=torch.float64)
    x = (x * spread) @ mix
    standardise = Standardiser.fit(x)
    return (x - standardise.mean) / standardise.scale, targets, classes


def objective(x, targets, weight, bias, l2):
    scores = x.double() @ weight.double().T + bias.double()
    return float(F.cross_entropy(scores, targets) + 0.5 * l2 * weight.double().square().sum())


def scikit_learn(x, targets, l2, factor=1.0):
    model = LogisticRegression(C=factor / (len(x) * l2), tol=1e-12, max_iter=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for more than its line search can see
        model.fit(x.double().numpy(), targets.numpy())
    return torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)


def above_the_minimum(x, targets, weight, bias, l2):
    """How far the objective can fall, by a Newton step with the whole Hessian."""
    ones = torch.ones(len(x), 1, dtype=torch.float64)
    x = torch.cat([x, ones], 1)
    point = torch.cat([weight, bias.unsqueeze(1)], 1)
    penalty = torch.full_like(point, l2)
    penalty[:, -1] = 0.0
    share = (x @ point.T).softmax(1)
    slope = (share - F.one_hot(targets, len(weight))).T @ x / len(x) + penalty * point
    between = torch.diag_embed(share) - share.unsqueeze(2) * share.unsqueeze(1)
    hessian = torch.einsum("nij,na,nb->iajb", between, x, x).reshape(point.numel(), -1) / len(x)
    values, vectors = torch.linalg.eigh(hessian + penalty.flatten().diag())
    along = (slope.flatten() @ vectors)[1:]  # the first: the same added to every bias
    return float((along.square() / values[1:]).sum() / 2)


@pytest.mark.parametrize(
    ("skew", "l2", "seed"),
    [(skew, l2, 0) for skew in (0.5, 3.0) for l2 in (10.0, 0.1, 1e-3, 1e-5)]
    + [(3.0, 1e-5, seed) for seed in (1, 6, 119)],
)
def test_the_optimum_is_that_of_scikit_learn(skew, l2, seed):
    # The weak penalties of correlated features ask for more than float64 holds on some processors
    # and not on others: there the objective is at its floor, and the gradient larger than asked.
    x, targets, classes = case(skew=skew, seed=seed)
    got = solve_logistic(x, targets, classes, l2, tolerance=1e-10, max_iter=5000)
    weight, bias = scikit_learn(x, targets, l2)
    expected = objective(x, targets, weight, bias, l2)
    assert got.converged
    above = above_the_minimum(x, targets, got.weight, got.bias, l2)
    assert got.gradient <= 1e-10 or above <= 1.1e-13 * got.objective
    assert got.objective == pytest.approx(expected, rel=1e-9)
    assert got.objective <= expected * (1 + 1e-12)
    assert got.objective == pytest.approx(
        objective(x, targets, got.weight, got.bias, l2), rel=1e-12
    )
    torch.testing.assert_close(
        got.logits(x).softmax(1), (x @ weight.T + bias).softmax(1), rtol=0, atol=1e-5
    )
    torch.testing.assert_close(got.weight, weight, rtol=1e-4, atol=1e-4 * float(weight.abs().max()))
    torch.testing.assert_close(got.bias, bias, rtol=1e-4, atol=1e-4 * float(weight.abs().max()))


def test_two_classes_are_scikit_learns_binary_problem_with_twice_its_c():
    x, targets, _ = case(classes=2, noise=3.0)
    got = solve_logistic(x, targets, 2, 0.01, tolerance=1e-10)
    weight, bias = scikit_learn(x, targets, 0.01, factor=2.0)
    difference = got.weight[1] - got.weight[0]
    torch.testing.assert_close(difference, weight[0], rtol=1e-5, atol=1e-6)
    assert float(got.bias[1] - got.bias[0]) == pytest.approx(float(bias[0]), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-3])
def test_float32_features_reach_the_same_objective_within_a_millionth(l2):
    x, targets, classes = case(n=600, width=64, noise=2.0)
    got = solve_logistic(x.float(), targets, classes, l2, tolerance=1e-6)
    exact = solve_logistic(x, targets, classes, l2, tolerance=1e-10)
    assert got.converged
    assert objective(x, targets, got.weight, got.bias, l2) == pytest.approx(
        exact.objective, rel=1e-6
    )


def test_features_that_are_not_centred_are_solved_too():
    x, targets, classes = case(noise=6.0)
    x = x * torch.linspace(0.1, 30.0, x.shape[1]) + 50.0
    got = solve_logistic(x, targets, classes, 1e-3, tolerance=1e-9)
    # Newton's method in the other coordinates is no oracle: test the conditions of the optimum.
    weight = got.weight.clone().requires_grad_()
    bias = got.bias.clone().requires_grad_()
    value = F.cross_entropy(x @ weight.T + bias, targets) + 0.5e-3 * weight.square().sum()
    value.backward()
    assert got.converged
    assert max(float(grad(weight).abs().max()), float(grad(bias).abs().max())) < 2e-9
    assert got.gradient == pytest.approx(
        max(float(grad(weight).abs().max()), float(grad(bias).abs().max())), abs=1e-11
    )


@pytest.mark.parametrize(("n", "width"), [(60, 1500), (1300, 1100)])
def test_more_features_than_the_exact_spectrum_takes(n, width):
    x, targets, classes = case(n=n, width=width, noise=4.0)
    got = solve_logistic(x, targets, classes, 1.0, tolerance=1e-9)
    assert got.converged
    weight = got.weight.clone().requires_grad_()
    value = F.cross_entropy(x @ weight.T + got.bias, targets) + 0.5 * weight.square().sum()
    value.backward()
    assert float(grad(weight).abs().max()) < 2e-9


def test_problems_solved_together_are_the_problems_solved_alone():
    x, targets, classes = case()
    g = torch.Generator().manual_seed(5)
    part = torch.where(torch.rand(len(x), generator=g) < 0.4, targets, -1)
    halves = torch.where(targets < 2, targets, -1)
    problems = [
        Problem(targets, classes, 0.1),
        Problem(part, classes, 0.1),
        Problem(targets // 2, 2, 0.01),
        Problem(part, classes, 1e-3),
        Problem(halves, 2, 0.01),
    ]
    for problem, got in zip(problems, solve_many(x, problems, tolerance=1e-10), strict=True):
        rows = problem.targets >= 0
        weight, bias = scikit_learn(
            x[rows], problem.targets[rows], problem.l2, factor=2.0 if problem.classes == 2 else 1.0
        )
        mine, offset = got.weight, got.bias
        if problem.classes == 2:
            mine, offset = mine[1:] - mine[:1], offset[1:] - offset[:1]
        assert got.converged
        torch.testing.assert_close(mine, weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(offset, bias, rtol=1e-4, atol=1e-5)


def test_a_start_near_the_optimum_saves_iterations_and_changes_nothing():
    x, targets, classes = case(width=60, noise=2.0)
    options: dict[str, Any] = {"tolerance": 1e-9}
    first = solve_logistic(x, targets, classes, 0.02, **options)
    cold = solve_logistic(x, targets, classes, 0.01, **options)
    warm = solve_logistic(x, targets, classes, 0.01, start=first, **options)
    again = solve_logistic(x, targets, classes, 0.01, start=cold, **options)
    torch.testing.assert_close(warm.weight, cold.weight, rtol=1e-6, atol=1e-7)
    assert warm.iterations < cold.iterations
    assert again.iterations <= 1


def test_the_preconditioner_saves_iterations_and_changes_nothing():
    x, targets, classes = case(n=800, width=60, skew=2.5, noise=6.0)
    exact = Spectrum.of(x)
    width = x.shape[1]
    plain = Spectrum(x.mean(0), torch.zeros(width, 1, dtype=x.dtype), torch.zeros(1).double(), 1.0)
    fast = solve_logistic(x, targets, classes, 1e-3, tolerance=1e-8, spectrum=exact)
    slow = solve_logistic(x, targets, classes, 1e-3, tolerance=1e-8, spectrum=plain)
    assert fast.objective == pytest.approx(slow.objective, rel=1e-9)
    assert fast.iterations < slow.iterations / 2


def test_the_spectrum_holds_the_leading_directions():
    x, _, _ = case(n=1200, width=1100, skew=2.0)
    exact = torch.linalg.eigvalsh(x.T @ x / len(x)).flip(0)
    got = Spectrum.of(x, rank=20)
    torch.testing.assert_close(got.values[:10], exact[:10], rtol=0.1, atol=0)
    identity = got.basis.T @ got.basis
    torch.testing.assert_close(identity, torch.eye(20).double(), rtol=0, atol=1e-9)
    assert got.rest == pytest.approx(float(exact[20:].mean()), rel=0.05)


def test_too_few_iterations_are_said():
    x, targets, classes = case()
    got = solve_logistic(x, targets, classes, 1e-4, max_iter=3)
    assert not got.converged
    assert got.iterations == 3
    assert got.gradient > 1e-5


def test_a_tolerance_below_rounding_ends_at_the_floor_of_float64():
    x, targets, classes = case()
    for features in (x, x.float()):  # the floor of float32 is not enough
        got = solve_logistic(features, targets, classes, 1e-2, tolerance=1e-30, max_iter=5000)
        assert got.converged
        assert got.iterations < 500
        assert got.gradient < 1e-10
        above = above_the_minimum(features.double(), targets, got.weight, got.bias, 1e-2)
        assert above <= 1.1e-13 * got.objective


def test_float32_features_meet_a_tolerance_below_float32():
    x, targets, classes = case()
    x = x.float()
    got = solve_logistic(x, targets, classes, 1e-2, tolerance=1e-10)
    weight, _ = scikit_learn(x, targets, 1e-2)
    assert got.converged
    torch.testing.assert_close(got.weight, weight, rtol=1e-4, atol=1e-6)


def test_the_same_call_gives_the_same_bits():
    x, targets, classes = case()
    a, b = (solve_logistic(x.float(), targets, classes, 0.01) for _ in range(2))
    assert torch.equal(a.weight, b.weight)
    assert torch.equal(a.bias, b.bias)


def test_a_stop_is_heard_between_iterations():
    class Stopping(NullSink):
        left = 4

        def request(self):
            self.left -= 1
            return "stop" if self.left < 0 else None

    x, targets, classes = case()
    with pytest.raises(Interrupted):
        solve_logistic(x, targets, classes, 1e-4, sink=Stopping())


def test_the_strength_of_the_lowest_validation_loss_is_chosen_and_the_whole_is_fitted():
    x, targets, classes = case(n=240, width=40, noise=5.0)
    fit, validate = torch.arange(0, 180), torch.arange(180, 240)
    strengths = (1e-4, 1e-2, 1e-1, 0.3, 1.0, 10.0, 100.0)
    config = LogisticConfig(l2=strengths, tolerance=1e-8, folds=0)
    got = fit_logistic(x, targets, classes, config, fit=fit, validate=validate)
    losses = {}
    for l2 in strengths:
        weight, bias = scikit_learn(x[fit], targets[fit], l2)
        losses[l2] = float(F.cross_entropy(x[validate] @ weight.T + bias, targets[validate]))
    best = min(losses, key=losses.__getitem__)
    assert best not in (1e-4, 100.0)
    assert got.l2 == best
    assert not got.at_edge
    tried = [c["l2"] for c in got.candidates]
    assert tried == sorted(strengths, reverse=True)[: len(tried)]
    assert min(tried) < best
    assert [c["loss"] for c in got.candidates] == pytest.approx([losses[l2] for l2 in tried])
    weight, bias = scikit_learn(x, targets, best)
    torch.testing.assert_close(got.solution.weight, weight, rtol=1e-4, atol=1e-5)
    expected = (x @ weight.T + bias).argmax(1)
    assert torch.equal(got.predict(x), expected)


def test_an_edge_of_the_strengths_is_said():
    x, targets, classes = case(n=240, width=40, noise=5.0)
    split: dict[str, Any] = {"fit": torch.arange(0, 180), "validate": torch.arange(180, 240)}
    weak, strong = LogisticConfig(l2=(1e-5, 1e-4, 1e-3)), LogisticConfig(l2=(1e3, 1e2, 1e4))
    for config, edge in ((weak, 1e-3), (strong, 1e2)):
        got = fit_logistic(x, targets, classes, config, **split)
        assert (got.l2, got.at_edge) == (edge, True)
    alone = fit_logistic(x, targets, classes, LogisticConfig(l2=(0.1,)), **split)
    assert (alone.l2, alone.at_edge, alone.candidates) == (0.1, False, ())


def test_without_validation_images_the_middle_strength_is_taken():
    x, targets, classes = case()
    config = LogisticConfig(l2=(1e-3, 10.0, 0.1), folds=0)
    nothing = torch.arange(0)
    got = fit_logistic(x, targets, classes, config, fit=torch.arange(len(x)), validate=nothing)
    assert got.l2 == 0.1
    assert got.candidates == ()
    assert not got.at_edge
