"""Which checkpoints a pretraining keeps beside its last one, and keeping them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config.run_schema import LogConfig
from engine.files import reason
from engine.pretrain.state_check import check_count, check_mapping, check_number
from engine.runs.kept_checkpoints import BEST, Reason, keep, kept_checkpoints, remove_oldest


class Keeper:
    """Keeps the checkpoints of epochs that are due, and that of the best kNN.

    A kept checkpoint is a second name of the last one, made right after that was written and read
    back. What cannot be kept does not end the run: the training does not depend on it.

    Args:
        run: the run folder.
        log: which epochs are kept.
    """

    def __init__(self, run: Path, log: LogConfig) -> None:
        self._run, self._log = run, log
        self._best: float | None = None  # percent, ``knn/top1``
        self._best_step = 0

    def measured(self, step: int, top1: float) -> None:
        """Takes a kNN accuracy of the encoder after so many steps, in percent.

        Of equal ones the first is the best: it has cost the least.
        """
        if math.isfinite(top1) and (self._best is None or top1 > self._best):
            self._best, self._best_step = top1, step

    def due(self, step: int, steps_per_epoch: int) -> list[Reason]:
        """Why the checkpoint of this step, the end of an epoch, is to be kept and is not yet."""
        epoch = step // steps_per_epoch
        wanted: list[Reason] = []
        every = self._log.keep_every
        if every and epoch % every == 0:
            wanted.append("epoch")
        if self._best is not None and self._best_step == step:
            wanted.append("best")
        if not wanted:
            return []
        there = {(one.reason, one.epoch) for one in kept_checkpoints(self._run)}
        return [why for why in wanted if (why, epoch) not in there]

    def keep(self, checkpoint: Path, epoch: int, reasons: list[Reason]) -> str:
        """Keeps the checkpoint that was just saved at the end of an epoch.

        Returns:
            A sentence for the log where that is not possible; empty otherwise.
        """
        try:
            for why in reasons:
                keep(self._run, checkpoint, why, epoch)
        except OSError as error:
            return f"The checkpoint of epoch {epoch} could not be kept: {reason(error)}."
        if self._log.keep_last and "epoch" in reasons:
            remove_oldest(self._run, self._log.keep_last)
        return ""

    def state_dict(self) -> dict[str, Any]:
        """The best kNN so far and its step; empty where there is none."""
        if self._best is None:
            return {}
        return {BEST: {"knn": self._best, "step": self._best_step}}

    def load_state_dict(self, state: Mapping[str, Any], most: int) -> None:
        """Takes ``state_dict`` out of a checkpoint; one of an earlier version has none.

        Args:
            state: the checkpoint.
            most: steps of it.

        Raises:
            DamagedFileError: when it is no such state.
        """
        self._best, self._best_step = None, 0
        if BEST in state:
            best = check_mapping(state[BEST], BEST)
            self._best = check_number(best.get("knn"), f"{BEST}.knn")
            self._best_step = check_count(best.get("step"), most, f"{BEST}.step")
