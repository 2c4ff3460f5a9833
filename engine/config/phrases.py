"""Counts, lists and values in sentences, as protocols and messages write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine.text import plain_text


def listed(parts: Sequence[str], conjunction: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``; empty for no part.

    Args:
        parts: in their order.
        conjunction: before the last part.
    """
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {conjunction} {parts[-1]}"


def plural(count: int, noun: str) -> str:
    """``1 epoch``, ``2,500 epochs``."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def span_words(whole: int) -> str:
    """A time span of whole seconds: ``42 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def training_shortfall(trained: float | None, planned: float | None, converged: bool | None) -> str:
    """What a training from scratch lacks: ``16 of 100 epochs, not converged``; empty for nothing.

    Args:
        trained: epochs; None where they are not known.
        planned: epochs that it was meant to have.
        converged: whether longer training would be no better; None where that was not judged.
    """
    lacks = []
    if trained is not None and planned is not None and trained < planned:
        lacks.append(f"{trained:,.0f} of {planned:,.0f} epochs")
    if converged is False:
        lacks.append("not converged")
    return ", ".join(lacks)


def numbers(values: Sequence[float]) -> str:
    """``4,096 and 16,384``, ``0.01 and 0.1``."""
    return listed([f"{v:,}" if isinstance(v, int) else f"{v:g}" for v in values])


def shown_value(value: Any) -> str:
    """A value as it stands in a message: one line, not long."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or tables within tables
        return "too large to show"
    text = re.sub(r"[\x00-\x1f]", "?", text[:81])  # line ends as well: they must not act
    text = plain_text(text, 81)
    return "empty" if not text else text if len(text) <= 80 else text[:77] + "..."
