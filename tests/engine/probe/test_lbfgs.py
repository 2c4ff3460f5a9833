from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch

from engine.probe.lbfgs import _at_floor, _Batch, _Memory, _newton, minimise


def quadratics(count=5, width=12, seed=0, condition=1e4):
    g = torch.Generator().manual_seed(seed)
    roots = torch.linalg.qr(torch.randn(count, width, width, generator=g).double())[0]
    spread = torch.logspace(0, 1, width, base=condition**0.5, dtype=torch.float64)
    matrices = roots @ torch.diag(spread) @ roots.transpose(1, 2)
    lowest = torch.randn(count, width, generator=g).double()
    return matrices, lowest


def function_of(matrices, lowest, calls=None):
    def function(points, which):
        if calls is not None:
            calls.append(which.tolist())
        away = points - lowest[which]
        slope = (matrices[which] @ away.unsqueeze(2)).squeeze(2)
        return 0.5 * (away * slope).sum(1), slope, slope.abs().amax(1)

    return function


def test_each_quadratic_ends_at_its_own_minimum():
    matrices, lowest = quadratics()
    end = minimise(
        function_of(matrices, lowest), torch.zeros_like(lowest), max_iter=500, tolerance=1e-9,
        noise=1e-14,
    )  # fmt: skip
    assert bool(end.converged.all())
    torch.testing.assert_close(end.point, lowest, rtol=0, atol=1e-7)


def test_a_problem_that_has_ended_is_not_asked_for_again():
    matrices, lowest = quadratics(count=3)
    matrices[1] = torch.eye(12).double()  # one step
    lowest[2] = 0.0  # none
    calls: list[list[int]] = []
    end = minimise(
        function_of(matrices, lowest, calls), torch.zeros_like(lowest), max_iter=500,
        tolerance=1e-9, noise=1e-14,
    )  # fmt: skip
    assert end.iterations.tolist()[1:] == [1, 0]
    assert calls[0] == [0, 1, 2]
    assert all(2 not in which for which in calls[1:])
    assert all(which == [0] for which in calls[2:])


def test_the_company_of_other_problems_changes_nothing():
    matrices, lowest = quadratics()
    options: dict[str, Any] = {"max_iter": 500, "tolerance": 1e-9, "noise": 1e-14}
    together = minimise(function_of(matrices, lowest), torch.zeros_like(lowest), **options)
    for i in range(len(lowest)):
        alone = minimise(
            function_of(matrices[i : i + 1], lowest[i : i + 1]), torch.zeros(1, 12).double(),
            **options,
        )  # fmt: skip
        assert abs(int(alone.iterations[0]) - int(together.iterations[i])) <= 2
        torch.testing.assert_close(alone.point[0], together.point[i], rtol=0, atol=1e-7)


def test_steps_that_are_far_too_long_or_too_short_are_corrected():
    for scale in (1e6, 1e-6):
        matrices, lowest = quadratics(condition=10)
        end = minimise(
            function_of(scale * matrices, lowest), torch.zeros_like(lowest), max_iter=200,
            tolerance=1e-8 * scale, noise=1e-14,
        )  # fmt: skip
        assert bool(end.converged.all())
        torch.testing.assert_close(end.point, lowest, rtol=0, atol=1e-6)


def test_a_function_that_leads_nowhere_ends_the_search():
    def uphill(points, which):  # claims a slope that is not there
        return points.square().sum(1), -torch.ones_like(points), points.new_ones(len(points))

    end = minimise(uphill, torch.zeros(2, 3).double(), max_iter=1000, tolerance=1e-9, noise=0.0)
    assert not bool(end.converged.any())
    assert int(end.iterations.max()) == 1
    assert torch.equal(end.point, torch.zeros(2, 3).double())


