"""Runs keep the defaults of the version that made them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.fields import fields
from engine.config.missing_settings import WHEN_MISSING, completed
from engine.config.schema import KINDS, PretrainConfig, ProbeConfig, StudyConfig
from engine.jobs.recorded_config import config_of
from engine.runs import RunFolder
from engine.runs.record import SCHEMA


def test_every_key_is_a_setting_with_another_default_now() -> None:
    for kind, earlier in WHEN_MISSING.items():
        known = fields(KINDS[kind])
        for key, value in earlier.items():
            assert known[key].default != value


def written(tmp_path: Path, kind: str, config: dict[str, Any], schema: int) -> RunFolder:
    folder = tmp_path / f"{kind}{schema}"
    folder.mkdir()
    record = {"schema": schema, "id": folder.name, "kind": kind, "created": 1.0, "config": config}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return RunFolder(folder)


@pytest.mark.parametrize("schema", [1, 2])
def test_a_record_that_lacks_a_setting_has_the_default_that_it_began_with(
    tmp_path: Path, schema: int
) -> None:
    pretrain = msgspec.to_builtins(PretrainConfig())
    probe = msgspec.to_builtins(ProbeConfig())
    del pretrain["augment"]["crop"]["scale_min"]
    del probe["linear"]["crop_min"]
    del probe["supervised"]
    study = msgspec.to_builtins(StudyConfig()) | {"pretrain": pretrain, "probe": probe}
    read = {
        kind: config_of(written(tmp_path, kind, config, schema).record())
        for kind, config in (("pretrain", pretrain), ("probe", probe), ("study", study))
    }
    alone: Any = read["pretrain"], read["probe"]
    inside: Any = read["study"]
    for trained, probed in (alone, (inside.pretrain, inside.probe)):
        assert trained.augment.crop.scale_min == 0.2
        assert probed.linear.crop_min == 0.2
        assert (probed.supervised.epochs, probed.supervised.max_images) == (60, 400_000)


def test_a_record_that_names_a_setting_keeps_its_value(tmp_path: Path) -> None:
    tree = msgspec.to_builtins(PretrainConfig())
    for schema, named in ((1, 0.35), (SCHEMA, 0.08)):
        tree["augment"]["crop"]["scale_min"] = named
        config: Any = config_of(written(tmp_path, "pretrain", tree, schema).record())
        assert config.augment.crop.scale_min == named


def test_what_was_decoded_stays_as_it_is_and_what_is_damaged_is_left_alone() -> None:
    config = {"augment": {"crop": {"p": 1.0}}, "data": 5}
    before = deepcopy(config)
    assert completed("pretrain", config)["augment"]["crop"]["scale_min"] == 0.2
    assert config == before
    assert completed("pretrain", {"augment": 5})["augment"] == 5
    assert completed("study", {"pretrain": 5})["pretrain"] == 5
    assert completed("of another version", {"a": 1}) == {"a": 1}
