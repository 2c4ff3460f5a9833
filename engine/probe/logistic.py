"""Multinomial logistic regression to the optimum: the ``logistic`` head of a probe.

The objective is, over the ``n`` images of a problem,

    mean_i( log sum_c exp(z_ic) - z_i,y_i ) + l2 / 2 * sum(W ** 2),    z_i = W x_i + b

with an unpenalised bias. It is that of scikit-learn's ``LogisticRegression`` divided by ``C * n``
with ``C = 1 / (n * l2)``. For two classes scikit-learn fits one vector instead of two: there
``C = 2 / (n * l2)``, its vector is the difference of the two here, and its bias likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.probe.lbfgs import Minimum, minimise
from engine.probe.principal_directions import Spectrum, chunks
from engine.sink import NullSink, Sink, check_interrupt


@dataclass(frozen=True)
class Problem:
    """One regression over shared features.

    Attributes:
        targets: int64 (n,), the class of each row of the features; -1: the row is no part of it.
        classes: number of classes C; each should occur.
        l2: strength of the penalty, > 0.
    """

    targets: Tensor
    classes: int
    l2: float


@dataclass(frozen=True)
class Solution:
    """The optimum of a problem.

    Attributes:
        weight: float64 (C, D).
        bias: float64 (C,), sums to 0.
        objective: value of the objective.
        gradient: its largest gradient entry.
        iterations: of L-BFGS.
        converged: whether ``gradient`` reached the tolerance or ``objective`` the floor of
            float64: no step lowers it by more than its rounding error.
    """

    weight: Tensor
    bias: Tensor
    objective: float
    gradient: float
    iterations: int
    converged: bool

    def logits(self, features: Tensor) -> Tensor:
        """Scores (N, C) of features (N, D), in the features' dtype."""
        return features @ self.weight.T.to(features) + self.bias.to(features)