def ridge_logistic(seed, l2=1e-4, n=200, width=8):
    """Its function, and its value and minimum as Newton's method finds it in long double."""
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, width)) * np.logspace(0, -2, width)
    x = np.where(g.random(n) < 0.5, 1, -1)[:, None] * (x + 0.5 * x.std(0))  # times the label

    def function(points, which):
        features = torch.from_numpy(x)
        scores = points @ features.T
        loss = torch.nn.functional.softplus(-scores).mean(1) + 0.5 * l2 * points.square().sum(1)
        gradient = -torch.sigmoid(-scores) @ features / n + l2 * points
        return loss, gradient, gradient.abs().amax(1)

    wide, w = x.astype(np.longdouble), np.zeros(width, np.longdouble)
    for _ in range(30):
        share = 1 / (1 + np.exp(wide @ w))
        gradient = l2 * w - share @ wide / n
        hessian = (wide.T * (share * (1 - share))) @ wide / n + l2 * np.eye(width)
        w -= np.linalg.solve(hessian.astype(float), gradient.astype(float))
    value = np.log1p(np.exp(-wide @ w)).mean() + l2 / 2 * (w @ w)
    return function, w.astype(float), value, np.linalg.eigvalsh(hessian.astype(float))


@pytest.mark.parametrize("seed", range(4))
def test_the_floor_of_rounding_is_the_minimum(seed):
    function, lowest, value, curvatures = ridge_logistic(seed)
    noise = 1e-14
    end = minimise(
        function, torch.zeros(1, 8).double(), max_iter=2000, tolerance=0.0, noise=noise
    )  # fmt: skip
    assert bool(end.converged.all())
    assert float(end.size[0]) > 0.0
    assert int(end.iterations[0]) < 500
    assert abs(np.longdouble(float(end.value[0])) / value - 1) < 2 * noise
    away = float(np.linalg.norm(end.point[0].numpy() - lowest))
    assert away < (2.2 * noise * float(value) / curvatures[0]) ** 0.5


def test_the_floor_is_that_of_each_problem():
    matrices, lowest = quadratics(condition=1e6)
    lowest[2] = 0.0
    plain = function_of(matrices, lowest)

    def function(points, which):  # its value has digits that say nothing of the point
        value, gradient, size = plain(points, which)
        return value + 1.0 + which, gradient, size

    start = torch.zeros_like(lowest)
    end = minimise(function, start, max_iter=2000, tolerance=0.0, noise=1e-14)
    assert bool(end.converged.all())
    assert int(end.iterations[2]) == 0
    away = end.point - lowest
    above = 0.5 * torch.einsum("pi,pij,pj->p", away, matrices, away)
    assert bool((above <= 1.1e-14 * (1 + torch.arange(5))).all())
    asked = minimise(
        function, start, max_iter=2000, tolerance=0.0, noise=1e-14, floor=False
    )  # fmt: skip
    assert asked.converged.tolist() == [False, False, True, False, False]


def test_an_end_by_max_iter_has_not_converged():
    function = ridge_logistic(0)[0]
    end = minimise(function, torch.zeros(1, 8).double(), max_iter=5, tolerance=0.0, noise=1e-14)
    assert not bool(end.converged.any())
    assert int(end.iterations[0]) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda gradient: -gradient,
        lambda gradient: gradient + 1.0,
        lambda gradient: gradient.roll(1, 1),
        lambda gradient: gradient.abs(),
        torch.zeros_like,
        lambda gradient: gradient * float("nan"),
    ],
    ids=["reversed", "shifted", "permuted", "unsigned", "none", "nan"],
)
def test_a_wrong_gradient_has_not_converged(wrong):
    matrices, lowest = quadratics(condition=100)
    right = function_of(matrices, lowest)

    def function(points, which):
        value, gradient, size = right(points, which)
        return value + 1.0, wrong(gradient), size

    end = minimise(function, torch.zeros_like(lowest), max_iter=300, tolerance=0.0, noise=1e-14)
    assert not bool(end.converged.any())
    assert float((end.value - 1.0).min()) > 1e-3


