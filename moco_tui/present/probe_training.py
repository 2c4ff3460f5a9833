"""How long the net of a probe's row was trained from scratch, and whether that was long enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.phrases import training_shortfall
from engine.study.legend import SHORTFALL_MARK
from moco_tui.present import fmt

MARK = SHORTFALL_MARK
"""Stands behind a figure whose training was cut or has not converged."""


def shortfall(row: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What the training lacks: ``16 of 100 epochs, not converged``; empty for nothing.

    Args:
        row: of a probe's result; it may be of another version.
        config: of the probe, nested: results of version 0.1 do not say how long the training was
            meant to be.
    """
    return training_shortfall(*_lengths(row, config), _converged(row))


def training_words(row: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The epochs and the verdict in a few words; empty for a row that was not trained.

    Args:
        row: see ``shortfall``.
        config: see ``shortfall``.
    """
    epochs, planned = _lengths(row, config)
    if epochs is None:
        return _tuning_words(row)
    verdict = {True: "converged", False: "not converged", None: ""}[_converged(row)]
    length = training_shortfall(epochs, planned, None) or f"{epochs:,.0f} epochs"
    return f"{length}, {verdict}" if verdict else length


def _tuning_words(row: Mapping[str, Any]) -> str:
    """What a head that trains the encoder did with it; empty for other heads."""
    chosen = _table(row, "chosen")
    tuning = _table(chosen, "tuning")
    lr, epochs = fmt.measured(chosen.get("lr")), fmt.measured(tuning.get("epochs"))
    if lr is None or epochs is None:
        return ""
    return f"{epochs:,.0f} epochs, learning rate {lr:g}" if lr > 0.0 else "left frozen"


def _lengths(
    row: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[float | None, float | None]:
    """The epochs of a training, and those that it was meant to have."""
    budget = _table(row, "budget")
    planned = budget.get("planned_epochs", _table(config, "supervised").get("epochs"))
    return fmt.measured(budget.get("epochs")), fmt.measured(planned)


def _converged(row: Mapping[str, Any]) -> bool | None:
    found = _table(row, "convergence").get("converged")
    return found if isinstance(found, bool) else None


def why(row: Mapping[str, Any]) -> str:
    """What the verdict is made from; empty where there is none."""
    judged = _table(row, "convergence")
    gain, noise = fmt.measured(judged.get("gain")), fmt.measured(judged.get("noise"))
    epochs = judged.get("epochs")
    if gain is None or noise is None or not isinstance(epochs, list) or len(epochs) != 2:
        return ""
    short, long = (fmt.measured(count) or 0.0 for count in epochs)
    return f"{long:,.0f} in place of {short:,.0f}: {gain:+.2f} points, noise {noise:.2f}"


def _table(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = row.get(name)
    return found if isinstance(found, Mapping) else {}
