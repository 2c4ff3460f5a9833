"""The form's state: what was typed against what the engine takes."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import own_code
from engine.config.augment import AUGMENTATIONS
from engine.config.fields import fields
from engine.config.presets import PRESETS, STUDY_PRESETS
from engine.config.resolve import build, resolve
from engine.config.schema import (
    GRID_KEYS,
    KINDS,
    NOT_IN_STUDIES,
    AugmentConfig,
    PretrainConfig,
    ProbeConfig,
    StudyConfig,
    names_axes,
)
from engine.config.values import read_toml
from engine.errors import ConfigError
from moco_tui.present.form import FormState
from moco_tui.present.form_fields import ESSENTIAL, SECTIONS, range_hint
from moco_tui.present.form_following import use_task


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_setting_has_exactly_one_place(kind: str) -> None:
    shown: list[str] = list(ESSENTIAL[kind])
    sections = [section for _, section in SECTIONS[kind]]
    for key, field in fields(KINDS[kind]).items():
        if key in shown:
            continue
        if key.startswith("augment.") or key in (
            GRID_KEYS.keys() | NOT_IN_STUDIES if kind == "study" else ()
        ):
            continue
        section = "pretrain.augment" if key.startswith("pretrain.augment.") else field.section
        assert section in sections, key
    assert len(sections) == len(set(sections))


@pytest.mark.parametrize("name", [*PRESETS, ""])
def test_a_preset_unchanged_is_the_preset(name: str) -> None:
    state = FormState("pretrain", preset=name)
    assert state.errors() == {}
    assert state.changed() == {}
    assert state.config() == resolve(PretrainConfig, preset_name=name or None)


@pytest.mark.parametrize("name", [*PRESETS, ""])
def test_typing_what_stands_there_changes_little(name: str) -> None:
    """The texts of the fields read back as their values (to six digits)."""
    state = FormState("pretrain", preset=name)
    for key in state.known:
        state.set(key, state.text(key))
    assert state.errors() == {}
    for key, value in state.changed().items():
        assert value == pytest.approx(state.base[key], rel=1e-5)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("moco.queue_size", "0"),
        ("moco.queue_size", "abc"),
        ("moco.queue_size", ""),
        ("moco.queue_size", "1.5"),
        ("moco.queue_size", "9" * 500),
        ("moco.temperature", "0"),
        ("moco.temperature", "nan"),
        ("moco.temperature", "1e999"),
        ("data.source", "imagenet"),
        ("data.source", ""),
        ("data.holdout", "1"),
        ("optim.milestones", "x, y"),
        ("model.encoder", "vgg"),
        ("runtime.device", "cuda:x"),
        ("runtime.seed", "-1"),
        ("augment.crop.scale_min", "2"),
        ("augment.order", "crop, crop"),
        ("augment.blur.kernel_size", "4"),
        ("model.bn_splits", "7"),
        ("optim.batch_size", "1"),
        ("optim.stop_epoch", "9999"),
    ],
)
def test_a_wrong_value_is_named_at_its_field(key: str, text: str) -> None:
    state = FormState("pretrain", preset="notebook")
    state.set(key, text)
    assert list(state.errors()) == [key]
    with pytest.raises(ConfigError):
        state.config()
    state.set(key, state.base[key])
    assert state.errors() == {}


def test_all_wrong_fields_are_named_at_once() -> None:
    state = FormState("pretrain")
    state.set("moco.queue_size", "0")
    state.set("moco.temperature", "-1")
    assert set(state.errors()) == {"moco.queue_size", "moco.temperature"}


def _overrides(words: list[str]) -> list[str]:
    named = {
        "--data": "data.source",
        "--label-fraction": "label_fraction",
        "--task": "task.name",
        "--head": "head",
    }
    found = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    found += [f"{named[w]}={words[i + 1]}" for i, w in enumerate(words) if w in named]
    return found


def test_the_command_line_gives_the_same_configuration() -> None:
    state = FormState("pretrain", preset="quick")
    for key, text in (
        ("data.source", "folder:/tmp/a b"),
        ("moco.queue_size", "777"),
        ("augment.rotation.enabled", False),
        ("augment.crop.ratio_max", "1.3333333333333333"),
        ("augment.order", "rotation, crop, flip, gray, blur, color"),
        ("optim.milestones", "3, 5"),
        ("moco.temperature", "0.1234567890123"),
    ):
        state.set(key, text)
    words = shlex.split(state.command(name="it's [a] name"))
    assert words[:4] == ["moco-tui", "pretrain", "--preset", "quick"]
    assert words[words.index("--name") + 1] == "it's [a] name"
    again = resolve(PretrainConfig, preset_name="quick", sets=_overrides(words))
    assert again == state.config()


def test_the_command_line_of_a_probe_gives_the_same_configuration() -> None:
    state = FormState("probe")
    state.set("label_fraction", "0.25")
    state.set("head", "linear")
    state.set("task.name", "mine")
    state.set("task.groups", '{vehicles = ["ship"], "a b" = ["cat", "dog"]}')
    state.set("baselines", "pixels")
    words = shlex.split(state.command(parent="k7m2qx", detached=True))
    assert words[:3] == ["moco-tui", "probe", "k7m2qx"]
    assert words[-1] == "--detach"
    assert resolve(ProbeConfig, sets=_overrides(words)) == state.config()


@pytest.mark.parametrize("name", [*STUDY_PRESETS, ""])
def test_a_study_begins_as_its_preset_and_its_command_gives_the_same(name: str) -> None:
    state = FormState("study", preset=name)
    assert (state.errors(), state.changed()) == ({}, {})
    assert state.config() == resolve(StudyConfig, preset_name=name or None)
    for key, text in (
        ("queue_sizes", "128, 512"),
        ("label_fractions", "0.1, 0.5"),
        ("tasks", "binary,ten"),
        ("baselines", "pixels"),
        ("pretrain.data.source", "folder:/tmp/a b"),
        ("pretrain.augment.rotation.degrees", "20"),
        ("probe.logistic.max_iter", "77"),
    ):
        state.set(key, text)
    words = shlex.split(state.command(name="mine"))
    assert words[: 2 + 2 * bool(name)] == ["moco-tui", "study", *["--preset", name] * bool(name)]
    data = words[words.index("--data") + 1]
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    again = resolve(
        StudyConfig,
        preset_name=name or None,
        sets=sets,
        extra={"pretrain.data.source": data},
    )
    assert again == state.config()
    assert again.tasks == ("binary", "ten")
    sizes = again.queue_sizes  # an axis where the preset names others
    if names_axes(again):
        sizes = again.axes["moco.queue_size"]
    assert sizes == (128, 512)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("queue_sizes", "0"),
        ("queue_sizes", ""),
        ("queue_sizes", "4096, 4096"),
        ("label_fractions", "0.1, 1.5"),
        ("tasks", "binary, seven"),
        ("heads", "linear, forest"),
        ("baselines", "pixels, pixels"),
        ("supervised_subsets", "0"),
        ("pretrain.optim.batch_size", "x"),
        ("pretrain.model.bn_splits", "7"),
        ("probe.validation", "1"),
    ],
)
def test_a_wrong_value_of_a_study_is_named_at_its_field(key: str, text: str) -> None:
    state = FormState("study", preset="quick-study")
    state.set(key, text)
    assert list(state.errors()) == [key]


def test_what_the_grid_of_a_study_sets_is_no_field_of_its_runs() -> None:
    assert not set(FormState("study").known) & (GRID_KEYS.keys() | NOT_IN_STUDIES)


def test_the_preview_asks_for_augmentations_that_are_right_whatever_else_is_wrong() -> None:
    state = FormState("pretrain", preset="notebook-small-angle")
    state.set("moco.queue_size", "")
    assert state.preview() == (
        "cifar10",
        resolve(PretrainConfig, preset_name="notebook-small-angle").augment,
        0,
    )
    state.set("augment.rotation.degrees", "200")
    assert state.preview() is None
    assert FormState("probe").preview() is None
    assert FormState("study").preview() == ("cifar10", AugmentConfig(), 0)


@pytest.mark.parametrize("path", ["/no/such", "x" * 5000, "~nobody-of-that-name/x"])
def test_a_folder_that_cannot_be_is_named(path: str) -> None:
    for kind, key in (("pretrain", "data.source"), ("study", "pretrain.data.source")):
        state = FormState(kind)
        state.set(key, "folder:" + path)
        assert "there is no folder" in state.problems()[key]


@pytest.mark.parametrize("path", ["a\0b", "a\x1b[31m", "a\u202e"])
def test_a_folder_whose_name_no_record_may_hold_is_refused(path: str) -> None:
    state = FormState("pretrain")
    state.set("data.source", "folder:" + path)
    assert "data.source" in state.problems()


def test_the_toml_gives_the_same_configuration(tmp_path: Path) -> None:
    state = FormState("pretrain", preset="resnet18-moco")
    state.set("moco.queue_size", "12345")
    path = tmp_path / "config.toml"
    path.write_text(state.toml(), encoding="utf-8")
    assert build(PretrainConfig, read_toml(PretrainConfig, path)) == state.config()


@given(st.sampled_from(sorted(fields(PretrainConfig))), st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_text_in_any_field_breaks_the_form(key: str, text: str) -> None:
    state = FormState("pretrain", preset="notebook")
    state.set(key, text)
    errors = state.errors()
    assert isinstance(state.text(key), str)
    if not errors:
        assert msgspec.to_builtins(state.config())
        state.command()


@pytest.mark.parametrize("kind", list(KINDS))
def test_ranges_are_said_for_every_number(kind: str) -> None:
    for key, field in fields(KINDS[kind]).items():
        bounds = (field.ge, field.gt, field.le, field.lt)
        if field.kind in ("int", "float") and any(bound is not None for bound in bounds):
            assert any(c.isdigit() for c in range_hint(field)), key


def test_code_of_ones_own_may_be_run_once_it_is_typed_and_not_because_a_run_brought_it_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named: set[str] = set()
    monkeypatch.setattr(own_code, "_named", named)
    order = [*AUGMENTATIONS, "mine.views:Clip"]
    brought = {"data.source": "mine.sets:birds", "augment.order": order}
    state = FormState("pretrain", values=brought)
    state.set("data.source", "mine.sets:birds")  # as a field does that is filled with it
    assert state.errors() == {}
    config = state.config()
    assert isinstance(config, PretrainConfig)
    assert config.augment.order == tuple(order)
    assert not named
    state.set("data.source", "mine.sets:fish")
    state.set("augment.order", ", ".join([*AUGMENTATIONS, "mine.views:Blot"]))
    assert named == {"mine.sets:fish", "mine.views:Blot"}
    words = shlex.split(state.command())
    assert words[words.index("--data") + 1] == "mine.sets:fish"
    assert resolve(PretrainConfig, sets=_overrides(words)) == state.config()


# -------------------------------------------------------------- settings that follow others


def test_what_follows_the_size_is_filled_in_and_left_out_of_the_command() -> None:
    state = FormState("pretrain", preset="resnet18-moco")
    state.set("data.source", "stl10")
    assert state.values["data.image_size"] == 96
    assert state.values["model.stem"] == "imagenet"
    assert state.values["augment.blur.kernel_size"] == 9
    assert state.changed() == {"data.source": "stl10"}
    words = shlex.split(state.command())
    assert words == ["moco-tui", "pretrain", "--preset", "resnet18-moco", "--data", "stl10"]
    typed = resolve(PretrainConfig, preset_name="resnet18-moco", extra={"data.source": "stl10"})
    assert state.config() == typed
    state.set("data.source", "cifar10")
    assert state.changed() == {}
    assert state.config() == resolve(PretrainConfig, preset_name="resnet18-moco")


def test_what_a_person_changed_stays_when_the_size_changes() -> None:
    state = FormState("pretrain")
    state.set("augment.blur.kernel_size", "15")
    state.set("data.image_size", "224")
    assert state.values["augment.blur.kernel_size"] == 15
    assert state.values["augment.crop.scale_min"] == 0.2
    assert state.changed() == {"augment.blur.kernel_size": 15, "data.image_size": 224}
    state.set("data.image_size", "20")
    assert "it must be from 32 to 224" in state.errors()["data.image_size"].replace("is 20; ", "")
    state.set("data.image_size", "")
    assert state.problems()["data.image_size"]


def test_a_study_of_a_hundred_classes_begins_with_the_task_all() -> None:
    state = FormState("study")
    state.set("pretrain.data.source", "cifar100")
    assert list(state.values["tasks"]) == ["all"]
    assert state.changed() == {"pretrain.data.source": "cifar100"}
    state.set("tasks", "binary")
    state.set("pretrain.data.source", "cifar10")
    assert list(state.values["tasks"]) == ["binary"]


def test_a_probe_begins_with_the_task_that_suits_what_is_probed() -> None:
    state = FormState("probe")
    use_task(state, "all")
    assert state.values["task.name"] == "all"
    assert state.changed() == {}
    state.set("task.name", "five")
    use_task(state, "ten")
    assert state.changed() == {"task.name": "five"}
