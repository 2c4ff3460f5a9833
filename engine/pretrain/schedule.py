"""The learning rate over the epochs of a pretraining."""

from __future__ import annotations

import math

from engine.config.schema import OptimConfig


def learning_rate(optim: OptimConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0.

    ``cosine`` is ``lr / 2 * (1 + cos(pi * epoch / epochs))`` (Loshchilov and Hutter,
    arXiv:1608.03983, eq. 5, one cycle down to 0); ``step`` multiplies by ``drop_factor`` from each
    milestone on (He et al., arXiv:1911.05722, section 4).
    """
    if optim.schedule == "cosine":
        return 0.5 * optim.lr * (1.0 + math.cos(math.pi * epoch / optim.epochs))
    return optim.lr * optim.drop_factor ** sum(epoch >= m for m in optim.milestones)
