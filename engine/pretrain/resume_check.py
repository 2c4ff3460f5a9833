"""Which configuration, images and device a checkpoint of a pretraining belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.config.fields import fields, flatten
from engine.config.missing_settings import missing_values, refusal_of_unknown
from engine.config.pretraining_key import without_unused
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.pretrain.state_check import check_count, damaged
from engine.runtime.device import Runtime
from engine.text import clean_text

_SHOWN = 80  # characters of a value in a message


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
    kept = without_unused(kept)  # as before there were others: earlier versions read it
    if config.model.stem == "cifar":  # likewise
        del kept["model.stem"]
    if config.runtime.capture in ("fused", "kernels"):  # other rounding and other dropout
        kept["runtime.capture"] = config.runtime.capture
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
        DamagedFileError: when what is compared is missing.
        RunError: naming what differs.
    """
    if state.get("kind") != "pretrain":
        raise RunError("The checkpoint is not one of a pretraining; it cannot be resumed as one.")
    ours, theirs = json.loads(config_key(config)), config_in(state)
    # What the checkpoint lacks was no setting yet: the run did what a record without it says.
    missing = missing_values("pretrain", theirs)
    theirs |= {key: value for key, value in missing.items() if key in ours}
    unknown = sorted(theirs.keys() - fields(PretrainConfig).keys())
    if unknown:
        shown = [clean_text(name, _SHOWN) for name in unknown]
        raise RunError(refusal_of_unknown("The checkpoint", shown))
    key = next((k for k in sorted({*ours, *theirs}) if theirs.get(k) != ours.get(k)), None)
    if key is not None:
        raise RunError(
            f"The checkpoint is from another configuration ({key} is "
            f"{clean_text(str(theirs.get(key)), _SHOWN)} there and "
            f"{flatten(config).get(key)} in the record); resume it with the one it was made with."
        )
    then = check_count(state.get("steps_per_epoch"), None, "steps_per_epoch", least=1)
    if then != steps_per_epoch:
        raise RunError(
            "The training images have changed since the checkpoint was made "
            f"({then} steps an epoch then, {steps_per_epoch} now); "
            "it cannot be resumed."
        )
    if state.get("device_type") != runtime.device.type:
        device = clean_text(str(state.get("device_type")), _SHOWN)
        raise RunError(
            f"The checkpoint was made on {device} and the device is now "
            f"{runtime.device.type}; resume it on the same kind of device "
            f"(--device {device})."
        )


def config_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that a checkpoint names.

    Raises:
        DamagedFileError: when it is none.
    """
    try:
        config = json.loads(state["config"])
    except (KeyError, TypeError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        damaged("config is missing or no configuration")
    return config
