"""Whether the supervised baseline was trained for long enough: would twice the epochs do better?

A cosine schedule ends flat, however short it is, so the end of one curve shows nothing. Compared
are trainings of different length, each with its own cosine to zero: one of a quarter and one of
half the epochs, from the same first weights, on the same images and with the same learning rate,
by their accuracy on the same held-out images. The training whose result is shown is twice as long
again. The baseline has

- **not converged** when the longer one is better by more than the noise of that comparison;
- **converged** when it is not, and the shorter one stands where each doubling gains less than the
  one before: it has 10 epochs or more, and is better than always naming the most frequent class by
  more than two standard errors (trainings of one and two epochs may both have learned nothing yet).

Else it is not known.

The noise is two standard errors of a paired difference. With ``b`` images that only the longer
training has right and ``c`` that only the shorter one has right, of ``n``, the gain is
``(b - c) / n`` and its standard error ``sqrt(b + c - (b - c)**2 / n) / n`` (the variance behind
McNemar's test).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

LEAST_HELD_OUT = 100
"""Held-out images; with fewer the noise would call almost every training converged."""
LEAST_EPOCHS = 10
"""Epochs of the shorter training, below which nothing is called converged."""


@dataclass(frozen=True)
class Convergence:
    """The comparison of two trainings of the baseline.

    Attributes:
        epochs: of the shorter and of the longer one.
        top1: percent of the held-out images, of both.
        gain: points by which the longer one is better; may be negative.
        noise: points; two standard errors of the gain.
        images: held-out images.
        majority: percent of them in the most frequent class.
    """

    epochs: tuple[int, int]
    top1: tuple[float, float]
    gain: float
    noise: float
    images: int
    majority: float

    @property
    def converged(self) -> bool | None:
        """Whether twice the epochs would be no better; None where that is not known."""
        if self.gain > self.noise:
            return False
        return True if self.epochs[0] >= LEAST_EPOCHS and self._has_learned else None

    @property
    def _has_learned(self) -> bool:
        """Whether the shorter training is better than always naming the most frequent class."""
        share = self.top1[0] / 100.0
        error = 200.0 * math.sqrt(share * (1.0 - share) / self.images)
        return self.top1[0] - self.majority > error

    def figures(self) -> dict[str, Any]:
        """Everything as builtin values, for the row of the result."""
        return {
            "converged": self.converged,
            "epochs": list(self.epochs),
            "top1": list(self.top1),
            "gain": self.gain,
            "noise": self.noise,
            "images": self.images,
            "majority": self.majority,
        }

    def text(self) -> str:
        """The verdict and what it is made from."""
        short, long = self.epochs
        words = {True: "converged", False: "not converged", None: "too short to say if converged"}
        return (
            f"{words[self.converged]}: {long} epochs in place of "
            f"{short} gave {self.gain:+.2f} points on {self.images:,} held-out images (noise "
            f"{self.noise:.2f})"
        )


def paired_gain(first: Tensor, second: Tensor) -> tuple[float, float]:
    """By how many points the second of two classifiers is better, and its standard error.

    Args:
        first: bool (n,), which images the first one has right; n >= 1.
        second: bool (n,), the same of the second one.
    """
    n = len(first)
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    difference = gained - lost
    error = math.sqrt(gained + lost - difference**2 / n) / n
    return 100.0 * difference / n, 100.0 * error


def compare_lengths(
    epochs: tuple[int, int], short: Tensor, long: Tensor, majority: float
) -> Convergence:
    """Compares two trainings of different length.

    Args:
        epochs: of the shorter and of the longer one.
        short: bool (n,), which held-out images the shorter one has right; n >= 1.
        long: bool (n,), the same of the longer one.
        majority: percent of the held-out images in the most frequent class.
    """
    n = len(short)
    gain, error = paired_gain(short, long)
    return Convergence(
        epochs,
        (100.0 * int(short.sum()) / n, 100.0 * int(long.sum()) / n),
        gain,
        2.0 * error,
        n,
        majority,
    )
