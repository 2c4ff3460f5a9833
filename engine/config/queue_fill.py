"""How long the queue of a pretraining holds something other than keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def steps_to_fill(config: Mapping[str, Any]) -> int:
    """Steps until the queue holds nothing but keys; it begins with random unit vectors.

    A step puts in the keys of one view, of the symmetric loss those of both; the step after that
    many is the first whose negatives are all keys.

    Args:
        config: of a pretraining, nested, as its record has it; a person may have edited it.

    Returns:
        0 where it does not say.
    """
    moco, optim = config.get("moco"), config.get("optim")
    if not isinstance(moco, Mapping) or not isinstance(optim, Mapping):
        return 0
    size, batch = moco.get("queue_size"), optim.get("batch_size")
    # type: true is no number
    if type(size) is not int or type(batch) is not int or batch < 1:
        return 0
    keys = 2 * batch if moco.get("symmetric") else batch
    return -(-size // keys)
