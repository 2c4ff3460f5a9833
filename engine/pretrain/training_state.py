"""All that a pretraining consists of between two steps, and how it is saved and loaded.

How a step is computed from it is in ``plain_step``, ``groupwise_step`` and ``step_wrappers``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.augment.augmenter import Augmenter
from engine.config.pretraining_key import model_facts
from engine.config.schedule import key_momentum, learning_rate
from engine.config.schema import PretrainConfig
from engine.data.dataset import channel_statistics
from engine.errors import DamagedFileError, DataError
from engine.models.moco import MoCo
from engine.pretrain.resume_check import check_same, config_key
from engine.pretrain.state_check import (
    check_count,
    check_mapping,
    check_optimizer,
    check_statistics,
    check_tensor,
    check_tensors,
)
from engine.runtime.device import Runtime
from engine.seeds import stream_seed


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


def _placed(images: Tensor, runtime: Runtime) -> Tensor:
    """All images on the device, uint8: CIFAR-10's take 154 MB.

    Raises:
        DataError: when its memory does not hold them.
    """
    try:
        return images.to(runtime.device)
    except torch.OutOfMemoryError as error:
        raise DataError(
            f"The images take {images.numel() / 2**30:.1f} GiB, more than is free in the memory of "
            f"{runtime.name}; data.image_size or data.limit makes them smaller or fewer."
        ) from error


class TrainingState:
    """Model, optimizer, generators, images and their order.

    Args:
        config: the whole configuration.
        images: ``(N, 3, H, W)`` uint8, on any device; moved to the runtime's.
        runtime: where to compute.
        static: whether steps have to be such that a CUDA graph can hold them.

    Attributes:
        model: the MoCo model on the device, in training mode, channels_last.
        optimizer: SGD over exactly the parameters of ``model.encoder_q``.
        images: the training images, uint8, on the device.
        mean: float32 (3,), of each channel over the training images, in [0, 1].
        std: float32 (3,), likewise.
        augmenter: of the configuration.
        augment_generator: draws the augmentations.
        own_generators: draw those of the user's own, by name.
        shuffle_generator: draws the order in which keys are encoded.
        static: the shapes of a step do not depend on data, the host never waits for it, and what
            it reads and changes stays at its address.
        gradient_norm: float32 scalar on the device, of the gradient of the last step; None: nobody
            wants to know.
        batch: int64 ``(B,)``, the images of the last step, as ``next_indices`` gave them.
        step: steps done.
        steps_per_epoch: whole batches in an epoch; the rest of the images sits out, a different
            rest each epoch.

    Raises:
        DataError: when the images do not fill one batch.
    """

    def __init__(
        self, config: PretrainConfig, images: Tensor, runtime: Runtime, *, static: bool
    ) -> None:
        check_batch(config, len(images))
        self.config, self.runtime, self.static = config, runtime, static
        device, optim, seed = runtime.device, config.optim, config.runtime.seed

        # Initialisation and dropout draw from the default generator, which is the whole process's.
        torch.manual_seed(stream_seed(seed, "default"))
        self.model = MoCo(config.model, config.moco, config.data.size).to(device)
        self.model = self.model.to(memory_format=torch.channels_last)
        self.model.train()

        self.optimizer = torch.optim.SGD(
            list(self.model.encoder_q.parameters()),
            lr=optim.lr,
            momentum=optim.sgd_momentum,
            weight_decay=optim.weight_decay,
            fused=device.type in ("cpu", "cuda"),  # one kernel for all parameters
        )
        self._lr, self._lr_is_set = optim.lr, False
        # A CUDA graph repeats the numbers of its recording; only tensors can change between steps.
        self._lr_tensor = torch.tensor(optim.lr, device=device) if static else None
        if static:
            self._make_optimizer_static()

        self.images = _placed(images, runtime)
        mean, std = channel_statistics(images)
        self.mean, self.std = mean.to(device), std.to(device)
        self.augmenter = Augmenter(config.augment, size=config.data.size)
        # A stream of its own for each use: a setting of one leaves the numbers of the others alone.
        self.augment_generator = torch.Generator(device)
        self.augment_generator.manual_seed(stream_seed(seed, "augment"))
        self.own_generators = {
            name: torch.Generator(device).manual_seed(stream_seed(seed, "augment", name))
            for name in self.augmenter.own_streams
        }
        self.shuffle_generator = torch.Generator(device)
        self.shuffle_generator.manual_seed(stream_seed(seed, "shuffle"))

        self.gradient_norm: Tensor | None = None
        if config.monitor.measures:
            self.gradient_norm = torch.zeros((), device=device)
        self.batch: Tensor | None = None
        self.step = 0
        self.steps_per_epoch = len(images) // optim.batch_size
        self._order: Tensor | None = None  # (N,) int64, of the epoch of _order_epoch
        self._order_epoch = -1

    @property
    def epoch(self) -> int:
        """The epoch that the next step belongs to, from 0."""
        return self.step // self.steps_per_epoch

    def next_indices(self) -> Tensor:
        """The images of the next step as indices, int64 ``(B,)`` on the device.

        The first of an epoch draws the epoch's order. Learning rate and momentum of the key encoder
        are set to those of the step.
        """
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if self._order is None or self._order_epoch != epoch:
            # Seeded by the epoch, so that a checkpoint within one need not hold the order.
            generator = torch.Generator(self.runtime.device)
            generator.manual_seed(stream_seed(self.config.runtime.seed, "order", epoch))
            self._order = torch.randperm(
                len(self.images), generator=generator, device=self.runtime.device
            )
            self._order_epoch = epoch
        optim, per_epoch = self.config.optim, self.steps_per_epoch
        self._set_lr(learning_rate(optim, self.step, per_epoch))
        self.model.set_momentum(key_momentum(self.config.moco, optim, self.step, per_epoch))
        batch = self.config.optim.batch_size
        self.batch = self._order[place * batch : (place + 1) * batch]
        return self.batch

    @torch.no_grad()
    def note_gradient(self, gradients: list[Tensor] | None = None) -> None:
        """Keep the norm of the gradients of encoder_q, where it is wanted; waits for nothing.

        Args:
            gradients: those, or their pieces; None: to be looked up.
        """
        if self.gradient_norm is not None:
            if gradients is None:
                found = (parameter.grad for parameter in self.model.trainable_parameters())
                gradients = [gradient for gradient in found if gradient is not None]
            norms = torch.stack([n.float() for n in torch._foreach_norm(gradients)])
            self.gradient_norm.copy_(norms.norm())

    def changing_tensors(self) -> list[Tensor]:
        """Every tensor that a step changes."""
        momenta = [state.get("momentum_buffer") for state in self.optimizer.state.values()]
        return [
            *self.model.parameters(),
            *self.model.buffers(),
            *(momentum for momentum in momenta if momentum is not None),
            *(() if self.gradient_norm is None else (self.gradient_norm,)),
        ]

    def generators(self) -> list[torch.Generator]:
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
            # A number also where the optimizer has a tensor: a checkpoint does not depend on how
            # steps were computed.
            group["lr"] = self._lr
        return {
            "kind": "pretrain",
            "config": config_key(self.config),
            "model_config": model_facts(self.config.model),
            "step": self.step,
            "steps_per_epoch": self.steps_per_epoch,
            "model": self.model.state_dict(),
            "optimizer": optimizer,
            "mean": self.mean,
            "std": self.std,
            "generators": self._generator_states() | self._own_states(),
            "device_type": self.runtime.device.type,
        }

    def _generator_states(self) -> dict[str, Tensor | None]:
        cuda = self.runtime.device.type == "cuda"
        return {
            "default": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.runtime.device) if cuda else None,
            "augment": self.augment_generator.get_state(),
            "shuffle": self.shuffle_generator.get_state(),
        }

    def _own_states(self) -> dict[str, Any]:
        """Of augmentations with a stream of their own; nothing where there is none."""
        states = {name: g.get_state() for name, g in self.own_generators.items()}
        return {"augment_own": states} if states else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what ``state_dict`` gave. Tensors of the optimizer are replaced by others.

        Raises:
            DamagedFileError: when something is missing, or has another type or shape or an
                impossible value; this state is then as it was, but for the generators.
            RunError: when it belongs to another configuration or kind of device.
        """
        check_same(state, self.config, self.steps_per_epoch, self.runtime)
        step = self._check(state)
        try:
            self._load_generators(state["generators"])
        except (RuntimeError, TypeError, ValueError) as error:
            # torch looks at more than the length: an engine may be in no such state.
            raise DamagedFileError(
                "The checkpoint is damaged: the state of a random generator is impossible."
            ) from error
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._lr = float(state["optimizer"]["param_groups"][0]["lr"])
        self._lr_is_set = False  # the tensor may hold another one
        if self.static:
            self._make_optimizer_static()
        self.step = step
        self.mean = state["mean"].to(self.runtime.device)
        self.std = state["std"].to(self.runtime.device)
        # Forces next_indices to draw the order of this epoch.
        self._order_epoch = -1
        self._order = None

    def _check(self, state: dict[str, Any]) -> int:
        """Refuses a state that this one cannot be made from; returns its step.

        Raises:
            DamagedFileError: naming what is wrong.
        """
        check_tensors(state.get("model"), self.model.state_dict(), "model")
        check_count(int(state["model"]["queue_ptr"]), len(self.model.queue) - 1, "model.queue_ptr")
        check_optimizer(state.get("optimizer"), self.optimizer)
        check_statistics(state, self.mean)
        generators = check_mapping(state.get("generators"), "generators")
        for name, own in self._generator_states().items():
            if own is not None:
                check_tensor(generators.get(name), own, f"generators.{name}")
        own_states = check_mapping(generators.get("augment_own", {}), "generators.augment_own")
        for name, generator in self.own_generators.items():
            if name in own_states:
                like = generator.get_state()
                check_tensor(own_states[name], like, f"generators.augment_own.{name}")
        steps = self.config.optim.epochs * self.steps_per_epoch
        return check_count(state.get("step"), steps, "step")

    def _load_generators(self, generators: dict[str, Any]) -> None:
        torch.set_rng_state(generators["default"])
        if self.runtime.device.type == "cuda":
            torch.cuda.set_rng_state(generators["cuda"], self.runtime.device)
        self.augment_generator.set_state(generators["augment"])
        for name, generator in self.own_generators.items():
            if name in generators.get("augment_own", {}):
                generator.set_state(generators["augment_own"][name])
        self.shuffle_generator.set_state(generators["shuffle"])

    def _set_lr(self, lr: float) -> None:
        if lr == self._lr and self._lr_is_set:
            return  # in most steps: each write to a device takes its launch
        self._lr, self._lr_is_set = lr, True
        if self._lr_tensor is not None:
            self._lr_tensor.fill_(lr)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def _make_optimizer_static(self) -> None:
        """Has SGD read its learning rate from the device, and its momenta from fixed addresses.

        SGD makes the momentum buffers in its first step, by another path than in later ones; with
        buffers of zeros the later path gives what the first step gives: momentum * 0 + gradient.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr_tensor
            for parameter in group["params"]:
                state = self.optimizer.state[parameter]
                if group["momentum"] != 0 and state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
