"""By how much each row of a probe is better than training from scratch, on the same test images.

Two classifiers of the same images are paired: the interval of their difference comes from the
images that only one of them has right (``engine.probe.supervised_convergence``), and is narrower
than the intervals of both accuracies suggest. It is over the test images and says nothing about
other seeds or subsets.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.evaluate.accuracy import Z_95
from engine.probe.supervised_convergence import paired_gain

SCRATCH = "supervised"
RIGHT = "right"
"""Key of a row while rows are missing: which test images it has right, see ``packed``."""
GAIN = "over_scratch"
"""Key of a row: ``gain`` in points, ``low`` and ``high`` of its 95 % interval."""


def packed(right: Tensor) -> str:
    """Bool (n,) as text that JSON holds, eight images a byte."""
    return base64.b64encode(np.packbits(right.cpu().numpy()).tobytes()).decode("ascii")


def unpacked(text: object, count: int) -> Tensor | None:
    """The bool (count,) that ``packed`` made a text of; None for something else."""
    try:
        data = base64.b64decode(str(text), validate=True)
    except ValueError:
        return None
    if not isinstance(text, str) or len(data) != -(-count // 8):
        return None
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count)
    return torch.from_numpy(bits.astype(np.bool_))


def with_gains(rows: Sequence[Mapping[str, Any]], test_images: int) -> list[dict[str, Any]]:
    """The rows of a whole probe with ``over_scratch`` in place of ``right``.

    Args:
        rows: all of them. A row without ``right`` was made by an earlier version, or has its gain
            already: it stays as it is, and so do all of them without a training from scratch.
        test_images: how many there are.
    """
    text = next((row.get(RIGHT) for row in rows if row["source"] == SCRATCH), None)
    scratch = unpacked(text, test_images)
    made = []
    for row in rows:
        kept = {key: value for key, value in row.items() if key != RIGHT}
        own = unpacked(row.get(RIGHT), test_images)
        if scratch is not None and own is not None and row["source"] != SCRATCH:
            gain, error = paired_gain(scratch, own)
            kept[GAIN] = {"gain": gain, "low": gain - Z_95 * error, "high": gain + Z_95 * error}
        made.append(kept)
    return made
