"""The pretraining loop: MoCo on augmented pairs, with a kNN monitor and exact resume points."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor

from engine import checkpoint as checkpoints
from engine.augment import Augmenter, normalise
from engine.config import OptimConfig, PretrainConfig
from engine.data import Dataset, channel_statistics
from engine.device import Runtime
from engine.errors import DataError, RunError, TrainingError
from engine.fields import flatten
from engine.groupwise import GroupwiseStep
from engine.moco import MoCo, chance_loss
from engine.monitor import measure_knn
from engine.seeds import stream_seed
from engine.sink import Interrupted, Plan, Request, Sink

Outcome = Literal["finished", "stopped", "handed-over"]

# On CUDA the losses are copied to the host in blocks: a copy a step would drain the queue of
# kernels each time.
_CUDA_BLOCK = 64
# Images that a lane augments at a time on a CPU.
_LANE_ROWS = 64


def learning_rate(optim: OptimConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0.

    ``cosine`` is ``lr / 2 * (1 + cos(pi * epoch / epochs))``; ``step`` multiplies by
    ``drop_factor`` from each milestone on.
    """
    if optim.schedule == "cosine":
        return 0.5 * optim.lr * (1.0 + math.cos(math.pi * epoch / optim.epochs))
    return optim.lr * optim.drop_factor ** sum(epoch >= m for m in optim.milestones)


def config_key(config: PretrainConfig) -> str:
    """The part of the configuration that a resume point belongs to, as a text.

    What does not change the numbers (how often things are logged, the device by its name, how
    its kernels are launched, an earlier end) is left out.
    """
    free = (
        "log.",
        "monitor.",
        "runtime.device",
        "runtime.threads",
        "runtime.capture",
        "optim.stop_epoch",
    )
    kept = {key: value for key, value in flatten(config).items() if not key.startswith(free)}
    return json.dumps(kept, sort_keys=True)


def check_batch(config: PretrainConfig, images: int) -> None:
    """Refuses a batch that the training images cannot fill.

    Raises:
        DataError: naming both numbers.
    """
    batch = config.optim.batch_size
    if images < batch:
        raise DataError(
            f"optim.batch_size is {batch}, but there are only {images} training images; "
            "it must not be larger."
        )


