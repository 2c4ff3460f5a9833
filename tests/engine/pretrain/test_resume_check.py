"""A checkpoint goes on in the run that it belongs to, of this version or an earlier one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.pretrain.resume_check import check_same, config_key
from engine.runtime.device import Runtime, resolve_runtime

CONFIG = PretrainConfig()


@pytest.fixture
def runtime() -> Runtime:
    return resolve_runtime(replace(CONFIG.runtime, device="cpu", threads=1))


def checkpoint(runtime: Runtime, **changes: Any) -> dict[str, Any]:
    """What a checkpoint says of its run; ``None`` takes a setting out."""
    flat = json.loads(config_key(CONFIG)) | changes
    kept = {key: value for key, value in flat.items() if value is not None}
    return {
        "kind": "pretrain",
        "config": json.dumps(kept),
        "steps_per_epoch": 5,
        "device_type": runtime.device.type,
    }


def check(state: dict[str, Any], runtime: Runtime, config: PretrainConfig = CONFIG) -> None:
    check_same(state, config, 5, runtime)


def test_a_setting_that_the_checkpoint_lacks_reads_as_it_was_then(runtime: Runtime) -> None:
    check(checkpoint(runtime), runtime)
    for key in json.loads(config_key(CONFIG)):
        if key != "augment.crop.scale_min":  # of which the default may be another one now
            check(checkpoint(runtime, **{key: None}), runtime)
    crop = replace(CONFIG.augment.crop, scale_min=0.2)
    begun = replace(CONFIG, augment=replace(CONFIG.augment, crop=crop))
    check(checkpoint(runtime, **{"augment.crop.scale_min": None}), runtime, begun)


def test_one_that_was_set_to_something_else_since_is_refused(runtime: Runtime) -> None:
    twisted = replace(CONFIG, moco=replace(CONFIG.moco, momentum=0.5))
    with pytest.raises(RunError, match=r"moco\.momentum is 0\.99 there and 0\.5 in the record"):
        check(checkpoint(runtime, **{"moco.momentum": None}), runtime, twisted)
    with pytest.raises(RunError, match=r"moco\.momentum is 0\.9 there and 0\.99 in the record"):
        check(checkpoint(runtime, **{"moco.momentum": 0.9}), runtime)


def test_settings_that_only_a_newer_version_knows_are_named(runtime: Runtime) -> None:
    with pytest.raises(RunError) as caught:
        check(checkpoint(runtime, **{"model.twist": 1, "moco.beta": 2}), runtime)
    assert "moco.beta and model.twist" in str(caught.value)
    assert "update moco-tui" in str(caught.value)


@pytest.mark.parametrize(("then", "now"), [("fused", "auto"), ("auto", "fused")])
def test_steps_that_were_fused_and_others_do_not_mix(runtime: Runtime, then: Any, now: Any) -> None:
    state = checkpoint(runtime)
    ran = replace(CONFIG, runtime=replace(CONFIG.runtime, capture=then))
    state["config"] = config_key(ran)
    goes_on = replace(CONFIG, runtime=replace(CONFIG.runtime, capture=now))
    check(state, runtime, ran)
    with pytest.raises(RunError, match=rf"runtime\.capture is {then} there and {now} in"):
        check(state, runtime, goes_on)
