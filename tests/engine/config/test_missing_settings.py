"""Runs of other versions: what they lack reads as it was then, what is unknown is named."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.fields import fields, nest
from engine.config.missing_settings import (
    WHEN_MISSING,
    completed,
    flat_config,
    missing_values,
    read_config,
    values_when_missing,
)
from engine.config.schema import KINDS, PretrainConfig, ProbeConfig, StudyConfig
from engine.errors import RunError
from engine.history.entry import make_entry
from engine.jobs.recorded_config import config_of
from engine.runs import RunFolder
from engine.runs.record import SCHEMA, Record, UserNotes

from ..copied_packages import CopiedPackages

DEFAULTS = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "v01" / "defaults.json").read_text(encoding="utf-8")
)
"""Every setting of version 0.1 under its name of today, with its default then."""


STOPPED = """
import sys
from pathlib import Path
from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.jobs.execute import execute
from engine.runs import create
from engine.sink import NullSink

class Stop(NullSink):
    steps = 0
    def metrics(self, step, epoch, values):
        self.steps = step
    def request(self):
        return "stop" if self.steps >= 3 else None

sets = [word.removeprefix("--set=") for word in sys.argv[1:]]
config = resolve(PretrainConfig, sets=[*sets, "runtime.device=cpu"])
folder = create(Path("runs").absolute(), "pretrain", config, name="stopped")
assert execute(folder, data_dir=Path("data").absolute(), sink=Stop()) == "stopped"
"""
REFUSED = """
from pathlib import Path
from engine.errors import RunError
from engine.jobs.trained_encoder import load_encoder
from engine.runs import find
try:
    load_encoder(find(Path("runs"), "newer"))
except RunError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_setting_of_0_1_that_is_missing_reads_as_its_default_of_0_1(kind: str) -> None:
    """Whoever changes a default finds here that ``WHEN_MISSING`` has to keep the old one."""
    known = values_when_missing(kind)
    assert {key: known[key] for key in DEFAULTS[kind]} == DEFAULTS[kind]


def test_every_line_of_the_table_is_a_setting_with_another_default_now() -> None:
    for kind, values in WHEN_MISSING.items():
        now = flat_config(kind, msgspec.to_builtins(KINDS[kind]()))
        assert values.keys() <= now.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_record_and_a_whole_one_are_both_read(kind: str) -> None:
    whole = msgspec.to_builtins(KINDS[kind]())
    assert read_config(kind, whole, "It") == KINDS[kind]()
    read = json.loads(msgspec.json.encode(read_config(kind, {}, "It")))
    assert flat_config(kind, read) == values_when_missing(kind)


def test_what_is_missing_is_added_and_the_rest_stays() -> None:
    tree = {"moco": {"queue_size": 7}, "data": 5, "augment": {"crop": {"p": 0.5}}}
    before = deepcopy(tree)
    found = completed("pretrain", tree)
    assert tree == before
    assert found["moco"]["queue_size"] == 7
    assert found["moco"]["temperature"] == 0.07
    assert found["augment"]["crop"] == {
        "p": 0.5, "enabled": True, "scale_min": 0.2, "scale_max": 1.0, "ratio_min": 0.75,
        "ratio_max": 4.0 / 3.0,
    }  # fmt: skip
    assert found["data"] == 5  # damaged: refused where it is converted
    with pytest.raises(RunError, match="does not know"):
        read_config("pretrain", tree, "It")


@pytest.mark.parametrize("prefix", ["", "pretrain."])
def test_an_augmentation_that_a_record_does_not_name_stays_off(prefix: str) -> None:
    kind = "study" if prefix else "pretrain"
    order = ["crop", "rotation", "flip", "color_jitter", "grayscale"]
    flat = {f"{prefix}augment.order": order}
    missing = missing_values(kind, flat)
    assert missing[f"{prefix}augment.blur.enabled"] is False
    assert missing[f"{prefix}augment.crop.enabled"] is True
    assert missing_values(kind, {})[f"{prefix}augment.blur.enabled"] is True
    config: Any = read_config(kind, nest(flat), "It")
    config = config.pretrain if prefix else config
    assert not config.augment.blur.enabled


@pytest.mark.parametrize(
    ("kind", "tree", "named"),
    [
        ("pretrain", {"model": {"depth": 3}}, "model.depth"),
        ("probe", {"calibrate": True}, "calibrate"),
        ("study", {"pretrain": {"x": {"y": 1}}, "z": 2}, "pretrain.x.y and z"),
    ],
)
def test_settings_of_a_newer_version_are_named(kind: str, tree: Any, named: str) -> None:
    with pytest.raises(RunError) as caught:
        read_config(kind, tree, "The record of run abc")
    assert str(caught.value).startswith("The record of run abc names ")
    assert named in str(caught.value)
    assert "update moco-tui" in str(caught.value)


