"""The learning rate and the momentum of the key encoder over the steps of a pretraining."""

from __future__ import annotations

import math

from engine.config.moco_schema import MocoConfig
from engine.config.optim_schema import OptimConfig


def trained_epochs(optim: OptimConfig) -> int:
    """The epochs that a pretraining takes: those of its schedule, or up to ``stop_epoch``."""
    return optim.stop_epoch or optim.epochs


def learning_rate(optim: OptimConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step.

    In the first ``warmup_epochs`` it rises by equal parts from step to step, up to ``lr`` in their
    last one (Goyal et al., arXiv:1706.02677, section 2.2). Then it is the same in all steps of an
    epoch, counted from 0: ``cosine`` is ``lr / 2 * (1 + cos(pi * t))`` (Loshchilov and Hutter,
    arXiv:1608.03983, eq. 5, one cycle down to 0), where ``t`` is the share of the epochs behind the
    warm-up that are done; ``step`` multiplies by ``drop_factor`` from each milestone on (He et al.,
    arXiv:1911.05722, section 4), whose epochs count from the start of the training.

    Args:
        optim: the schedule.
        step: steps done before it, from 0.
        steps_per_epoch: at least 1.
    """
    warm = optim.warmup_epochs
    if step < warm * steps_per_epoch:
        return optim.lr * (step + 1) / (warm * steps_per_epoch)
    epoch = step // steps_per_epoch
    if optim.schedule == "cosine":
        done = math.pi * (epoch - warm) / (optim.epochs - warm)
        return 0.5 * optim.lr * (1.0 + math.cos(done))
    return optim.lr * optim.drop_factor ** sum(epoch >= m for m in optim.milestones)


def key_momentum(moco: MocoConfig, optim: OptimConfig, step: int, steps_per_epoch: int) -> float:
    """The momentum m of the key encoder in the update that begins a step.

    ``constant`` is ``moco.momentum``; ``cosine`` rises from it to 1 at the end of the schedule,
    ``1 - (1 - m) * (1 + cos(pi * k / K)) / 2`` in step k of K, counted from 0 (Grill et al.,
    arXiv:2006.07733, section 3.2; MoCo v3, arXiv:2104.02057, takes the same).

    Args:
        moco: the momentum and its schedule.
        optim: its ``epochs`` are the length of the schedule.
        step: steps done before it, from 0.
        steps_per_epoch: at least 1.
    """
    if moco.momentum_schedule == "constant":
        return moco.momentum
    share = step / (optim.epochs * steps_per_epoch)
    return 1.0 - (1.0 - moco.momentum) * (1.0 + math.cos(math.pi * share)) / 2.0
