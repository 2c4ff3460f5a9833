"""L-BFGS on many smooth convex problems at once.

All problems take their steps together, so that one product of matrices serves them all; each has
its own step length and leaves the batch when it has converged. (Liu and Nocedal 1989; the line
search is the bisection of Lewis and Overton 2013 with the approximate condition of Hager and
Zhang 2005, which still works where the differences of the values drown in rounding.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""Points (A, K) and numbers (A,) of the problems they belong to, to values (A,), gradients (A, K)
and what convergence is measured by (A,)."""

_MEMORY = 10
_TRIALS = 25
_PATIENCE = 20  # iterations without progress that say that rounding allows none
_SUFFICIENT = 1e-4  # share of the promised decrease that is enough
_CURVATURE = 0.9  # share of the slope that may be left


@dataclass(frozen=True)
class Minimum:
    """Where each of P problems ended.

    Attributes:
        point: float64 (P, K).
        value: float64 (P,).
        size: float64 (P,), what convergence is measured by.
        iterations: int64 (P,).
        converged: bool (P,); False after ``max_iter`` or where rounding allows no progress.
    """

    point: Tensor
    value: Tensor
    size: Tensor
    iterations: Tensor
    converged: Tensor


@torch.no_grad()
def minimise(
    function: Function,
    start: Tensor,
    *,
    max_iter: int,
    tolerance: float,
    noise: float,
    step: Callable[[int], None] = lambda _: None,
) -> Minimum:
    """Minimises P convex functions of K variables.

    The first step is the negative gradient, so coordinates in which the curvature is about 1
    (preconditioned ones) save many iterations.

    Args:
        function: see ``Function``; it may be asked for any of the problems in any call.
        start: float64 (P, K).
        max_iter: iterations of a problem, each mostly one evaluation.
        tolerance: a problem has converged when what it is measured by is not larger.
        noise: relative rounding error of the values; differences below it mean nothing.
        step: called before each iteration with the number of problems that have ended.

    Returns:
        The last point of each problem.
    """
    count = len(start)
    active = torch.arange(count, device=start.device)
    x = start.clone()
    value, gradient, size = function(x, active)
    memory, patience = _Memory(), _Patience(value, size, noise)
    nowhere = torch.zeros_like(active, dtype=torch.bool)
    end = Minimum(x.clone(), value.clone(), size.clone(), torch.zeros_like(active), nowhere.clone())
    for iteration in range(max_iter + 1):
        good = size <= tolerance
        leave = good | nowhere if iteration < max_iter else torch.ones_like(good)
        if bool(leave.any()):
            ended, keep = active[leave], ~leave
            end.point[ended], end.value[ended] = x[leave], value[leave]
            end.size[ended], end.converged[ended] = size[leave], good[leave]
            end.iterations[ended] = iteration
            active, x, value, gradient, size = (t[keep] for t in (active, x, value, gradient, size))
            memory.keep(keep)
            patience.keep(keep)
        if not len(active):
            break
        step(count - len(active))
        direction = memory.direction(gradient)
        new_x, new_value, new_gradient, new_size, moved = _search(
            function, active, x, value, gradient, size, direction, noise
        )
        memory.add(new_x - x, new_gradient - gradient)
        x, value, gradient, size = new_x, new_value, new_gradient, new_size
        nowhere = patience.lost(value, size, moved)
    return end


class _Patience:
    """Tells which problems get nowhere: a failed search, or no progress beyond rounding."""

    def __init__(self, value: Tensor, size: Tensor, noise: float) -> None:
        self.noise = noise
        self.value, self.size = value.clone(), size.clone()  # the lowest so far
        self.idle = torch.zeros_like(value, dtype=torch.int64)

    def lost(self, value: Tensor, size: Tensor, moved: Tensor) -> Tensor:
        """Which problems should be given up, after an iteration that led here."""
        better = value < self.value - self.noise * self.value.abs()
        better |= size < 0.9 * self.size
        self.value = torch.where(better, torch.minimum(value, self.value), self.value)
        self.size = torch.where(better, torch.minimum(size, self.size), self.size)
        self.idle = torch.where(better, 0, self.idle + 1)
        return ~moved | (self.idle >= _PATIENCE)

    def keep(self, which: Tensor) -> None:
        """Drops the problems that left the batch."""
        self.value, self.size, self.idle = self.value[which], self.size[which], self.idle[which]


