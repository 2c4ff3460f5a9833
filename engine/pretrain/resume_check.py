"""Which configuration, images and device a checkpoint of a pretraining belongs to."""

from __future__ import annotations

import json
from typing import Any

from engine.config.fields import fields, flatten
from engine.config.missing_settings import missing_values, refusal_of_unknown
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runtime.device import Runtime


def config_key(config: PretrainConfig) -> str:
    """The part of the configuration that a checkpoint belongs to, as JSON.

    What does not change the numbers (how often things are logged, the device by its name, how
    its kernels are launched, an earlier end) is left out.
    """
    # The number of threads changes the last bits; ``resolve_runtime`` takes that of the record.
    free = (
        "log.",
        "monitor.",
        "runtime.device",
        "runtime.threads",
        "runtime.capture",
        "optim.stop_epoch",
    )
    flat = flatten(config)
    kept = {key: value for key, value in flat.items() if not key.startswith(free)}
    if config.runtime.capture == "fused":  # other rounding and other dropout
        kept["runtime.capture"] = "fused"
    return json.dumps(kept, sort_keys=True)


def check_same(
    state: dict[str, Any], config: PretrainConfig, steps_per_epoch: int, runtime: Runtime
) -> None:
    """Refuses a checkpoint that belongs to something else.

    Args:
        state: what ``TrainingState.state_dict`` gave.
        config: of the pretraining that is to go on from it.
        steps_per_epoch: of that pretraining.
        runtime: where it continues.

    Raises:
        RunError: naming what differs.
    """
    if state.get("kind") != "pretrain":
        raise RunError("The checkpoint is not one of a pretraining; it cannot be resumed as one.")
    ours, theirs = json.loads(config_key(config)), json.loads(state["config"])
    # What the checkpoint lacks was no setting yet: the run did what a record without it says.
    missing = missing_values("pretrain", theirs)
    theirs |= {key: value for key, value in missing.items() if key in ours}
    unknown = sorted(theirs.keys() - fields(PretrainConfig).keys())
    if unknown:
        raise RunError(refusal_of_unknown("The checkpoint", unknown))
    key = next((k for k in sorted({*ours, *theirs}) if theirs.get(k) != ours.get(k)), None)
    if key is not None:
        raise RunError(
            f"The checkpoint is from another configuration ({key} is {theirs.get(key)} there and "
            f"{flatten(config).get(key)} in the record); resume it with the one it was made with."
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
