"""Settings of the ``logistic`` head; the work is in ``engine.probe.logistic_head``."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from engine.config.heads.head_config import HeadConfig
from engine.config.phrases import numbers
from engine.config.registry import Part


class LogisticConfig(HeadConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Logistic regression to the optimum, L-BFGS on cached features."""

    draws_random: ClassVar[bool] = False  # the objective is convex: one optimum, however it starts

    # Half a decade apart; the solver fits all of them at once.
    l2: Annotated[
        tuple[Annotated[float, Meta(gt=0.0, le=1e6)], ...],
        Meta(
            min_length=1,
            description="L2 strengths (over the mean loss), chosen inside the labelled part",
        ),
    ] = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
    # On ten images or twenty the loss of a strength is mostly luck; by folds each label counts.
    folds: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="folds of the cross-validation that chooses the strength where fewer than "
            "100 labelled images would be held out; fewer where a class has fewer labels; 0: none",
        ),
    ] = 5
    max_iter: Annotated[int, Meta(ge=1, le=100_000, description="iterations of L-BFGS")] = 1000
    tolerance: Annotated[
        float, Meta(gt=0.0, lt=1.0, description="largest gradient entry at the optimum")
    ] = 1e-6

    def method(self, chosen: str) -> str:
        """See ``HeadConfig.method``."""
        return f"logistic regression (L-BFGS to the optimum, L2 strength {chosen})"

    def sentence(self) -> str:
        """See ``HeadConfig.sentence``."""
        by_folds = (
            f", by {self.folds}-fold cross-validation on the labelled images where fewer than 100 "
            "of them would be held out"
        )
        return (
            "Logistic head: L-BFGS to the optimum on fixed features, L2 strength from "
            f"{numbers(self.l2)}{by_folds if self.folds else ''}."
        )


LOGISTIC = Part(
    "logistic",
    "the optimum on fixed features",
    "engine.probe.logistic_head:LogisticHead",
    LogisticConfig,
)
