"""What the ranks beside rank 0 do in a pretraining: they compute their part of the steps it begins.

Metrics, kNN, checkpoints and requests are rank 0's alone (``engine.pretrain.loop``). All ranks hold
the same state between two steps, so the others have nothing to do meanwhile but to wait.
"""

from __future__ import annotations

import torch

from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.pretrain.online_probe import probe_beside
from engine.pretrain.pretraining import Pretraining, memory_ran_out
from engine.pretrain.rank_step import RankStep
from engine.runtime.device import Runtime


def follow(config: PretrainConfig, *, dataset: Dataset, runtime: Runtime) -> None:
    """Computes steps as rank 0 begins them, until it ends the run.

    Args:
        config: that of rank 0.
        dataset: the images, those of rank 0.
        runtime: where to compute, one of several ranks; ``apply_runtime`` was called.

    Raises:
        ConfigError: the ranks cannot share a batch.
        DataError: the images do not fill a batch.
        TrainingError: a rank is lost, or the memory of this one's device ran out.
    """
    training = Pretraining(config, dataset.train.images, runtime)
    step = training.compute_step
    if not isinstance(step, RankStep):
        raise ValueError("only a rank can follow another one")
    probe_beside(training.state, dataset)  # it is trained by rank 0, on the features of all ranks
    try:
        while True:
            command, shared = step.ranks.next_command()
            if command == "end":
                return
            if command == "share":
                step.take(shared)
            else:
                training.advance()
    except torch.OutOfMemoryError as error:
        raise memory_ran_out(training) from error
