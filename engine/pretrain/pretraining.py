"""A pretraining to be driven step by step: its state, and the way its steps are computed."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from engine.config.schedule import trained_epochs
from engine.config.schema import PretrainConfig
from engine.errors import TrainingError
from engine.pretrain.groupwise_backward import can_group
from engine.pretrain.groupwise_step import GroupwiseStep
from engine.pretrain.kernel_step import KernelStep
from engine.pretrain.plain_step import PlainStep, Step
from engine.pretrain.rank_step import RankStep
from engine.pretrain.step_choice import Capture, StepChoice, chosen_step
from engine.pretrain.step_wrappers import CapturedStep, FusedStep
from engine.pretrain.training_state import TrainingState
from engine.runtime.cuda_graph import Recorder, recorder_for
from engine.runtime.device import Runtime


class Pretraining:
    """One pretraining, without what surrounds its steps (see ``engine.pretrain.loop``).

    For those who want steps and nothing else: ``Pretraining(config, images, runtime)`` after
    ``apply_runtime``, then ``prepare`` once, ``advance`` as often as wanted, and ``close``.

    Args:
        config: the whole configuration.
        images: ``(N, 3, H, W)`` uint8, on any device; moved to the runtime's.
        runtime: where to compute; of several ranks each makes one, of the same configuration.

    Attributes:
        state: model, optimizer, generators, order of the images, count of steps.
        total_steps: of the whole run.
        choice: the way of computing steps that was chosen, and why; of use on CUDA.
        compute_step: how a step is computed; ``compute_step.kind`` names it.

    Raises:
        ConfigError: when several ranks cannot share a batch.
        DataError: when the images do not fill one batch.
    """

    def __init__(self, config: PretrainConfig, images: Tensor, runtime: Runtime) -> None:
        ranks = runtime.ranks
        # stop_epoch ends the run early; the schedule is still that of all epochs.
        epochs = trained_epochs(config.optim)
        self.total_steps = epochs * (len(images) // config.optim.batch_size)
        # A recorded step cannot wait for other processes.
        alone = chosen_step(config, self.total_steps, runtime)
        self.choice = alone if ranks is None else StepChoice("off")
        recorder = recorder_for(runtime.device, self.choice.capture)
        # On CUDA also where nothing is recorded: a step that waits for the device leaves it idle.
        static = runtime.device.type == "cuda" or recorder is not None
        self.state = TrainingState(config, images, runtime, static=static)
        self.compute_step: Step
        if ranks is None:
            self.compute_step = choose_step(self.state, recorder, self.choice.capture)
        else:
            self.compute_step = RankStep(self.state, ranks)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.state.steps_per_epoch

    def prepare(self) -> list[str]:
        """Fuses and records the step, where that is wanted and has not been done; see ``Step``."""
        return self.compute_step.prepare()

    def advance(self) -> Tensor:
        """One step of SGD on one batch of pairs.

        Returns:
            The loss, a float32 scalar on the device, without a graph.
        """
        self.prepare()  # again after load_state_dict
        loss = self.compute_step(self.state.next_indices())
        self.state.step += 1
        return loss

    def state_dict(self) -> dict[str, Any]:
        """As of ``TrainingState``."""
        return self.state.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As of ``TrainingState``. A recorded step is recorded anew, since tensors move.

        Raises:
            RunError: when it belongs to another configuration or kind of device.
        """
        self.compute_step.release()
        self.state.load_state_dict(state)

    def close(self) -> None:
        """Ends the threads of its own, and gives the memory of a recorded step back."""
        self.compute_step.close()


def choose_step(state: TrainingState, recorder: Recorder | None, capture: Capture) -> Step:
    """The way of computing steps that suits the device and what was chosen.

    Args:
        state: of the pretraining.
        recorder: what records steps on this device; None where they are not recorded.
        capture: as ``chosen_step`` has it.
    """
    if state.static:
        plain = PlainStep(state)
        step: PlainStep | FusedStep | KernelStep = plain
        if capture == "fused":
            step = FusedStep(plain)
        elif capture == "kernels":
            step = KernelStep(plain)
        return step if recorder is None else CapturedStep(step, recorder)
    cpu = state.runtime.device.type == "cpu"
    if cpu and groups_suffice(state) and can_group(state.model.encoder_q.backbone):
        return GroupwiseStep(state)
    return PlainStep(state)


def groups_suffice(state: TrainingState) -> bool:
    """Whether each thread has a BatchNorm group of a step to work on.

    Of a symmetric step both views are queries, and each has groups of its own.
    """
    views = 2 if state.config.moco.symmetric else 1
    return views * state.config.model.bn_splits >= state.runtime.threads


def memory_ran_out(training: Pretraining) -> TrainingError:
    """The sentence for a step that does not fit the memory of its device."""
    state = training.state
    config = state.config
    return TrainingError(
        f"The memory of {state.runtime.name} ran out at step {state.step + 1}; lower "
        f"optim.batch_size ({config.optim.batch_size}) or moco.queue_size "
        f"({config.moco.queue_size}), or free the device."
    )
