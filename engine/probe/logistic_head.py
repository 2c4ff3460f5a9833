"""The ``logistic`` head of a probe: fits by ``logistic_choice`` and reports how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from engine.config.heads.logistic import LogisticConfig
from engine.probe.head import HeadData
from engine.probe.logistic_choice import LogisticFit, fit_logistic
from engine.sink import Sink


@dataclass(frozen=True)
class FittedLogistic:
    """A fit as a ``FittedHead``; see ``engine.probe.head``.

    Attributes:
        fit: the optimum and how its strength was chosen.
        untuned: why nothing was held out and tuned; empty where it was.
    """

    fit: LogisticFit
    untuned: str = ""

    @property
    def protocol(self) -> str:
        """Why the strength was not chosen, for the row; empty where it was."""
        return f"{self.untuned}: the L2 strength {self.fit.l2:g} is fixed" if self.untuned else ""

    @property
    def chosen(self) -> dict[str, Any]:
        """``l2``, ``iterations``, ``gradient`` (largest entry), ``converged``, ``at_edge``, ..."""
        solution = self.fit.solution
        return {
            "l2": self.fit.l2,
            "iterations": solution.iterations,
            "gradient": solution.gradient,
            "converged": solution.converged,
            "at_edge": self.fit.at_edge,
            "candidates": list(self.fit.candidates),
            **({"folds": self.fit.folds} if self.fit.folds else {}),
        }

    def predict(self, features: Tensor) -> Tensor:
        """Classes int64 (N,) of standardised features (N, D)."""
        return self.fit.predict(features)


class LogisticHead:
    """The ``logistic`` head; see ``engine.probe.head.Head``.

    Args:
        config: its settings.
    """

    def __init__(self, config: LogisticConfig) -> None:
        self.config = config

    def reports(self, fit: int, validate: int) -> int:
        """The strength chosen, and the optimum."""
        return 2

    def fit(self, data: HeadData) -> FittedLogistic:
        """Chooses the strength and finds the optimum, see ``fit_logistic``.

        Args:
            data: ``report`` receives ``validation_loss`` and ``validation_top1`` of the strength
                chosen, then ``loss``: the objective at the optimum.

        Raises:
            Interrupted: when the sink asked to stop.
        """
        fitted = fit_to(data, self.config)
        for candidate in fitted.candidates:
            if candidate["l2"] == fitted.l2:
                data.report(
                    {"validation_loss": candidate["loss"], "validation_top1": candidate["top1"]}
                )
        log_troubles(fitted, self.config.tolerance, data.sink)
        data.report({"loss": fitted.solution.objective})
        return FittedLogistic(fitted, data.untuned)


def fit_to(data: HeadData, config: LogisticConfig) -> LogisticFit:
    """The logistic classifier of the labelled features; see ``fit_logistic``."""
    return fit_logistic(
        data.features,
        data.targets,
        data.classes,
        config,
        fit=data.fit,
        validate=data.validate,
        spectrum=data.spectrum(),
        sink=data.sink,
    )


def log_troubles(fitted: LogisticFit, tolerance: float, sink: Sink) -> None:
    """Logs what a reader of the accuracy should know of the fit.

    Args:
        fitted: the fit.
        tolerance: largest gradient entry that the settings ask for.
        sink: receives the lines.
    """
    solution = fitted.solution
    if not fitted.candidates:
        sink.log(f"nothing to choose by: the l2 strength {fitted.l2:g} is taken as it is")
    if fitted.at_edge:
        sink.log(f"the l2 strength {fitted.l2:g} is the last of those to choose from")
    if not solution.converged:
        sink.log(
            f"the logistic head has not converged: largest gradient entry {solution.gradient:.1e} "
            f"after {solution.iterations} iterations"
        )
    elif solution.gradient > tolerance:
        sink.log(
            f"the logistic head is at the floor of float64: largest gradient entry "
            f"{solution.gradient:.1e} where {tolerance:.1e} was asked"
        )
