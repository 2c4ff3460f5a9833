"""The state of a pretraining, and its step."""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor

from engine.augment.augmenter import Augmenter, normalise
from engine.config.schema import OptimConfig, PretrainConfig
from engine.data.dataset import channel_statistics
from engine.errors import DataError
from engine.models.moco import MoCo
from engine.pretrain.groupwise_step import GroupwiseStep
from engine.pretrain.resume_check import check_same, config_key
from engine.runtime.compiled import forget, fused
from engine.runtime.cuda_graph import CapturedStep, CaptureError, preserved, reason, recorder_for
from engine.runtime.device import Runtime
from engine.runtime.worker_threads import single_threaded
from engine.seeds import stream_seed

Way = Literal["plain", "groupwise", "captured", "fused", "fused and captured"]
"""How a step is computed: the whole batch, a BatchNorm group at a time, a replayed graph, and

whether its operations were fused.
"""

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
        static: the shapes of a step do not depend on data, and the host never waits for it.
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
        self._recorder = recorder_for(device, config.runtime.capture)
        self.static = device.type == "cuda" or self._recorder is not None
        self._captured: CapturedStep | None = None
        # the two halves of a step of the whole batch, as written or fused
        self._augment, self._loss = self._augment_pairs, self.model.loss_in_order
        self._fusing = self.static and config.runtime.capture == "fused"
        self._is_fused = False
        optim = config.optim
        self.optimizer = torch.optim.SGD(
            list(self.model.encoder_q.parameters()),
            lr=optim.lr,
            momentum=optim.sgd_momentum,
            weight_decay=optim.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self._rate = optim.lr
        self._rate_on_device = torch.tensor(optim.lr, device=device) if self.static else None
        if self.static:
            self._settle_optimizer()
        self.images = images.to(device)
        mean, std = channel_statistics(images)
        self.mean, self.std = mean.to(device), std.to(device)
        self.augmenter = Augmenter(config.augment)
        self.augment_generator = torch.Generator(device)
        self.augment_generator.manual_seed(stream_seed(seed, "augment"))
        self.own_generators = {
            name: torch.Generator(device).manual_seed(stream_seed(seed, "augment", name))
            for name in self.augmenter.own_streams
        }
        self.shuffle_generator = torch.Generator(device)
        self.shuffle_generator.manual_seed(stream_seed(seed, "shuffle"))
        self._groupwise: GroupwiseStep | None = None
        if not self.static and device.type == "cpu" and config.model.bn_splits >= runtime.threads:
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

    @property
    def way(self) -> Way:
        """How steps are computed; of a step that can be recorded, known once ``prepare`` ran."""
        if self._captured is not None:
            return "fused and captured" if self._is_fused else "captured"
        if self._is_fused:
            return "fused"
        return "plain" if self._groupwise is None else "groupwise"

    def prepare(self) -> list[str]:
        """Fuse and record the step, where that is wanted and has not been done yet.

        Nothing of the state changes. What is not possible is left out from now on.

        Returns:
            Why something was not possible, as sentences for the log.

        Raises:
            torch.OutOfMemoryError: when a plain step does not fit the device.
        """
        return [notice for notice in (self._fuse(), self._record()) if notice]

    def _fuse(self) -> str:
        """Fuse the operations of a step; why that was not possible, or nothing."""
        if not self._fusing:
            return ""
        self._fusing = False
        plain = self._augment, self._loss
        try:
            self._augment, self._loss = fused(self._augment), fused(self._loss)
            with warnings.catch_warnings(), preserved(self._changing(), self._generators()):
                warnings.simplefilter("ignore")  # advice on settings that are ours
                self.compute(self._indices())
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler stumbles in many ways, none of which ends a run
            self._augment, self._loss = plain
            forget()
            return (
                f"The operations of a step could not be fused ({reason(error)}); they are computed "
                "one by one, which is slower."
            )
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        self._is_fused = True
        return ""

    def _record(self) -> str:
        """Record the step; why that was not possible, or nothing."""
        if self._recorder is None or self._captured is not None:
            return ""
        try:
            self._captured = CapturedStep(
                self.compute,
                self._indices(),
                tensors=self._changing(),
                generators=self._generators(),
                recorder=self._recorder,
            )
        except CaptureError as error:
            self._recorder.close()
            self._recorder = None
            return (
                f"The step could not be recorded as a CUDA graph ({error}); its kernels are "
                "launched one by one, which is slower and computes the same."
            )
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        return ""

    def advance(self) -> Tensor:
        """One step of SGD on one batch of pairs, recorded or plain; see ``compute``.

        Returns:
            The loss, a float32 scalar on the device, without a graph.
        """
        self.prepare()
        step = self.compute if self._captured is None else self._captured
        # lanes take the cores; torch's own threads would only be in their way
        with contextlib.nullcontext() if self._groupwise is None else single_threaded():
            loss = step(self._indices())
        self.step += 1
        return loss

    def compute(self, indices: Tensor) -> Tensor:
        """What a step computes and changes, but for the count of steps.

        Momentum update, both losses, backward, SGD, and only then the keys enter the queue: no
        query meets its own other view (arXiv:1911.05722, algorithm 1). On CUDA its shapes never
        depend on data, it never waits for the device, and tensors keep their places: it can be
        recorded.

        Args:
            indices: ``(B,)`` int64, the images of the batch.

        Returns:
            The loss, a float32 scalar on the device, without a graph.
        """
        view_1, view_2 = self._views(self.images.index_select(0, indices))
        self.model.momentum_update()
        if self._groupwise is not None:
            loss, keys = self._groupwise.backward(view_1, view_2, self.shuffle_generator)
        else:
            order = self.model.key_order(view_1, self.shuffle_generator)
            with torch.autocast(
                self.runtime.device.type, dtype=torch.bfloat16, enabled=self.runtime.bfloat16
            ):
                loss, keys = self._loss(view_1, view_2, order)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.model.enqueue(keys)
        return loss.detach()

    def _views(self, images: Tensor) -> tuple[Tensor, ...]:
        """Two augmented, normalised views ``(B, 3, 32, 32)`` of uint8 images, channels_last."""
        numbers = self.augmenter.uniform_numbers(
            2 * len(images), self.augment_generator, self.own_generators
        )
        if self._groupwise is None:
            return self._augment(images, numbers.to(images.device)).chunk(2)
        both = torch.cat([images, images])
        params = self.augmenter.params(numbers)
        views = torch.empty(both.shape).contiguous(memory_format=torch.channels_last)

        def augment(lane: int, start: int) -> None:  # noqa: ARG001 - any lane serves
            rows = slice(start, start + _LANE_ROWS)
            part = self.augmenter.apply(both[rows], params.take(rows))
            views[rows] = normalise(part, self.mean, self.std)

        self._groupwise.lanes.map(augment, range(0, len(both), _LANE_ROWS))
        return views.chunk(2)

    def _augment_pairs(self, images: Tensor, numbers: Tensor) -> Tensor:
        """The two views after one another, ``(2B, 3, 32, 32)``, from uniform random numbers."""
        both = torch.cat([images, images])
        params = self.augmenter.params(numbers)
        augmented = self.augmenter.apply(both, params, dense=True if self.static else None)
        views = normalise(augmented, self.mean, self.std)
        return views.contiguous(memory_format=torch.channels_last)

    def close(self) -> None:
        """Ends the threads of its own, and gives the memory of a recorded step back."""
        if self._captured is not None:
            self._captured.close()
            self._captured = None
        if self._is_fused:
            forget()
        if self._groupwise is not None:
            self._groupwise.close()

    def _batch(self) -> Tensor:
        """The images of the next step, uint8."""
        return self.images.index_select(0, self._indices())

    def _indices(self) -> Tensor:
        """The next step's images, as indices on the device; an epoch begins with its first."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if self._order is None or self._order_epoch != epoch:
            generator = torch.Generator(self.runtime.device)
            generator.manual_seed(stream_seed(self.config.runtime.seed, "order", epoch))
            self._order = torch.randperm(
                len(self.images), generator=generator, device=self.runtime.device
            )
            self._order_epoch = epoch
            self._set_rate(learning_rate(self.config.optim, epoch))
        batch = self.config.optim.batch_size
        return self._order[place * batch : (place + 1) * batch]

    def _set_rate(self, rate: float) -> None:
        self._rate = rate
        if self._rate_on_device is not None:
            self._rate_on_device.fill_(rate)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _settle_optimizer(self) -> None:
        """Put everything that a recorded step of SGD reads where it stays.

        The learning rate lies on the device. The first step finds momentum buffers of zeros, which
        gives what SGD's own first step gives.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate_on_device
            for parameter in group["params"]:
                state = self.optimizer.state[parameter]
                if group["momentum"] != 0 and state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)

    def _changing(self) -> list[Tensor]:
        """Every tensor that a step changes."""
        momenta = [state.get("momentum_buffer") for state in self.optimizer.state.values()]
        return [
            *self.model.parameters(),
            *self.model.buffers(),
            *(momentum for momentum in momenta if momentum is not None),
        ]

    def _generators(self) -> list[torch.Generator]:
        """Every generator that a step draws from."""
        generators = [self.augment_generator, self.shuffle_generator, torch.default_generator]
        generators += self.own_generators.values()
        device = self.runtime.device
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            generators.append(torch.cuda.default_generators[index])
        return generators

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as tensors and builtin values."""
        optimizer = self.optimizer.state_dict()
        for group in optimizer["param_groups"]:
            group["lr"] = self._rate
        return {
            "kind": "pretrain",
            "config": config_key(self.config),
            "model_config": msgspec.to_builtins(self.config.model),
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "model": self.model.state_dict(),
            "optimizer": optimizer,
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
                "augment_own": {n: g.get_state() for n, g in self.own_generators.items()},
                "shuffle": self.shuffle_generator.get_state(),
            },
            "device_type": self.runtime.device.type,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what ``state_dict`` gave. A recorded step is forgotten: tensors move.

        Raises:
            RunError: when it belongs to another configuration or kind of device.
        """
        check_same(state, self.config, self.steps_per_epoch, self.runtime)
        if self._captured is not None:
            self._captured.close()
            self._captured = None
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._rate = float(state["optimizer"]["param_groups"][0]["lr"])
        if self.static:
            self._settle_optimizer()
        self.step = int(state["step"])
        self.mean = state["mean"].to(self.runtime.device)
        self.std = state["std"].to(self.runtime.device)
        generators = state["generators"]
        torch.set_rng_state(generators["default"])
        if generators["cuda"] is not None:
            torch.cuda.set_rng_state(generators["cuda"], self.runtime.device)
        self.augment_generator.set_state(generators["augment"])
        for name, own_state in generators.get("augment_own", {}).items():
            self.own_generators[name].set_state(own_state)
        self.shuffle_generator.set_state(generators["shuffle"])
        self._order_epoch = -1
        self._order = None