def test_a_gradient_that_promises_too_little_is_found_out():
    matrices, lowest = quadratics(condition=100)
    right = function_of(matrices, lowest)

    def function(points, which):
        value, gradient, size = right(points, which)
        return value + 1.0, 1e-12 * gradient, size

    # By the gradient the value could fall by 1e-11 of itself, and it falls by more than 1.
    start = torch.zeros_like(lowest)
    batch = _Batch.at(function, start, torch.arange(5))
    for i in range(5):
        at_floor, lower = _at_floor(function, batch.rows(torch.tensor([i])), 1e-8)
        assert not at_floor
        assert lower is not None
        assert float(lower.value[0]) < float(batch.value[i]) - 1.0


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6])
def test_the_promise_of_a_newton_step_is_that_of_the_whole_hessian(condition):
    matrices, lowest = quadratics(width=40, condition=condition)
    quadratic = function_of(matrices, lowest)

    def function(points, which):
        value, gradient, size = quadratic(points, which)
        return value + 1.0, gradient, size

    g = torch.Generator().manual_seed(3)
    away = torch.randn(5, 40, generator=g).double()
    away *= torch.einsum("pi,pij,pj->p", away, matrices, away).rsqrt().unsqueeze(1)
    for above in (1e-9, 3e-13, 3e-14):  # of values of 1
        batch = _Batch.at(function, lowest + (2 * above) ** 0.5 * away, torch.arange(5))
        for i in range(5):
            at = batch.rows(torch.tensor([i]))
            assert _newton(function, at, 1e-13)[1] == pytest.approx(above, rel=0.15)
            at_floor, lower = _at_floor(function, at, 1e-13)
            assert at_floor == (above < 1e-13)
            assert (lower is None) == at_floor
            if lower is not None:
                assert float(lower.value[0]) == pytest.approx(1.0, abs=0.2 * above)


def test_the_number_of_ended_problems_is_told_before_each_iteration():
    matrices, lowest = quadratics(count=2)
    lowest[0] = 0.0
    heard: list[int] = []
    end = minimise(
        function_of(matrices, lowest), torch.zeros_like(lowest), max_iter=500, tolerance=1e-9,
        noise=1e-14, step=heard.append,
    )  # fmt: skip
    assert heard == [1] * int(end.iterations[1])


def test_it_is_about_as_quick_as_scipys():
    for condition in (1e2, 1e4):
        matrices, lowest = quadratics(count=1, width=40, condition=condition)
        end = minimise(
            function_of(matrices, lowest), torch.zeros_like(lowest), max_iter=500, tolerance=1e-6,
            noise=1e-14,
        )  # fmt: skip
        a, b = matrices[0].numpy(), lowest[0].numpy()
        theirs = scipy.optimize.minimize(
            lambda x, a=a, b=b: (0.5 * (x - b) @ a @ (x - b), a @ (x - b)), 0 * b, jac=True,
            method="L-BFGS-B", options={"gtol": 1e-6, "ftol": 0.0, "maxcor": 10},
        )  # fmt: skip
        assert bool(end.converged.all())
        assert int(end.iterations[0]) <= 1.1 * theirs.nit + 1


def test_directions_are_those_of_the_dense_bfgs_update():
    g = torch.Generator().manual_seed(0)
    memory, width = _Memory(), 15
    pairs = [torch.randn(2, 2, width, generator=g).double() for _ in range(13)]
    for i, (s, y) in enumerate(pairs):
        y += 2.0 * s  # positive curvature, but not here:
        y[1] *= -1 if i == 11 else 1
        memory.add(s, y)
    gradient = torch.randn(2, width, generator=g).double()
    got = memory.direction(gradient)
    for problem in range(2):
        useful = [(s[problem], y[problem]) for s, y in pairs[-10:]]
        useful = [(s, y) for s, y in useful if float(s @ y) > 0]
        assert len(useful) == (10 if problem == 0 else 9)
        s, y = useful[-1]
        inverse = torch.eye(width).double() * (s @ y) / (y @ y)
        for s, y in useful:
            rho = 1.0 / (s @ y)
            left = torch.eye(width).double() - rho * s.outer(y)
            inverse = left @ inverse @ left.T + rho * s.outer(s)
        torch.testing.assert_close(got[problem], -inverse @ gradient[problem])
