import scipy.optimize
import torch

from engine.probe.lbfgs import _Memory, minimise


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
    calls = []
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
    options = {"max_iter": 500, "tolerance": 1e-9, "noise": 1e-14}
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


def test_the_number_of_ended_problems_is_told_before_each_iteration():
    matrices, lowest = quadratics(count=2)
    lowest[0] = 0.0
    heard = []
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
