"""The pretraining loop: steps, and the metrics, kNN, checkpoints and requests between them."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from engine.config.schedule import learning_rate
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.evaluate.knn_monitor import measure_knn
from engine.models.encoder import Encoder
from engine.models.info_nce import chance_loss
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.branch import branched
from engine.pretrain.keeper import Keeper
from engine.pretrain.loss_buffer import Loss, LossBuffer
from engine.pretrain.measures import Measures
from engine.pretrain.online_probe import NO_LABELS, OnlineProbe, probe_beside
from engine.pretrain.pretraining import Pretraining, memory_ran_out
from engine.pretrain.state_check import check_count, check_number
from engine.pretrain.training_state import check_batch
from engine.runs.data_identity import check_same_data, identity_in
from engine.runtime.device import Runtime
from engine.sink import Interrupted, Plan, Request, Sink

__all__ = ["Outcome", "Pretraining", "check_batch", "pretrain"]

Outcome = Literal["finished", "stopped", "handed-over"]

_PAUSE_SECONDS = 0.05  # between two looks for a request while paused


def pretrain(
    config: PretrainConfig,
    *,
    dataset: Dataset,
    runtime: Runtime,
    sink: Sink,
    checkpoint: Path,
    state: dict[str, Any] | None = None,
    allow_other_data: bool = False,
    start: Mapping[str, Any] | None = None,
) -> Outcome:
    """Runs a pretraining from its start, or from a checkpoint, to its end or a request.

    Args:
        config: the configuration.
        dataset: the images; all training images are pretrained on.
        runtime: where to compute; ``apply_runtime`` was called.
        sink: receives the metrics, and is asked for requests between steps.
        checkpoint: the file, replaced at each checkpoint.
        state: a loaded checkpoint to continue from; None: from the first step.
        allow_other_data: continue also where ``dataset`` is not the checkpoint's.
        start: a loaded checkpoint of another run to begin with, see ``engine.pretrain.branch``;
            None: begin anew.

    Returns:
        ``finished``, or ``stopped`` or ``handed-over`` as requested.

    Raises:
        DataError: the images do not fill a batch (before the first step).
        OtherDataError: the checkpoint belongs to other images or labels.
        RunError: the checkpoint belongs to something else, or cannot be written.
        TrainingError: the loss is not finite, or the device's memory ran out.
    """
    loop = _Loop(config, dataset, runtime, sink, checkpoint)
    try:
        if state is not None:
            loop.load(state, allow_other_data=allow_other_data)
        elif start is not None:
            loop.begin_from(start)
        return loop.run()
    except Interrupted as interrupted:  # during a kNN or a checkpoint
        return loop.leave(interrupted.request)
    except torch.OutOfMemoryError as error:
        raise memory_ran_out(loop.training) from error
    finally:
        loop.training.close()


class _Loop:
    """The loop over steps, and what it has to remember between them."""

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
        self.state = self.training.state
        self.total_steps = self.training.total_steps
        self.losses = LossBuffer(runtime.device, ahead=self.state.static)
        # Before the step is compiled or recorded: it writes features for the probe.
        self.probe = probe_beside(self.state, dataset)
        self.lacking = [NO_LABELS] if config.monitor.online_probe and self.probe is None else []
        self.beside: list[Measures | OnlineProbe] = [] if self.probe is None else [self.probe]
        self.measures: Measures | None = None
        if config.monitor.measures:
            self.measures = Measures(self.state, self.total_steps)
            self.beside.append(self.measures)
        self.epoch_sum, self.epoch_count = 0.0, 0  # of the losses reported in this epoch
        # The baseline of kNN is measured after the first epoch, so that a run shows its first
        # losses at once. Until then the encoder as initialised by the seed is kept, also when a
        # run is resumed before that.
        self.untrained: Encoder | None = None
        if config.monitor.knn_every and dataset.train.labelled:
            self.untrained = copy.deepcopy(self.state.model.encoder_q)
        # The step of the last kNN; -1: not even the baseline was measured.
        self.monitored_step = -1 if self.untrained is not None else 0
        self.saved_step = -1  # of the last checkpoint; -1: there is none, or it is out of date
        self.saved_at = time.monotonic()
        self.keeper = Keeper(checkpoint.parent, config.log)

    def load(self, state: dict[str, Any], *, allow_other_data: bool) -> None:
        """Continues from a checkpoint.

        Raises:
            DamagedFileError: when it is no state that this run can have.
            OtherDataError: when it belongs to other images or labels, and that is not allowed.
            RunError: when it belongs to something else.
        """
        other_data = check_same_data(
            identity_in(state.get("data")),
            self.dataset.identity,
            whose="the checkpoint",
            test=False,
            allowed=allow_other_data,
        )
        self.training.load_state_dict(state)
        self.epoch_sum = check_number(state.get("epoch_sum"), "epoch_sum")
        most = self.state.steps_per_epoch
        self.epoch_count = check_count(state.get("epoch_count"), most, "epoch_count")
        measured = state.get("monitored_step")
        self.monitored_step = check_count(measured, self.state.step, "monitored_step", least=-1)
        if self.monitored_step >= 0:
            self.untrained = None
        self.keeper.load_state_dict(state, self.state.step)
        # Other labels are learned anew; a run that had no probe begins with one here.
        if self.probe is not None and not other_data and "online_probe" in state:
            self.probe.load_state_dict(state["online_probe"])
        if self.measures is not None and not other_data:
            self.measures.load_state_dict(state.get("measures", {}))  # there were none before
        # With other data the checkpoint is of another run of steps, and is saved anew at once.
        self.saved_step = -1 if other_data else self.state.step

    def begin_from(self, start: Mapping[str, Any]) -> None:
        """Begins with the state of another run; the kNN of the untrained encoder stays to be taken.

        Raises:
            DamagedFileError: when it is no state that this run can have.
        """
        made = branched(start, self.training.state_dict(), self.config)
        self.load({**made.state, "data": self.dataset.identity.facts()}, allow_other_data=False)
        self.saved_step = -1
        for notice in made.notices:
            self.sink.log(notice)

    def run(self) -> Outcome:
        """The loop over steps; see ``pretrain``."""
        config, state, sink = self.config, self.state, self.sink
        # Before the plan, which says how steps are computed.
        notices = [*self._prepare(), *self.lacking]
        sink.plan(self._plan())
        for notice in notices:
            sink.log(notice)
        if self._monitor_due():  # the run was interrupted between an epoch and its kNN
            self._monitor()
        if state.step and self.saved_step < 0:
            self._save()  # of a run that goes on from another's, so that it has one of its own
        if state.step and state.step % state.steps_per_epoch == 0:
            self._keep(anew=True)  # or between its kNN and what was to be kept of it

        while state.step < self.total_steps:
            outcome = self._answer_requests()
            if outcome is not None:
                return outcome

            rate = learning_rate(config.optim, state.step, state.steps_per_epoch)
            loss = self.training.advance()
            self.losses.add(state.step, rate, loss)
            for each in self.beside:
                each.after_step()
            epoch_ends = state.step % state.steps_per_epoch == 0
            # Reading a loss waits for the device, so they are read in blocks; an epoch ends one
            # early, so that its mean is not reported late.
            if epoch_ends or self.losses.full:
                self._report(self.losses.read_block())

            if epoch_ends and self._monitor_due():
                self._monitor()
            if self._checkpoint_due(epoch_ends):
                self._save()
            if epoch_ends:
                self._keep()

        self._save()
        # It was read back. Of a run that has ended a second one would only take room, for ever.
        checkpoints.remove_previous(self.checkpoint)
        return "finished"

    def _prepare(self) -> list[str]:
        """Makes the steps ready; says first what was chosen, since compiling may take a minute."""
        if self.state.static and self.training.choice.why:
            self.sink.log(self.training.choice.words)
        return self.training.prepare()

    def _plan(self) -> Plan:
        state = self.state
        return Plan(
            total_steps=self.total_steps,
            steps_per_epoch=state.steps_per_epoch,
            start_step=state.step,
            pairs_per_step=self.config.optim.batch_size,
            device=self.runtime.name,
            data=self.dataset.identity.facts(),
            chance=chance_loss(self.config.moco.queue_size, self.config.moco.symmetric),
            facts={
                **self.runtime.facts(),
                "train_images": len(self.dataset.train),
                "test_images": len(self.dataset.test) if self.dataset.test else 0,
                "classes": len(self.dataset.class_names),
                "parameters": sum(p.numel() for p in state.model.encoder_q.parameters()),
                "step": self.training.compute_step.kind,
            },
        )

    def _report(self, losses: list[Loss]) -> None:
        """Hands losses to the sink, and the mean of an epoch with its last one.

        Raises:
            TrainingError: when one is not finite.
        """
        steps_per_epoch = self.state.steps_per_epoch
        for step, lr, loss in losses:
            values = {"train/loss": loss, "train/lr": lr}
            if not math.isfinite(loss):
                self.sink.metrics(step, step / steps_per_epoch, values)
                raise TrainingError(
                    f"The loss became {loss} at step {step} (epoch "
                    f"{(step - 1) // steps_per_epoch}); the run stops there and its last "
                    "good checkpoint is kept. A lower optim.lr or a higher moco.temperature "
                    "usually helps."
                )
            self.epoch_sum += loss
            self.epoch_count += 1
            if step % steps_per_epoch == 0:
                values["train/epoch_loss"] = self.epoch_sum / self.epoch_count
                self.epoch_sum, self.epoch_count = 0.0, 0
            self.sink.metrics(step, step / steps_per_epoch, values)
        self._report_measures(wait=False)

    def _report_measures(self, *, wait: bool) -> None:
        for step, values in (found for each in self.beside for found in each.read(wait=wait)):
            self.sink.metrics(step, step / self.state.steps_per_epoch, values)

    def _report_all(self) -> None:
        """Hands all losses and measures so far to the sink; waits for the device."""
        self._report(self.losses.read_all())
        self._report_measures(wait=True)

    def _monitor_due(self) -> bool:
        """Whether kNN is to be measured at this step, the end of an epoch."""
        state, every = self.state, self.config.monitor.knn_every
        if state.step == 0 or state.step % state.steps_per_epoch:
            return False
        if self.untrained is not None:
            return True
        if not every or state.step == self.monitored_step:
            return False
        return state.epoch % every == 0 or state.step == self.total_steps

    def _monitor(self) -> None:
        """Weighted kNN at the end of an epoch; before it, once, that of the untrained encoder."""
        self._report_all()
        if self.untrained is not None:
            self._measure(self.untrained, 0)
            self.untrained = None
        if self._monitor_due():  # the baseline alone may have been due
            self._measure(self.state.model.encoder_q, self.state.step)

    def _measure(self, encoder: Encoder, step: int) -> None:
        """Reports kNN of an encoder as of a step, on the images whose labels are withheld."""
        state = self.state
        if self.dataset.train.labelled:
            values = measure_knn(
                encoder,
                self.dataset,
                self.config,
                mean=state.mean,
                std=state.std,
                device=self.runtime.device,
                untrained=step == 0,
                sink=self.sink,
                kernels=self.runtime.kernels,
            )
            if values:
                self.sink.metrics(step, step / state.steps_per_epoch, values)
                if step:
                    self.keeper.measured(step, values["knn/top1"])
        self.monitored_step = step
        self.saved_step = -1  # a checkpoint of this very step does not hold monitored_step yet

    def _keep(self, *, anew: bool = False) -> None:
        """Keeps the checkpoint of this step, the end of an epoch, where that is due.

        Args:
            anew: save it first in any case: the file may be of another step.
        """
        step, per_epoch = self.state.step, self.state.steps_per_epoch
        reasons = self.keeper.due(step, per_epoch)
        if reasons:
            if anew:
                self.saved_step = -1
            self._save()
            problem = self.keeper.keep(self.checkpoint, step // per_epoch, reasons)
            if problem:
                self.sink.log(problem)

    def _checkpoint_due(self, epoch_ends: bool) -> bool:
        log = self.config.log
        if time.monotonic() - self.saved_at >= log.checkpoint_seconds:
            return True
        every = log.checkpoint_epochs
        return bool(epoch_ends and every and self.state.epoch % every == 0)

    def _save(self) -> None:
        """Writes a checkpoint, unless that of this step is up to date."""
        self._report_all()  # the checkpoint holds the sum of the epoch's losses so far
        if self.state.step != self.saved_step:
            state = self.training.state_dict()
            state |= {
                "epoch_sum": self.epoch_sum,
                "epoch_count": self.epoch_count,
                "monitored_step": self.monitored_step,
                "data": self.dataset.identity.facts(),
                **self.keeper.state_dict(),
            }
            if self.probe is not None:
                state["online_probe"] = self.probe.state_dict()
            if self.measures is not None:
                state["measures"] = self.measures.state_dict()
            # A new stage flushes the metric log to disk, so that it never lacks steps that a
            # checkpoint has: a resumed run does not compute these again.
            self.sink.progress("checkpoint", 0, 1)
            checkpoints.save(self.checkpoint, state)
            self.saved_step = self.state.step
            self.sink.checkpointed(self.state.step)
            self.sink.progress("checkpoint", 1, 1)
        self.saved_at = time.monotonic()

    def _answer_requests(self) -> Outcome | None:
        """Does what was asked for between two steps; the outcome when the run is to end."""
        request = self.sink.request()
        while request is not None:
            if request in ("stop", "hand-over"):
                return self.leave(request)
            if request == "pause":
                outcome = self._pause()
                if outcome is not None:
                    return outcome
            else:
                if request == "checkpoint":
                    self._save()
                # "continue" while it is running: nothing to do
                self.sink.acknowledge(request, self.state.step)
            request = self.sink.request()
        return None

    def _pause(self) -> Outcome | None:
        """Waits for "continue" (None) or an end; other requests change nothing meanwhile."""
        self._save()  # so that nothing is lost when the paused process is killed
        self.sink.acknowledge("pause", self.state.step)
        while True:
            request = self.sink.request()
            if request in ("stop", "hand-over"):
                return self.leave(request)
            if request is not None:
                self.sink.acknowledge(request, self.state.step)
            if request == "continue":
                return None
            time.sleep(_PAUSE_SECONDS)

    def leave(self, request: Request) -> Outcome:
        """Saves, acknowledges, and ends the run as requested."""
        self._save()
        self.sink.acknowledge(request, self.state.step)
        return "stopped" if request == "stop" else "handed-over"
