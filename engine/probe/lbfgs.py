"""L-BFGS on many smooth convex problems at once.

All problems take their steps together, so that one product of matrices serves them all; each has
its own step length and leaves the batch when it has converged. (Liu and Nocedal 1989; the line
search is the bisection of Lewis and Overton 2013 with the approximate condition of Hager and
Zhang 2005, which still works where the differences of the values drown in rounding.)

A tolerance may ask for more than rounding allows, and how much it allows depends on the processor
and on the number of threads. A problem that makes no progress is therefore examined with Newton's
method, which says how far above its minimum it is: see ``_at_floor``.

In the shapes P counts problems, A those that have not ended, K the variables of a problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""Points (A, K) and numbers (A,) of the problems they belong to, to values (A,), gradients (A, K)
and what convergence is measured by (A,)."""

_MEMORY = 10  # steps that the inverse Hessian is approximated from
_TRIALS = 25  # evaluations of a line search
_PATIENCE = 20  # iterations without progress after which a problem is stalled
_NEWTON_STEPS = 200  # of conjugate gradients, one evaluation each
# The usual constants of the Wolfe conditions (Nocedal and Wright 2006, section 3.1).
_SUFFICIENT = 1e-4  # share of the decrease that the slope promises that is enough
_CURVATURE = 0.9  # share of the slope that may remain at the end of a step


@dataclass(frozen=True)
class Minimum:
    """Where each of P problems ended.

    Attributes:
        point: float64 (P, K).
        value: float64 (P,).
        size: float64 (P,), what convergence is measured by.
        iterations: int64 (P,).
        converged: bool (P,); whether ``size`` reached the tolerance or the value the floor of
            rounding, where no step lowers it by more than its rounding error. False after
            ``max_iter``, and where no step is found though the gradient promises one.
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
    floor: bool = True,
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
        floor: whether a stalled problem is examined, with up to ``_NEWTON_STEPS`` evaluations that
            are not counted as iterations: at the floor of rounding it has converged, above it it
            continues. False: it ends, unconverged, which is cheaper where an evaluation with a
            smaller error is to follow.
        step: called before each iteration and each evaluation of an examination, with the number of
            problems that have ended.

    Returns:
        The last point of each problem.
    """
    count = len(start)
    batch = _Batch.at(function, start.clone(), torch.arange(count, device=start.device))
    memory, patience = _Memory(), _Patience(batch, noise)
    stalled = torch.zeros_like(batch.size, dtype=torch.bool)
    at_floor = stalled.clone()
    end = Minimum(
        batch.point.clone(),
        batch.value.clone(),
        batch.size.clone(),
        torch.zeros_like(batch.problem),
        stalled.clone(),
    )
    for iteration in range(max_iter + 1):
        converged = at_floor | (batch.size <= tolerance)
        ended = converged | stalled if iteration < max_iter else torch.ones_like(converged)
        if bool(ended.any()):
            # Out of the batch, so that the last problems do not pay for those that have ended.
            _record_end(end, batch.rows(ended), iteration, converged[ended])
            batch = batch.rows(~ended)
            memory.keep(~ended)
            patience.keep(~ended)
        if not len(batch.problem):
            break
        step(count - len(batch.problem))
        before = batch
        batch, moved = _search(function, before, memory.direction(before.gradient), noise)
        memory.add(batch.point - before.point, batch.gradient - before.gradient)
        stalled = ~moved | patience.exhausted(batch)
        at_floor = torch.zeros_like(stalled)
        if floor and bool(stalled.any()):
            reporting = _calling_step(function, step, count - len(batch.problem))
            for row in stalled.nonzero():  # few, and of most batches none
                at_floor[row], lower = _at_floor(reporting, batch.rows(row), noise)
                if lower is not None:  # it continues from there; its memory stays valid
                    batch.put(row, lower)
                    patience.renew(row)
                    stalled[row] = False
    return end