class _Softmax:
    """The objectives of problems with the same classes, in preconditioned coordinates.

    With ``M = c I + Q (d - c) Q^T``, close to the inverse root of the Hessian, a point is
    ``(V, b')`` with ``W = V M`` and ``b = b' / sqrt(s) - W mean``: the curvature in ``(V, b')``
    is about 1 in all directions. ``Q (D, r)`` are the leading principal directions, ``d (r,)`` the
    inverse roots of the curvature along them, ``c`` that of the mean curvature along all others.
    The curvature is that of equal scores, ``s = 1 / C`` times the covariance plus the penalty.

    Everything is laid out as ``(problem, class, feature or image)``. The products with so few
    columns are up to six times faster this way round on a CPU (63 against 10 GFLOPS).
    """

    def __init__(self, features: Tensor, problems: Sequence[Problem], spectrum: Spectrum) -> None:
        self.features, self.spectrum = features, spectrum
        self.classes = problems[0].classes
        self.width = features.shape[1]
        device = features.device
        targets = torch.stack([p.targets.to(device) for p in problems])  # (P, n)
        self.counts = (targets >= 0).sum(1).double()
        self.excluded = None if bool((targets >= 0).all()) else targets < 0
        self.targets = targets.clamp(min=0)  # any class will do for rows that are masked below
        self.l2 = torch.tensor([p.l2 for p in problems], dtype=torch.float64, device=device)
        softmax_curvature = 1.0 / self.classes  # at equal scores: (I - 1 1^T / C) / C
        along = softmax_curvature * spectrum.values + self.l2.unsqueeze(1)  # (P, r)
        self.scale_along = along.rsqrt()  # d
        self.scale_rest = (softmax_curvature * spectrum.rest + self.l2).rsqrt()  # c, (P,)
        self.bias_scale = softmax_curvature**-0.5  # the bias has no penalty
        self.dtype = features.dtype

    def _precondition(self, block: Tensor, along: Tensor, rest: Tensor) -> Tensor:
        """``c I + Q (d - c) Q^T`` with d (A, r) and c (A,) times ``block``: float64 (A, C, D)."""
        basis = self.spectrum.basis
        inner = (block.reshape(-1, self.width) @ basis).view(*block.shape[:2], -1)  # (A, C, r)
        inner *= (along - rest.unsqueeze(1)).unsqueeze(1)
        part = (inner.view(-1, inner.shape[2]) @ basis.T).view(block.shape)  # (A, C, D)
        return part.addcmul_(block, rest.view(-1, 1, 1))

    def start(self, solutions: Sequence[Solution | None]) -> Tensor:
        """The points (P, K) of earlier solutions; of zero weights where there is none."""
        weight = torch.zeros(
            len(solutions), self.classes, self.width, dtype=torch.float64, device=self.l2.device
        )
        bias = weight.new_zeros(len(solutions), self.classes)
        for i, solution in enumerate(solutions):
            if solution is not None:
                weight[i], bias[i] = solution.weight.to(weight), solution.bias.to(bias)
        bias = (bias + weight @ self.spectrum.mean) / self.bias_scale
        # M has the inverse c^-1 I + Q (d^-1 - c^-1) Q^T, since Q is orthonormal.
        inner = self._precondition(weight, 1.0 / self.scale_along, 1.0 / self.scale_rest)
        return torch.cat([inner.flatten(1), bias], dim=1)

    def parameters(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (A, C, D) and biases (A, C) of points (A, K) of the problems ``which``."""
        size = self.classes * self.width
        block = points[:, :size].reshape(-1, self.classes, self.width)
        weight = self._precondition(block, self.scale_along[which], self.scale_rest[which])
        bias = points[:, size:] * self.bias_scale - weight @ self.spectrum.mean
        return weight, bias

    def __call__(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values (A,), gradients (A, K) and largest gradient entries of W and b (A,)."""
        count, classes = len(points), self.classes
        weight, bias = self.parameters(points, which)
        flat = weight.view(-1, self.width).to(self.dtype)
        shift = bias.to(self.dtype).unsqueeze(2)
        # While no problem has left the batch, ``which`` is all of them: no copy of the targets.
        complete = count == len(self.l2)
        targets = self.targets if complete else self.targets[which]
        excluded = self.excluded if self.excluded is None or complete else self.excluded[which]
        loss = points.new_zeros(count)
        grad_weight = points.new_zeros(count * classes, self.width)
        grad_bias = points.new_zeros(count, classes)
        row = 0
        for part in chunks(self.features):
            rows = slice(row, row + len(part))
            row += len(part)
            part = part.to(self.dtype)
            truth = targets[:, rows].unsqueeze(1)  # (A, 1, m)
            scores = (flat @ part.T).view(count, classes, -1).add_(shift)  # (A, C, m)
            total = scores.logsumexp(1, keepdim=True)  # (A, 1, m)
            losses = total - scores.gather(1, truth)  # (A, 1, m)
            # Gradient of a loss towards its scores: the softmax, less 1 at the true class.
            errors = scores.sub_(total).exp_()  # (A, C, m)
            errors.scatter_add_(1, truth, losses.new_full(losses.shape, -1.0))
            if excluded is not None:
                losses.masked_fill_(excluded[:, rows].unsqueeze(1), 0.0)
                errors.masked_fill_(excluded[:, rows].unsqueeze(1), 0.0)
            # Products are in the type of the features, sums over the chunks in float64.
            loss += losses.sum((1, 2), dtype=torch.float64)
            grad_weight += errors.view(count * classes, -1) @ part
            grad_bias += errors.sum(2, dtype=torch.float64)
        counts, l2 = self.counts[which].unsqueeze(1), self.l2[which]
        value = loss / counts.squeeze(1) + 0.5 * l2 * weight.square().sum((1, 2))
        grad_bias /= counts
        by_weight = (grad_weight.view(weight.shape) / counts.unsqueeze(2)).addcmul_(
            weight, l2.view(-1, 1, 1)
        )
        # Convergence is measured in W and b, whatever the preconditioner.
        size = torch.maximum(by_weight.abs().amax((1, 2)), grad_bias.abs().amax(1))
        # The chain rule of ``parameters``: b depends on W through the mean of the features.
        by_weight.sub_(grad_bias.unsqueeze(2) * self.spectrum.mean)
        inner = self._precondition(by_weight, self.scale_along[which], self.scale_rest[which])
        gradient = torch.cat([inner.flatten(1), grad_bias * self.bias_scale], dim=1)
        return value, gradient, size

    def minimise(
        self, start: Tensor, max_iter: int, tolerance: float, step: Callable[[int], None]
    ) -> Minimum:
        """The minima from ``start`` (P, K), in the features' type and, if need be, in float64."""
        if self.dtype == torch.float64:
            return minimise(
                self, start, max_iter=max_iter, tolerance=tolerance, noise=1e-13, step=step
            )
        end = minimise(
            self,
            start,
            max_iter=max_iter,
            tolerance=tolerance,
            noise=1e-7,
            floor=False,  # at the rounding of float32 a problem goes on in float64, see below
            step=step,
        )
        coarse = (~end.converged & (end.iterations < max_iter)).nonzero().squeeze(1)
        if not len(coarse):
            return end
        self.dtype = torch.float64
        ended = len(start) - len(coarse)
        fine = minimise(
            lambda points, which: self(points, coarse[which]),
            end.point[coarse],
            max_iter=max_iter - int(end.iterations[coarse].max()),
            tolerance=tolerance,
            noise=1e-13,
            step=lambda more: step(ended + more),
        )
        end.point[coarse], end.value[coarse], end.size[coarse] = fine.point, fine.value, fine.size
        end.iterations[coarse] += fine.iterations
        end.converged[coarse] = fine.converged
        return end


def solve_many(
    features: Tensor,
    problems: Sequence[Problem],
    *,
    max_iter: int = 1000,
    tolerance: float = 1e-5,
    starts: Sequence[Solution | None] | None = None,
    spectrum: Spectrum | None = None,
    sink: Sink | None = None,
) -> list[Solution]:
    """Solves problems over the same features together.

    Problems with the same number of classes form one batch: one product with the features serves
    them all, so ten strengths cost about as much as the slowest two or three alone. Rows that no
    problem uses cost as much as any: gather the rows first where the problems share few.

    Args:
        features: float32 or float64 (n, D), best standardised. The products are computed in this
            type, everything else in float64; where float32 is too coarse to reach the tolerance
            (gradients of about 1e-6), the last iterations are done in float64.
        problems: any number.
        max_iter: iterations of a problem.
        tolerance: largest gradient entry, of weights and biases, at which it has converged. One
            below the floor of float64, about 1e-10 for weak penalties of correlated features,
            costs iterations: see ``Solution.converged``.
        starts: where to begin, for each problem; None: at zero.
        spectrum: of these features or of features like them; None: computed here.
        sink: receives how many problems have ended, and is asked once an iteration whether to stop.

    Returns:
        The solutions in the order of the problems.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    if features.device.type == "mps":  # has no float64
        features = features.cpu()
    if spectrum is None:
        spectrum = Spectrum.of(features)
    solutions: dict[int, Solution] = {}

    def step(ended: int) -> None:
        check_interrupt(sink)
        sink.progress("solving", len(solutions) + ended, len(problems))

    for classes in sorted({problem.classes for problem in problems}):
        numbers = [i for i, problem in enumerate(problems) if problem.classes == classes]
        softmax = _Softmax(features, [problems[i] for i in numbers], spectrum)
        start = softmax.start([starts[i] if starts else None for i in numbers])
        end = softmax.minimise(start, max_iter, tolerance, step)
        weights, biases = softmax.parameters(end.point, torch.arange(len(numbers)))
        for row, i in enumerate(numbers):
            solutions[i] = Solution(
                weights[row].clone(),
                biases[row].clone(),
                float(end.value[row]),
                float(end.size[row]),
                int(end.iterations[row]),
                bool(end.converged[row]),
            )
    sink.progress("solving", len(problems), len(problems))
    return [solutions[i] for i in range(len(problems))]


def solve_logistic(
    features: Tensor,
    targets: Tensor,
    classes: int,
    l2: float,
    *,
    max_iter: int = 1000,
    tolerance: float = 1e-5,
    start: Solution | None = None,
    spectrum: Spectrum | None = None,
    sink: Sink | None = None,
) -> Solution:
    """Solves one problem; see ``solve_many``."""
    return solve_many(
        features,
        [Problem(targets, classes, l2)],
        max_iter=max_iter,
        tolerance=tolerance,
        starts=[start],
        spectrum=spectrum,
        sink=sink,
    )[0]