class _Memory:
    """The last steps and changes of the gradient of the problems in the batch."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # s, y, 1 / (s . y)
        self.scale: Tensor | None = None

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient (two-loop recursion)."""
        q = gradient.clone()
        factors = []
        for s, y, rho in reversed(self.pairs):
            factor = rho * (s * q).sum(1)
            factors.append(factor)
            q.addcmul_(factor.unsqueeze(1), y, value=-1.0)
        if self.scale is not None:
            q *= self.scale.unsqueeze(1)
        for (s, y, rho), factor in zip(self.pairs, reversed(factors), strict=True):
            q.addcmul_((factor - rho * (y * q).sum(1)).unsqueeze(1), s)
        return q.neg_()

    def add(self, s: Tensor, y: Tensor) -> None:
        """Remembers a step; one without positive curvature counts for nothing."""
        sy, yy = (s * y).sum(1), (y * y).sum(1)
        useful = sy > 1e-14 * yy
        rho = torch.where(useful, 1.0 / sy, 0.0)
        before = torch.ones_like(sy) if self.scale is None else self.scale
        self.scale = torch.where(useful, sy / yy, before)
        self.pairs = [*self.pairs[-_MEMORY + 1 :], (s, y, rho)]

    def keep(self, which: Tensor) -> None:
        """Drops the problems that left the batch."""
        self.pairs = [(s[which], y[which], rho[which]) for s, y, rho in self.pairs]
        if self.scale is not None:
            self.scale = self.scale[which]


def _search(
    function: Function,
    active: Tensor,
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    size: Tensor,
    direction: Tensor,
    noise: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A step along ``direction`` that meets the weak Wolfe conditions, for each problem.

    Returns:
        The new points, values, gradients and sizes, and which problems have moved.
    """
    slope = (gradient * direction).sum(1)
    t = torch.ones_like(value)
    low, high = torch.zeros_like(t), torch.full_like(t, float("inf"))
    new_x, new_value, new_gradient, new_size = (
        x.clone(),
        value.clone(),
        gradient.clone(),
        size.clone(),
    )
    searching = torch.arange(len(active), device=active.device)
    for _ in range(_TRIALS):
        here = searching
        point = x[here] + t[here].unsqueeze(1) * direction[here]
        trial, trial_gradient, trial_size = function(point, active[here])
        trial_slope = (trial_gradient * direction[here]).sum(1)
        down = trial <= value[here] + _SUFFICIENT * t[here] * slope[here]
        level = trial <= value[here] + noise * value[here].abs()
        level &= trial_slope <= (2 * _SUFFICIENT - 1) * slope[here]
        too_far = ~(down | level)
        too_short = ~too_far & (trial_slope < _CURVATURE * slope[here])
        done = ~(too_far | too_short)
        taken = here[done]
        new_x[taken], new_value[taken] = point[done], trial[done]
        new_gradient[taken], new_size[taken] = trial_gradient[done], trial_size[done]
        high[here[too_far]] = t[here[too_far]]
        low[here[too_short]] = t[here[too_short]]
        searching = here[~done]
        if not len(searching):
            break
        wide = high[searching].isinf()
        middle = 0.5 * (low[searching] + high[searching])
        t[searching] = torch.where(wide, 2.0 * t[searching], middle)
    moved = torch.ones_like(active, dtype=torch.bool)
    moved[searching] = False
    return new_x, new_value, new_gradient, new_size, moved
