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
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config.schema import LogisticConfig
from engine.probe.lbfgs import Minimum, minimise
from engine.probe.principal_directions import Spectrum, chunks
from engine.sink import NullSink, Sink, check_interrupt

_TOGETHER = 3  # strengths tried at a time


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
    is about 1 in all directions.

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
        self.outside = None if bool((targets >= 0).all()) else targets < 0
        self.targets = targets.clamp(min=0)
        self.l2 = torch.tensor([p.l2 for p in problems], dtype=torch.float64, device=device)
        steepness = 1.0 / self.classes  # of the softmax at equal scores
        curved = steepness * spectrum.values + self.l2.unsqueeze(1)  # (P, r)
        self.along = curved.rsqrt()
        self.across = (steepness * spectrum.rest + self.l2).rsqrt()  # (P,)
        self.bias_scale = steepness**-0.5
        self.dtype = features.dtype

    def _stretch(self, block: Tensor, along: Tensor, across: Tensor) -> Tensor:
        """``c I + Q (d - c) Q^T`` of each problem times its block (C, D)."""
        basis = self.spectrum.basis
        inner = (block.reshape(-1, self.width) @ basis).view(*block.shape[:2], -1)
        inner *= (along - across.unsqueeze(1)).unsqueeze(1)
        part = (inner.view(-1, inner.shape[2]) @ basis.T).view(block.shape)
        return part.addcmul_(block, across.view(-1, 1, 1))

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
        inner = self._stretch(weight, 1.0 / self.along, 1.0 / self.across)
        return torch.cat([inner.flatten(1), bias], dim=1)

    def parameters(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (A, C, D) and biases (A, C) of points (A, K) of the problems ``which``."""
        size = self.classes * self.width
        block = points[:, :size].reshape(-1, self.classes, self.width)
        weight = self._stretch(block, self.along[which], self.across[which])
        bias = points[:, size:] * self.bias_scale - weight @ self.spectrum.mean
        return weight, bias

    def __call__(self, points: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values (A,), gradients (A, K) and largest gradient entries of W and b (A,)."""
        count, classes = len(points), self.classes
        weight, bias = self.parameters(points, which)
        flat = weight.view(-1, self.width).to(self.dtype)
        shift = bias.to(self.dtype).unsqueeze(2)
        everyone = count == len(self.l2)
        targets = self.targets if everyone else self.targets[which]
        outside = self.outside if self.outside is None or everyone else self.outside[which]
        loss = points.new_zeros(count)
        slope_w = points.new_zeros(count * classes, self.width)
        slope_b = points.new_zeros(count, classes)
        row = 0
        for part in chunks(self.features):
            rows = slice(row, row + len(part))
            row += len(part)
            part = part.to(self.dtype)
            truth = targets[:, rows].unsqueeze(1)  # (A, 1, m)
            scores = (flat @ part.T).view(count, classes, -1).add_(shift)
            total = scores.logsumexp(1, keepdim=True)
            missed = total - scores.gather(1, truth)
            share = scores.sub_(total).exp_()
            share.scatter_add_(1, truth, missed.new_full(missed.shape, -1.0))
            if outside is not None:
                missed.masked_fill_(outside[:, rows].unsqueeze(1), 0.0)
                share.masked_fill_(outside[:, rows].unsqueeze(1), 0.0)
            loss += missed.sum((1, 2), dtype=torch.float64)
            slope_w += share.view(count * classes, -1) @ part
            slope_b += share.sum(2, dtype=torch.float64)
        counts, l2 = self.counts[which].unsqueeze(1), self.l2[which]
        value = loss / counts.squeeze(1) + 0.5 * l2 * weight.square().sum((1, 2))
        slope_b /= counts
        by_weight = (slope_w.view(weight.shape) / counts.unsqueeze(2)).addcmul_(
            weight, l2.view(-1, 1, 1)
        )
        size = torch.maximum(by_weight.abs().amax((1, 2)), slope_b.abs().amax(1))
        by_weight.sub_(slope_b.unsqueeze(2) * self.spectrum.mean)
        inner = self._stretch(by_weight, self.along[which], self.across[which])
        gradient = torch.cat([inner.flatten(1), slope_b * self.bias_scale], dim=1)
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
            floor=False,  # that of float32 is no optimum
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
        sink: hears how many problems have ended, and is looked at once an iteration.

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


@dataclass(frozen=True)
class LogisticFit:
    """A logistic head with its strength chosen.

    Attributes:
        solution: the optimum over the whole labelled part.
        l2: its strength.
        candidates: for each strength tried, from strong to weak: ``l2``, ``loss`` and ``top1``
            (percent) on the validation images, ``iterations``, ``converged``; empty when nothing
            could be chosen.
        at_edge: whether the strongest or the weakest of all strengths won over others.
    """

    solution: Solution
    l2: float
    candidates: tuple[dict[str, Any], ...]
    at_edge: bool

    def predict(self, features: Tensor) -> Tensor:
        """Classes int64 (N,) of standardised features (N, D)."""
        return self.solution.logits(features).argmax(dim=1)


def fit_logistic(
    features: Tensor,
    targets: Tensor,
    classes: int,
    config: LogisticConfig,
    *,
    fit: Tensor,
    validate: Tensor,
    spectrum: Spectrum | None = None,
    sink: Sink | None = None,
) -> LogisticFit:
    """Chooses the strength inside the labelled part, then fits the whole of it.

    The strength with the lowest mean cross-entropy on the validation images wins; of equal ones
    the strongest. They are tried from strong to weak, three at a time, until the loss rises: it
    falls and then rises along the strengths, and the weak ones take most of the iterations. (The
    accuracy on few images is too coarse to choose by: with 100 to 2,500 labels of CIFAR-10 it
    cost 0.5 to 1.6 points of test accuracy more than the loss did.)

    Args:
        features: standardised, (n, D), of the labelled part.
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        config: the strengths, and when to stop.
        fit: rows to fit on while choosing.
        validate: rows to choose by; none: the middle strength is taken.
        spectrum: of these features; None: computed here.
        sink: hears the progress and is looked at once an iteration.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    strengths = sorted(set(config.l2), reverse=True)
    options: dict[str, Any] = {"max_iter": config.max_iter, "tolerance": config.tolerance}
    options |= {"sink": sink, "spectrum": spectrum or Spectrum.of(features)}
    targets = targets.to(features.device)
    fit, validate = fit.to(features.device), validate.to(features.device)
    candidates: list[dict[str, Any]] = []
    best, start = len(strengths) // 2, None
    if len(validate) and len(strengths) > 1:
        part, held, truth = features[fit], features[validate].double(), targets[validate]
        warm: Solution | None = None
        solutions: list[Solution] = []
        while len(solutions) < len(strengths):
            batch = strengths[len(solutions) : len(solutions) + _TOGETHER]
            problems = [Problem(targets[fit], classes, l2) for l2 in batch]
            new = solve_many(part, problems, starts=[warm] * len(batch), **options)
            candidates += [
                _candidate(l2, solution, held, truth)
                for l2, solution in zip(batch, new, strict=True)
            ]
            solutions, warm = solutions + new, new[-1]
            best = min(range(len(solutions)), key=lambda i: candidates[i]["loss"])
            if best < len(solutions) - 1:
                break
        start = solutions[best]
    solution = solve_logistic(features, targets, classes, strengths[best], start=start, **options)
    at_edge = bool(candidates) and best in (0, len(strengths) - 1)
    return LogisticFit(solution, strengths[best], tuple(candidates), at_edge)


def _candidate(l2: float, solution: Solution, features: Tensor, truth: Tensor) -> dict[str, Any]:
    """How a strength does on the validation images."""
    scores = solution.logits(features)
    return {
        "l2": l2,
        "loss": float(F.cross_entropy(scores, truth)),
        "top1": 100.0 * float((scores.argmax(1) == truth).double().mean()),
        "iterations": solution.iterations,
        "converged": solution.converged,
    }