def _calling_step(function: Function, step: Callable[[int], None], ended: int) -> Function:
    """The function, with ``step(ended)`` before each evaluation: it may raise to stop."""

    def evaluate(point: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        step(ended)
        return function(point, which)

    return evaluate


@dataclass(frozen=True)
class _Batch:
    """The current points of A problems, and the function's values there.

    Attributes:
        problem: int64 (A,), their numbers.
        point: float64 (A, K).
        value: float64 (A,).
        gradient: float64 (A, K).
        size: float64 (A,), what convergence is measured by.
    """

    problem: Tensor
    point: Tensor
    value: Tensor
    gradient: Tensor
    size: Tensor

    @classmethod
    def at(cls, function: Function, point: Tensor, problem: Tensor) -> _Batch:
        """The problems (A,) at points (A, K): one evaluation."""
        return cls(problem, point, *function(point, problem))

    def rows(self, which: Tensor) -> _Batch:
        """Some of them: numbers int64 or a mask bool (A,)."""
        return _Batch(
            self.problem[which],
            self.point[which],
            self.value[which],
            self.gradient[which],
            self.size[which],
        )

    def put(self, which: Tensor, other: _Batch) -> None:
        """Moves the rows ``which`` to where ``other`` stands, in place."""
        self.point[which], self.value[which] = other.point, other.value
        self.gradient[which], self.size[which] = other.gradient, other.size


def _record_end(end: Minimum, ended: _Batch, iteration: int, converged: Tensor) -> None:
    """Writes problems that leave the batch into the result."""
    end.point[ended.problem], end.value[ended.problem] = ended.point, ended.value
    end.size[ended.problem], end.converged[ended.problem] = ended.size, converged
    end.iterations[ended.problem] = iteration


class _Patience:
    """Finds stalled problems: for ``_PATIENCE`` iterations no progress beyond rounding."""

    def __init__(self, batch: _Batch, noise: float) -> None:
        self.noise = noise
        self.value, self.size = batch.value.clone(), batch.size.clone()  # the lowest so far
        self.idle = torch.zeros_like(batch.problem)

    def exhausted(self, batch: _Batch) -> Tensor:
        """Which problems are stalled after another iteration, bool (A,)."""
        value, size = batch.value, batch.size
        # Near a minimum values stand still long before gradients do, so either counts.
        better = value < self.value - self.noise * self.value.abs()
        better |= size < 0.9 * self.size
        self.value = torch.where(better, torch.minimum(value, self.value), self.value)
        self.size = torch.where(better, torch.minimum(size, self.size), self.size)
        self.idle = torch.where(better, 0, self.idle + 1)
        return self.idle >= _PATIENCE

    def renew(self, which: Tensor) -> None:
        """Starts counting anew for some problems."""
        self.idle[which] = 0

    def keep(self, which: Tensor) -> None:
        """Drops the problems that left the batch."""
        self.value, self.size, self.idle = self.value[which], self.size[which], self.idle[which]


class _Memory:
    """The last steps and changes of the gradient of the problems in the batch."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # s, y, 1 / (s . y)
        self.scale: Tensor | None = None

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the approximate inverse Hessian times the gradient, (A, K).

        The two-loop recursion (Nocedal and Wright 2006, algorithm 7.4).
        """
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
        """Remembers a step and the change of the gradient over it, (A, K) each."""
        # With rho = 0 a pair has no effect: one without positive curvature, or of a problem that
        # did not move, would make the approximation indefinite.
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
    function: Function, start: _Batch, direction: Tensor, noise: float
) -> tuple[_Batch, Tensor]:
    """A step of each problem along its ``direction`` (A, K) that meets the weak Wolfe conditions.

    The lengths that do are bracketed and the bracket is halved (Lewis and Overton 2013). Unlike an
    interpolation this needs no differences of values, of which rounding leaves nothing near a
    minimum. The length tried first is 1, which is nearly always taken once the memory knows the
    curvature (Liu and Nocedal 1989), so that an iteration is one evaluation.

    Returns:
        The problems at the ends of their steps, and which have moved, bool (A,); the others, whose
        search found no step in ``_TRIALS`` evaluations, are where they were.
    """
    slope = (start.gradient * direction).sum(1)
    length = torch.ones_like(slope)
    low, high = torch.zeros_like(slope), torch.full_like(slope, float("inf"))  # the bracket
    searching = torch.arange(len(slope), device=slope.device)
    end = start.rows(searching)  # a copy
    for _ in range(_TRIALS):
        origin, along = start.rows(searching), direction[searching]
        step, start_slope = length[searching], slope[searching]
        trial = _Batch.at(function, origin.point + step.unsqueeze(1) * along, origin.problem)
        end_slope = (trial.gradient * along).sum(1)

        too_far = ~_armijo(origin.value, trial.value, step, start_slope)
        too_far &= ~_approximate_wolfe(origin.value, trial.value, start_slope, end_slope, noise)
        # A slope about as steep as at the start: most of the way is still ahead, and a pair for
        # the memory from so short a step would know little of the curvature.
        too_short = ~too_far & (end_slope < _CURVATURE * start_slope)
        good = ~(too_far | too_short)

        end.put(searching[good], trial.rows(good))
        high[searching[too_far]] = step[too_far]
        low[searching[too_short]] = step[too_short]
        searching = searching[~good]
        if not len(searching):
            break
        length[searching] = _next_length(low[searching], high[searching], length[searching])
    moved = torch.ones_like(start.problem, dtype=torch.bool)
    moved[searching] = False
    return end, moved


