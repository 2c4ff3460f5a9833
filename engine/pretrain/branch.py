"""The state that a pretraining begins with when it goes on from another one's checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from engine.config.branch_rules import check_branch
from engine.config.fields import flatten
from engine.config.missing_settings import missing_values
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.pretrain.resume_check import config_in
from engine.pretrain.state_check import check_count, check_mapping, damaged


class Branched(NamedTuple):
    """A state to begin with.

    Attributes:
        state: as of ``TrainingState.state_dict``, of the new configuration.
        notices: sentences for the log on what was not taken over.
    """

    state: dict[str, Any]
    notices: list[str]


def check_start(state: Mapping[str, Any], config: PretrainConfig, whose: str) -> int:
    """Refuses a configuration that the state of a checkpoint cannot take.

    Args:
        state: a loaded checkpoint.
        config: of the run that is to go on from it.
        whose: how the checkpoint is called in a sentence.

    Returns:
        Its step.

    Raises:
        ConfigError: see ``check_branch``.
        DamagedFileError: when what is compared is missing.
        RunError: when it is none of a pretraining.
    """
    if state.get("kind") != "pretrain":
        raise RunError(f"{whose} holds no state of a training, so nothing can go on from it.")
    step = check_count(state.get("step"), None, "step")
    per_epoch = check_count(state.get("steps_per_epoch"), None, "steps_per_epoch", least=1)
    check_branch(_settings(state), _listed(flatten(config)), step / per_epoch, whose)
    return step


def branched(
    state: Mapping[str, Any], fresh: Mapping[str, Any], config: PretrainConfig
) -> Branched:
    """What a checkpoint of another run makes of a state that has not begun.

    Weights, statistics and optimizer buffers are those of the checkpoint; the settings of the
    optimizer are the new ones. The queue is taken if it has the same shape, the generators if seed
    and kind of device are the same, the online probe if the same labels are withheld; else they are
    those of the new run.

    Args:
        state: the checkpoint, which ``check_start`` has let through.
        fresh: ``TrainingState.state_dict`` of the new run before its first step.
        config: of the new run.

    Raises:
        DamagedFileError: when something is missing in the checkpoint.
    """
    notices = []
    model = dict(check_mapping(state.get("model"), "model"))
    queue, own = model.get("queue"), fresh["model"]["queue"]
    if not isinstance(queue, Tensor) or queue.shape != own.shape:
        model["queue"], model["queue_ptr"] = own, fresh["model"]["queue_ptr"]
        notices.append(
            f"the queue of {len(own):,} keys has another size than before and is filled anew"
        )
    # A copy: an optimizer that loads buffers goes on to change these very ones.
    optimizer = copy.deepcopy(dict(check_mapping(state.get("optimizer"), "optimizer")))
    optimizer["param_groups"] = fresh["optimizer"]["param_groups"]
    settings = _settings(state)
    seed = settings.get("runtime.seed")
    if seed == config.runtime.seed and state.get("device_type") == fresh["device_type"]:
        generators = {**fresh["generators"], **check_mapping(state.get("generators"), "generators")}
    else:
        generators = fresh["generators"]
        notices.append("the random numbers begin anew: seed or kind of device is another one")
    same_steps = state["steps_per_epoch"] == fresh["steps_per_epoch"]
    made = {
        **fresh,
        "model": model,
        "optimizer": optimizer,
        "generators": generators,
        "step": first_step(state, fresh["steps_per_epoch"]),
        "epoch_sum": state.get("epoch_sum") if same_steps else 0.0,
        "epoch_count": state.get("epoch_count") if same_steps else 0,
        "monitored_step": -1,  # the new run measures for itself, from the untrained encoder on
    }
    if "online_probe" in state and config.monitor.online_probe:
        if (seed, settings.get("data.holdout")) == (config.runtime.seed, config.data.holdout):
            made["online_probe"] = state["online_probe"]
        else:
            notices.append(
                "the online probe begins anew: it was trained on labels that are withheld now"
            )
    return Branched(made, notices)


def first_step(state: Mapping[str, Any], steps_per_epoch: int) -> int:
    """The step behind which a run begins that goes on from a checkpoint.

    Args:
        state: the checkpoint.
        steps_per_epoch: of the run; with another batch size an epoch has other steps.

    Raises:
        DamagedFileError: when the checkpoint names none, or lies within an epoch of other steps.
    """
    step = check_count(state.get("step"), None, "step")
    before = check_count(state.get("steps_per_epoch"), None, "steps_per_epoch", least=1)
    if before == steps_per_epoch:
        return step
    if step % before:
        damaged(f"an epoch has {steps_per_epoch} steps and had {before} before")
    return step // before * steps_per_epoch


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in a checkpoint, with what an earlier version lacks."""
    flat = config_in(state)
    # What is free of the numbers was never in it.
    compared = {k: v for k, v in missing_values("pretrain", flat).items() if _is_compared(k)}
    return {**compared, **flat}


def _is_compared(key: str) -> bool:
    return not key.startswith(("log.", "monitor.", "runtime.", "optim.stop_epoch"))


def _listed(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in flat.items()}