def test_a_list_shows_what_the_run_did_and_not_what_todays_preset_says() -> None:
    config = msgspec.to_builtins(PretrainConfig())
    del config["moco"]["queue_size"]  # as if it had been added later
    record = Record(
        id="a", kind="pretrain", created=1.0, preset="notebook-large-queue", config=config
    )
    entry = make_entry(record, UserNotes())
    assert entry.setting("moco.queue_size") == PretrainConfig().moco.queue_size


def test_a_setting_that_is_added_breaks_no_resume_and_needs_no_line_here(tmp_path: Path) -> None:
    """A run is stopped, its program gets another setting, and the run goes on to the same bits."""
    packages = CopiedPackages(tmp_path)
    small = [
        f"--set={setting}"
        for setting in (
            "data.source=shapes", "data.limit=64", "batch_size=32", "epochs=2", "queue_size=64",
            "dim=16", "knn_every=0", "threads=1",
        )
    ]  # fmt: skip
    packages.moco("pretrain", *small, "--name=whole")
    packages.run("-c", STOPPED, *small)
    before = next(
        field for field in (packages.folder / "engine/config/schema.py").read_text().split("\n")
        if field.startswith("    mlp_head: Annotated[")
    )  # fmt: skip
    packages.change_line(
        "engine/config/schema.py",
        before,
        '    twist: Annotated[float, Meta(ge=0.0, description="a new setting")] = 0.25\n' + before,
    )
    packages.moco("resume", "stopped")
    shown = {
        name: json.loads(packages.moco("show", name, "--json")) for name in ("whole", "stopped")
    }
    assert [record["status"] for record in shown.values()] == ["finished", "finished"]
    assert shown["whole"]["checkpoint_step"] == shown["stopped"]["checkpoint_step"] == 4
    losses = [record["last"]["train/loss"] for record in shown.values()]
    assert losses[0] == losses[1]
    # And the other way: a version without the setting names it.
    packages.moco("pretrain", *small, "--name=newer", "--set=twist=0.5")
    packages.change_line(
        "engine/config/schema.py",
        '    twist: Annotated[float, Meta(ge=0.0, description="a new setting")] = 0.25',
        "",
    )
    said = packages.run("-c", REFUSED)
    assert "model.twist" in said
    assert "update moco-tui" in said


# ------------------------------------------------------------- defaults that are others now


def test_every_key_is_a_setting_with_another_default_now() -> None:
    for kind, earlier in WHEN_MISSING.items():
        known = fields(KINDS[kind])
        for key, value in earlier.items():
            assert known[key].default != value


def recorded_as(tmp_path: Path, kind: str, config: dict[str, Any], schema: int) -> RunFolder:
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
    del probe["logistic"]["folds"]
    del probe["finetune"], probe["tune_from"]
    del probe["supervised"]
    study = msgspec.to_builtins(StudyConfig()) | {"pretrain": pretrain, "probe": probe}
    read = {
        kind: config_of(recorded_as(tmp_path, kind, config, schema).record())
        for kind, config in (("pretrain", pretrain), ("probe", probe), ("study", study))
    }
    alone: Any = read["pretrain"], read["probe"]
    inside: Any = read["study"]
    for trained, probed in (alone, (inside.pretrain, inside.probe)):
        assert trained.augment.crop.scale_min == 0.2
        assert probed.linear.crop_min == 0.2
        assert probed.logistic.folds == 0
        assert probed.tune_from == 2
        assert probed.finetune.lr == (0.001, 0.005, 0.02, 0.1)
        assert (probed.finetune.head_lr, probed.finetune.fixed_lr) == (0.0, 0.0)
        assert not probed.finetune.choose_length
        assert (probed.supervised.epochs, probed.supervised.max_images) == (60, 400_000)


def test_a_record_that_names_a_setting_keeps_its_value(tmp_path: Path) -> None:
    tree = msgspec.to_builtins(PretrainConfig())
    for schema, named in ((1, 0.35), (SCHEMA, 0.08)):
        tree["augment"]["crop"]["scale_min"] = named
        config: Any = config_of(recorded_as(tmp_path, "pretrain", tree, schema).record())
        assert config.augment.crop.scale_min == named


def test_what_was_decoded_stays_as_it_is_and_what_is_damaged_is_left_alone() -> None:
    config = {"augment": {"crop": {"p": 1.0}}, "data": 5}
    before = deepcopy(config)
    assert completed("pretrain", config)["augment"]["crop"]["scale_min"] == 0.2
    assert config == before
    assert completed("pretrain", {"augment": 5})["augment"] == 5
    assert completed("study", {"pretrain": 5})["pretrain"] == 5
    assert completed("of another version", {"a": 1}) == {"a": 1}