def _armijo(origin: Tensor, trial: Tensor, step: Tensor, start_slope: Tensor) -> Tensor:
    """Whether values fell by enough of what the slope at the start promises, bool (A,)."""
    return trial <= origin + _SUFFICIENT * step * start_slope


def _approximate_wolfe(
    origin: Tensor, trial: Tensor, start_slope: Tensor, end_slope: Tensor, noise: float
) -> Tensor:
    """Whether values are equal but for rounding and the slopes say that the step went down.

    The approximate Wolfe condition (Hager and Zhang 2005): for a quadratic it is Armijo's, in terms
    of the slopes at both ends. These are still exact where the difference of the values drowns in
    rounding: that shrinks with the square of the distance to the minimum, they with the distance
    itself. By Armijo's condition alone a search ends at about the square root of the precision.
    """
    same = trial <= origin + noise * origin.abs()
    return same & (end_slope <= (2 * _SUFFICIENT - 1) * start_slope)


def _next_length(low: Tensor, high: Tensor, length: Tensor) -> Tensor:
    """The length to try next: the middle of the bracket, twice the last where it is open."""
    return torch.where(high.isinf(), 2.0 * length, 0.5 * (low + high))


def _at_floor(function: Function, at: _Batch, noise: float) -> tuple[bool, _Batch | None]:
    """Tells whether a stalled problem is at the floor of rounding or above it.

    Little progress shows neither: with few pairs in its memory L-BFGS can crawl along a valley, and
    its approximation of the Hessian is too steep (it put the distance to the minimum of
    ill-conditioned logistic problems 10 to 100 times too low). So Newton's step is asked twice: the
    gradients promise no more than the rounding error of the value along it, and the value itself
    does not fall by more. The second detects gradients that are too small.

    Args:
        function: see ``Function``.
        at: the problem, A = 1.
        noise: see ``minimise``.

    Returns:
        Whether it is at the floor; and where Newton's step ended if it lowered the value.
    """
    step, decrease = _newton(function, at, noise)
    after = _Batch.at(function, at.point + step, at.problem)
    floor = noise * float(at.value.abs())
    if float(after.value) < float(at.value) - floor:
        return False, after
    return decrease <= floor, None


def _newton(function: Function, at: _Batch, noise: float) -> tuple[Tensor, float]:
    """Newton's step ``s = -H^-1 g`` and the decrease that it promises, ``g^T H^-1 g / 2``.

    The decrease is the distance to the minimum of the quadratic model (Boyd and Vandenberghe
    2004, section 9.5.1). The method of conjugate gradients adds it up: each of its steps lowers
    the model by ``length * |r|^2 / 2`` (Hestenes and Stiefel 1952), and what remains is at most
    ``|r|^2 / 2`` over the smallest curvature. That is not known: the smallest met so far is used in
    its place, which is far too large in the first steps. So it ends when a hundredth of the
    decrease remains, or so little beside the floor that a curvature ten thousand times smaller
    changes nothing. (On ill-conditioned logistic problems it is within 5 % of the exact decrease
    where that is near the floor; to end at a tenth of the floor put it up to 160 times too low.)
    Products with the Hessian are differences of gradients (Nocedal and Wright 2006, section 7.1),
    over steps of about the root of the rounding error.

    Args:
        function: see ``Function``.
        at: the problem, A = 1.
        noise: see ``minimise``.

    Returns:
        Step float64 (1, K), and decrease; infinite where the gradient is zero or not a number, or
        the curvature not positive, as a wrong gradient can have it.
    """
    floor = noise * float(at.value.abs())
    span = math.sqrt(max(noise, torch.finfo(at.point.dtype).eps)) * (1.0 + float(at.point.norm()))
    step = torch.zeros_like(at.gradient)
    residual = -at.gradient
    along = residual
    decrease, remaining, smallest = 0.0, math.inf, math.inf
    square = float(residual.square().sum())
    if not square > 0.0:
        return step, math.inf
    for _ in range(_NEWTON_STEPS):
        if remaining <= max(0.01 * decrease, 1e-4 * floor):
            break
        width = span / float(along.norm())
        ahead = _Batch.at(function, at.point + width * along, at.problem)
        hessian_along = (ahead.gradient - at.gradient) / width  # H times along
        curvature = float((along * hessian_along).sum())
        if not curvature > 0.0:
            return step, math.inf
        smallest = min(smallest, curvature / float(along.square().sum()))
        length = square / curvature
        step = step + length * along
        decrease += 0.5 * length * square
        residual = residual - length * hessian_along
        before, square = square, float(residual.square().sum())
        remaining = 0.5 * square / smallest
        along = residual + (square / before) * along
    return step, decrease + remaining
