"""The pretraining loop: MoCo on augmented pairs, with a kNN monitor and exact resume points."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from typing import Any, Literal

import torch

from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.evaluate.knn_monitor import measure_knn
from engine.models.encoder import Encoder
from engine.models.info_nce import chance_loss
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.loss_buffer import Loss, LossBuffer
from engine.pretrain.resume_check import config_key
from engine.pretrain.training_state import Pretraining, check_batch, learning_rate
from engine.runtime.device import Runtime
from engine.sink import Interrupted, Plan, Request, Sink

__all__ = ["Outcome", "Pretraining", "check_batch", "config_key", "learning_rate", "pretrain"]

Outcome = Literal["finished", "stopped", "handed-over"]

# Steps whose losses are read together where the host does not wait for each step.
_BLOCK = 64


def pretrain(
    config: PretrainConfig,
    *,
    dataset: Dataset,
    runtime: Runtime,
    sink: Sink,
    checkpoint: Path,
    state: dict[str, Any] | None = None,
) -> Outcome:
    """Runs a pretraining from its start, or from a resume point, to its end or a request.

    Args:
        config: the configuration.
        dataset: the images; all training images are pretrained on.
        runtime: where to compute; ``apply_runtime`` was called.
        sink: hears the metrics and is asked for requests between steps.
        checkpoint: file of the resume point, replaced as the run goes on.
        state: a loaded resume point to go on from.

    Returns:
        ``finished``, or ``stopped`` or ``handed-over`` as requested.

    Raises:
        DataError: the images do not fill a batch (before the first step).
        RunError: the resume point belongs to something else, or cannot be written.
        TrainingError: the loss is not finite, or the device's memory ran out.
    """
    loop = _Loop(config, dataset, runtime, sink, checkpoint)
    try:
        if state is not None:
            loop.load(state)
        return loop.run()
    finally:
        loop.training.close()


class _Loop:
    """What surrounds the steps: metrics, monitor, resume points, requests."""

    def __init__(
        self,
        config: PretrainConfig,
        dataset: Dataset,
        runtime: Runtime,
        sink: Sink,
        checkpoint: Path,
    ) -> None:
        self.config, self.dataset, self.runtime = config, dataset, runtime
        self.sink, self.checkpoint = sink, checkpoint
        self.training = Pretraining(config, dataset.train.images, runtime)
        last_epoch = config.optim.stop_epoch or config.optim.epochs
        self.total_steps = last_epoch * self.training.steps_per_epoch
        self.losses = LossBuffer(runtime.device, _BLOCK if self.training.static else 1)
        self.epoch_sum, self.epoch_count = 0.0, 0
        # What kNN has to rise from: measured after the first epoch, so that a run shows its first
        # losses at once. Until then it is the model as its seed makes it, also after a resume.
        self.untrained: Encoder | None = None
        if config.monitor.knn_every and dataset.train.labelled:
            self.untrained = copy.deepcopy(self.training.model.encoder_q)
        # The step at which kNN was last measured; -1: not even of the untrained encoder.
        self.monitored_step = -1 if self.untrained is not None else 0
        self.saved_step = -1
        self.saved_at = time.monotonic()
        self.chance = chance_loss(config.moco.queue_size, config.moco.symmetric)

    def load(self, state: dict[str, Any]) -> None:
        self.training.load_state_dict(state)
        self.epoch_sum, self.epoch_count = float(state["epoch_sum"]), int(state["epoch_count"])
        self.monitored_step = int(state["monitored_step"])
        if self.monitored_step >= 0:
            self.untrained = None
        self.saved_step = self.training.step

    def run(self) -> Outcome:
        training, sink = self.training, self.sink
        try:
            notices = training.prepare()
            sink.plan(self._plan())
            for notice in notices:
                sink.log(notice)
            if self._monitor_due():
                self._monitor()  # the run was interrupted between its step and its kNN
            while training.step < self.total_steps:
                outcome = self._answer_requests()
                if outcome is not None:
                    return outcome
                self._step()
            self._flush()
            self._save()
        except Interrupted as interrupted:
            return self._leave(interrupted.request)
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"The memory of {self.runtime.name} ran out at step {training.step + 1}; lower "
                f"optim.batch_size ({self.config.optim.batch_size}) or moco.queue_size "
                f"({self.config.moco.queue_size}), or free the device."
            ) from error
        return "finished"

    def _plan(self) -> Plan:
        parameters = sum(p.numel() for p in self.training.model.encoder_q.parameters())
        return Plan(
            total_steps=self.total_steps,
            steps_per_epoch=self.training.steps_per_epoch,
            start_step=self.training.step,
            pairs_per_step=self.config.optim.batch_size,
            device=self.runtime.name,
            chance=self.chance,
            facts={
                **self.runtime.facts(),
                "train_images": len(self.dataset.train),
                "test_images": len(self.dataset.test) if self.dataset.test else 0,
                "classes": len(self.dataset.class_names),
                "parameters": parameters,
                "step": self.training.way,
            },
        )

    def _step(self) -> None:
        training = self.training
        lr_epoch = training.epoch
        loss = training.advance()
        self.losses.add(training.step, learning_rate(self.config.optim, lr_epoch), loss)
        end_of_epoch = training.step % training.steps_per_epoch == 0
        if end_of_epoch or self.losses.full:
            self._tell(self.losses.turn())
        if end_of_epoch:
            if self._monitor_due():
                self._flush()
                self._monitor()
            every = self.config.log.checkpoint_epochs
            if every and training.epoch % every == 0:
                self._flush()
                self._save()
        if time.monotonic() - self.saved_at >= self.config.log.checkpoint_seconds:
            self._flush()
            self._save()

    def _flush(self) -> None:
        """Hands all losses so far to the sink; waits for the device."""
        self._tell(self.losses.drain())

    def _tell(self, losses: list[Loss]) -> None:
        """Hands losses to the sink, and the mean of an epoch with its last one."""
        training = self.training
        for step, rate, loss in losses:
            values = {"train/loss": loss, "train/lr": rate}
            if not math.isfinite(loss):
                self.sink.metrics(step, step / training.steps_per_epoch, values)
                raise TrainingError(
                    f"The loss became {loss} at step {step} (epoch "
                    f"{(step - 1) // training.steps_per_epoch}); the run stops there and its last "
                    "good checkpoint is kept. A lower optim.lr or a higher moco.temperature "
                    "usually helps."
                )
            self.epoch_sum += loss
            self.epoch_count += 1
            if step % training.steps_per_epoch == 0:
                values["train/epoch_loss"] = self.epoch_sum / self.epoch_count
                self.epoch_sum, self.epoch_count = 0.0, 0
            self.sink.metrics(step, step / training.steps_per_epoch, values)

    def _monitor_due(self) -> bool:
        training, every = self.training, self.config.monitor.knn_every
        if training.step == 0 or training.step % training.steps_per_epoch:
            return False
        if self.untrained is not None:
            return True
        if not every or training.step == self.monitored_step:
            return False
        return training.epoch % every == 0 or training.step == self.total_steps

    def _monitor(self) -> None:
        """Weighted kNN at the end of an epoch; before it, once, that of the untrained encoder."""
        if self.untrained is not None:
            self._measure(self.untrained, 0)
            self.untrained = None
        if self._monitor_due():
            self._measure(self.training.model.encoder_q, self.training.step)

    def _measure(self, encoder: Encoder, step: int) -> None:
        """Tell kNN of an encoder, as of a step, on the images whose labels are withheld."""
        training = self.training
        if self.dataset.train.labelled:
            values = measure_knn(
                encoder,
                self.dataset,
                self.config,
                mean=training.mean,
                std=training.std,
                device=self.runtime.device,
                untrained=step == 0,
                sink=self.sink,
            )
            if values:
                self.sink.metrics(step, step / training.steps_per_epoch, values)
        self.monitored_step = step
        self.saved_step = -1  # a resume point of this step, if there is one, does not know it yet

    def _save(self) -> None:
        if self.training.step != self.saved_step:
            state = self.training.state_dict()
            state |= {
                "epoch_sum": self.epoch_sum,
                "epoch_count": self.epoch_count,
                "monitored_step": self.monitored_step,
            }
            # a new stage puts the metric log on disk first: it never lacks a step of a checkpoint
            self.sink.progress("checkpoint", 0, 1)
            checkpoints.save(self.checkpoint, state)
            self.saved_step = self.training.step
            self.sink.checkpointed(self.training.step)
            self.sink.progress("checkpoint", 1, 1)
        self.saved_at = time.monotonic()

    def _answer_requests(self) -> Outcome | None:
        request = self.sink.request()
        while request is not None:
            step = self.training.step
            if request in ("stop", "hand-over"):
                return self._leave(request)
            if request == "checkpoint":
                self._flush()
                self._save()
                self.sink.acknowledge("checkpoint", step)
            elif request == "pause":
                outcome = self._pause()
                if outcome is not None:
                    return outcome
            else:  # "continue" while it is running: nothing to do
                self.sink.acknowledge("continue", step)
            request = self.sink.request()
        return None

    def _pause(self) -> Outcome | None:
        self._flush()
        self._save()  # a paused run that is killed goes on from here
        self.sink.acknowledge("pause", self.training.step)
        while True:
            request: Request | None = self.sink.request()
            if request in ("stop", "hand-over"):
                return self._leave(request)
            if request is not None:
                self.sink.acknowledge(request, self.training.step)
            if request == "continue":
                return None
            time.sleep(0.05)

    def _leave(self, request: Request) -> Outcome:
        self._flush()
        self._save()
        self.sink.acknowledge(request, self.training.step)
        return "stopped" if request == "stop" else "handed-over"