class Pretraining:
    """The state of one pretraining and its step.

    Args:
        config: the whole configuration.
        images: ``(N, 3, 32, 32)`` uint8, on any device; moved to the runtime's.
        runtime: where to compute.

    Attributes:
        model: the MoCo model on the device.
        optimizer: SGD over exactly the parameters of ``model.encoder_q``.
        step: steps done.
        steps_per_epoch: whole batches in an epoch; the rest of the images sits out, a different
            rest each epoch.

    Raises:
        DataError: when the images do not fill one batch.
    """

    def __init__(self, config: PretrainConfig, images: Tensor, runtime: Runtime) -> None:
        check_batch(config, len(images))
        self.config = config
        self.runtime = runtime
        device = runtime.device
        seed = config.runtime.seed
        # the default generator belongs to the process: initialisation and dropout draw from it
        torch.manual_seed(stream_seed(seed, "default"))
        self.model = MoCo(config.model, config.moco).to(device)
        self.model = self.model.to(memory_format=torch.channels_last)
        self.model.train()
        optim = config.optim
        self.optimizer = torch.optim.SGD(
            list(self.model.encoder_q.parameters()),
            lr=optim.lr,
            momentum=optim.sgd_momentum,
            weight_decay=optim.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.images = images.to(device)
        mean, std = channel_statistics(images)
        self.mean, self.std = mean.to(device), std.to(device)
        self.augmenter = Augmenter(config.augment)
        self.augment_generator = torch.Generator(device)
        self.augment_generator.manual_seed(stream_seed(seed, "augment"))
        self.shuffle_generator = torch.Generator(device)
        self.shuffle_generator.manual_seed(stream_seed(seed, "shuffle"))
        self._groupwise: GroupwiseStep | None = None
        if device.type == "cpu" and config.model.bn_splits >= runtime.threads:
            dtype = torch.bfloat16 if runtime.bfloat16 else torch.float32
            self._groupwise = GroupwiseStep(self.model, threads=runtime.threads, dtype=dtype)
        self.step = 0
        self.steps_per_epoch = len(images) // optim.batch_size
        self._order: Tensor | None = None
        self._order_epoch = -1

    @property
    def epoch(self) -> int:
        """The epoch that the next step belongs to, from 0."""
        return self.step // self.steps_per_epoch

    def advance(self) -> Tensor:
        """One step of SGD on one batch of pairs.

        Momentum update, both losses, backward, SGD, and only then the keys enter the queue: no
        query meets its own other view (arXiv:1911.05722, algorithm 1).

        Returns:
            The loss, a float32 scalar on the device, without a graph.
        """
        view_1, view_2 = self._views(self._batch())
        self.model.update_keys()
        if self._groupwise is not None:
            loss, keys = self._groupwise.backward(view_1, view_2, self.shuffle_generator)
        else:
            with torch.autocast(
                self.runtime.device.type, dtype=torch.bfloat16, enabled=self.runtime.bfloat16
            ):
                loss, keys = self.model.loss(view_1, view_2, self.shuffle_generator)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.model.enqueue(keys)
        self.step += 1
        return loss.detach()

    def _views(self, images: Tensor) -> tuple[Tensor, ...]:
        """Two augmented, normalised views ``(B, 3, 32, 32)`` of uint8 images, channels_last."""
        both = torch.cat([images, images])
        draw = self.augmenter.draw(len(both), self.augment_generator, images.device)
        if self._groupwise is None:
            views = normalise(self.augmenter.apply(both, draw), self.mean, self.std)
            return views.contiguous(memory_format=torch.channels_last).chunk(2)
        views = torch.empty(both.shape).contiguous(memory_format=torch.channels_last)

        def augment(lane: int, start: int) -> None:  # noqa: ARG001 - any lane serves
            rows = slice(start, start + _LANE_ROWS)
            part = self.augmenter.apply(both[rows], draw.index(rows))
            views[rows] = normalise(part, self.mean, self.std)

        self._groupwise.lanes.map(augment, range(0, len(both), _LANE_ROWS))
        return views.chunk(2)

    def close(self) -> None:
        """Ends the threads of its own."""
        if self._groupwise is not None:
            self._groupwise.close()

    def _batch(self) -> Tensor:
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if self._order is None or self._order_epoch != epoch:
            generator = torch.Generator(self.runtime.device)
            generator.manual_seed(stream_seed(self.config.runtime.seed, "order", epoch))
            self._order = torch.randperm(
                len(self.images), generator=generator, device=self.runtime.device
            )
            self._order_epoch = epoch
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.config.optim, epoch)
        batch = self.config.optim.batch_size
        return self.images[self._order[place * batch : (place + 1) * batch]]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as tensors and builtin values."""
        return {
            "kind": "pretrain",
            "config": config_key(self.config),
            "model_config": msgspec.to_builtins(self.config.model),
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "mean": self.mean,
            "std": self.std,
            "generators": {
                "default": torch.get_rng_state(),
                "cuda": (
                    torch.cuda.get_rng_state(self.runtime.device)
                    if self.runtime.device.type == "cuda"
                    else None
                ),
                "augment": self.augment_generator.get_state(),
                "shuffle": self.shuffle_generator.get_state(),
            },
            "device_type": self.runtime.device.type,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what ``state_dict`` gave.

        Raises:
            RunError: when it belongs to another configuration or kind of device.
        """
        _check_same(state, self.config, self.steps_per_epoch, self.runtime)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        self.mean = state["mean"].to(self.runtime.device)
        self.std = state["std"].to(self.runtime.device)
        generators = state["generators"]
        torch.set_rng_state(generators["default"])
        if generators["cuda"] is not None:
            torch.cuda.set_rng_state(generators["cuda"], self.runtime.device)
        self.augment_generator.set_state(generators["augment"])
        self.shuffle_generator.set_state(generators["shuffle"])
        self._order_epoch = -1
        self._order = None


def _check_same(
    state: dict[str, Any], config: PretrainConfig, steps_per_epoch: int, runtime: Runtime
) -> None:
    if state.get("kind") != "pretrain":
        raise RunError("The checkpoint is not one of a pretraining; it cannot be resumed as one.")
    if state["config"] != config_key(config):
        ours, theirs = json.loads(config_key(config)), json.loads(state["config"])
        key = next((k for k in ours if theirs.get(k) != ours[k]), "its configuration")
        raise RunError(
            f"The checkpoint is from another configuration ({key} is {theirs.get(key)} there and "
            f"{ours.get(key)} in the record); resume it with the one it was made with."
        )
    if state["steps_per_epoch"] != steps_per_epoch:
        raise RunError(
            "The training images have changed since the checkpoint was made "
            f"({state['steps_per_epoch']} steps an epoch then, {steps_per_epoch} now); "
            "it cannot be resumed."
        )
    if state["device_type"] != runtime.device.type:
        raise RunError(
            f"The checkpoint was made on {state['device_type']} and the device is now "
            f"{runtime.device.type}; resume it on the same kind of device "
            f"(--device {state['device_type']})."
        )


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
        self.block = _CUDA_BLOCK if runtime.device.type == "cuda" else 1
        self.pending: list[tuple[int, Tensor, float]] = []
        self.epoch_sum, self.epoch_count = 0.0, 0
        self.monitored_step = -1  # the step at which kNN was last measured
        self.saved_step = -1
        self.saved_at = time.monotonic()
        self.chance = chance_loss(config.moco.queue_size, config.moco.symmetric)

    def load(self, state: dict[str, Any]) -> None:
        self.training.load_state_dict(state)
        self.epoch_sum, self.epoch_count = float(state["epoch_sum"]), int(state["epoch_count"])
        self.monitored_step = int(state["monitored_step"])
        self.saved_step = self.training.step

    def run(self) -> Outcome:
        training, sink = self.training, self.sink
        sink.plan(self._plan())
        try:
            if self.monitored_step < 0:
                self._monitor()  # the untrained encoder: what kNN has to rise from
            elif self._monitor_due():
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
            },
        )

    def _step(self) -> None:
        training = self.training
        lr_epoch = training.epoch
        loss = training.advance()
        self.pending.append((training.step, loss, learning_rate(self.config.optim, lr_epoch)))
        end_of_epoch = training.step % training.steps_per_epoch == 0
        if end_of_epoch or len(self.pending) >= self.block:
            self._flush()
        if end_of_epoch:
            if self._monitor_due():
                self._monitor()
            every = self.config.log.checkpoint_epochs
            if every and training.epoch % every == 0:
                self._save()
        if time.monotonic() - self.saved_at >= self.config.log.checkpoint_seconds:
            self._flush()
            self._save()

    def _flush(self) -> None:
        """Hands the losses since the last flush to the sink; the mean at the end of an epoch."""
        if not self.pending:
            return
        training = self.training
        losses = torch.stack([loss for _, loss, _ in self.pending]).double().cpu().tolist()
        for (step, _, lr), loss in zip(self.pending, losses, strict=True):
            values = {"train/loss": loss, "train/lr": lr}
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
        self.pending.clear()

    def _monitor_due(self) -> bool:
        training, every = self.training, self.config.monitor.knn_every
        if training.step % training.steps_per_epoch or training.step == self.monitored_step:
            return False
        return bool(every) and (training.epoch % every == 0 or training.step == self.total_steps)

    def _monitor(self) -> None:
        """Weighted kNN on the images whose labels are withheld from the bank."""
        training, monitor = self.training, self.config.monitor
        if monitor.knn_every and self.dataset.train.labelled:
            values = measure_knn(
                training.model.encoder_q,
                self.dataset,
                self.config,
                mean=training.mean,
                std=training.std,
                device=self.runtime.device,
                untrained=training.step == 0,
                sink=self.sink,
            )
            if values:
                self.sink.metrics(training.step, training.step / training.steps_per_epoch, values)
        self.monitored_step = training.step
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
