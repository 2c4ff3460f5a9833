"""What is typed stays: over another preset, in another kind of run, and back again."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config.presets import presets_of
from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from moco_tui.present.form import FormStart, FormState
from moco_tui.present.form_drafts import FormDrafts
from moco_tui.present.form_kinds import shared_key
from moco_tui.present.study_form import AxisDrafts


def quick() -> FormState:
    return FormState("pretrain", preset="quick")


def drafts() -> FormDrafts:
    return FormDrafts(FormState("pretrain", preset="notebook"), lambda kind: FormState(kind))


@pytest.mark.parametrize("preset", ["notebook-large-queue", "resnet18-moco", ""])
def test_what_is_typed_lies_over_every_preset(preset: str) -> None:
    state = quick()
    state.set("optim.lr", "0.125")
    state.set("augment.crop.enabled", False)
    state.use_preset(preset)
    typed = {"optim.lr": 0.125, "augment.crop.enabled": False}
    values = presets_of(PretrainConfig)[preset].values if preset else {}
    sets = [f"{key}={str(value).lower()}" for key, value in typed.items()]
    assert state.config() == resolve(PretrainConfig, preset_name=preset or None, sets=sets)
    assert state.changed() == {k: v for k, v in typed.items() if v != values.get(k)}
    state.use_preset("quick")
    assert state.changed() == typed


def test_a_wrong_text_is_still_wrong_under_another_preset() -> None:
    state = quick()
    state.set("moco.queue_size", "many")
    state.use_preset("notebook")
    assert state.text("moco.queue_size") == "many"
    assert list(state.errors()) == ["moco.queue_size"]


def test_a_value_that_is_typed_back_is_no_edit() -> None:
    state = quick()
    before = state.text("moco.queue_size")
    state.set("moco.queue_size", "7")
    state.set("moco.queue_size", before)
    assert not state.typed
    state.use_preset("notebook")
    assert state.changed() == {}


def test_what_follows_a_typed_setting_follows_it_under_another_preset() -> None:
    state = FormState("pretrain", preset="resnet18-moco")
    state.set("data.source", "stl10")
    state.use_preset(
        "resnet18-moco-long" if "resnet18-moco-long" in presets_of(PretrainConfig) else ""
    )
    assert state.values["data.image_size"] == 96
    assert set(state.changed()) == {"data.source"}


def test_one_row_and_all_go_back_to_the_preset_and_all_come_again() -> None:
    state = FormState(
        "pretrain", preset="quick", values={"optim.epochs": 9, "optim.lr": 0.5}, words="as last run"
    )
    state.set("moco.queue_size", "7")
    state.reset("optim.epochs")
    assert state.changed() == {"optim.lr": 0.5, "moco.queue_size": 7}
    state.reset_all()
    assert state.changed() == {}
    assert (state.start.words, state.typed) == ("", {})
    assert state.bring_back()
    assert state.changed() == {"optim.lr": 0.5, "moco.queue_size": 7}
    assert state.start.words == "as last run"
    state.reset_all()
    state.set("moco.queue_size", "8")
    assert not state.bring_back(), "what was typed since goes before what was given up"


def test_what_a_form_began_with_belongs_to_its_preset() -> None:
    state = FormState("pretrain", preset="quick", values={"optim.lr": 0.5}, words="as last run")
    state.set("moco.queue_size", "7")
    state.use_preset("notebook")
    assert (state.changed(), state.start.words) == ({"moco.queue_size": 7}, "")
    state.use_preset("quick")
    assert state.changed() == {"optim.lr": 0.5, "moco.queue_size": 7}


def test_the_pure_preset_has_the_defaults_of_the_user() -> None:
    pure = FormStart("notebook", {"optim.lr": 0.25}, "with your own defaults")
    state = FormState("pretrain", preset="notebook", values={"optim.epochs": 9}, pure=pure)
    assert state.start_words() == ""
    state.reset_all()
    assert state.start_words() == "with your own defaults", "F10 would change nothing"
    assert state.changed() == {"optim.lr": 0.25}
    state.use_preset("quick")
    assert state.changed() == {}


def test_the_device_of_the_app_is_no_edit_and_lies_below_what_is_typed() -> None:
    state = quick()
    state.use_device("cpu")
    assert (state.values["runtime.device"], state.typed, state.lasting()) == ("cpu", {}, {})
    state.set("runtime.device", "cuda:1")
    state.use_preset("notebook")
    assert state.values["runtime.device"] == "cuda:1"


def test_settings_go_along_to_another_kind_and_its_own_edits_are_there_again() -> None:
    forms = drafts()
    forms.state.set("optim.lr", "0.125")
    forms.state.set("runtime.seed", "5")
    study = forms.go_to("study")
    assert study.values["pretrain.optim.lr"] == 0.125
    assert "pretrain.runtime.seed" not in study.known, "its grid has seeds of its own"
    study.set("pretrain.optim.lr", "0.5")
    study.set("pretrain.moco.temperature", "0.3")
    study.set("seeds", "4, 5")
    probe = forms.go_to("probe")
    assert probe.changed() == {}
    pretrain = forms.go_to("pretrain")
    assert pretrain.values["optim.lr"] == 0.125
    assert pretrain.values["runtime.seed"] == 5
    again = forms.go_to("study")
    assert again.values["pretrain.optim.lr"] == 0.5
    assert again.values["pretrain.moco.temperature"] == 0.3
    assert list(again.values["seeds"]) == [4, 5]


def test_the_device_goes_along_to_the_probes_of_a_study() -> None:
    forms = drafts()
    forms.state.set("runtime.device", "cuda:1")
    study = forms.go_to("study")
    assert study.values["pretrain.runtime.device"] == "cuda:1"
    assert study.values["probe.runtime.device"] == "cuda:1"


def test_a_setting_that_was_reset_goes_along_no_more() -> None:
    forms = drafts()
    forms.state.set("optim.lr", "0.125")
    forms.go_to("study")
    forms.go_to("pretrain").reset("optim.lr")
    assert forms.go_to("study").changed() == {}
    assert forms.typed() == 0


def test_axes_that_are_wrong_count_as_typed() -> None:
    forms = drafts()
    axes = AxisDrafts(forms.go_to("study"))
    axes.add("moco.momentum")
    axes.type("moco.momentum", "x")
    assert forms.typed() == 1
    forms.state.use_preset("notebook")
    assert forms.state.errors() == {}, "of the draft the state knows nothing"
    axes.lay_again()
    assert "axes" in forms.state.errors()
    assert axes.texts == {"moco.momentum": "x"}


def test_a_wrong_text_goes_along_as_it_is() -> None:
    forms = drafts()
    forms.state.set("optim.batch_size", "lots")
    study = forms.go_to("study")
    assert study.text("pretrain.optim.batch_size") == "lots"
    assert "pretrain.optim.batch_size" in study.errors()


@pytest.mark.parametrize(
    ("key", "kind", "other", "found"),
    [
        ("optim.lr", "pretrain", "study", "pretrain.optim.lr"),
        ("supervised.lr", "probe", "study", "probe.supervised.lr"),
        ("pretrain.optim.lr", "study", "pretrain", "optim.lr"),
        ("probe.supervised.lr", "study", "pretrain", ""),
        ("seeds", "study", "probe", ""),
        ("runtime.device", "pretrain", "probe", "runtime.device"),
        ("data.source", "pretrain", "probe", ""),
    ],
)
def test_which_settings_two_kinds_share(key: str, kind: str, other: str, found: str) -> None:
    assert shared_key(key, kind, other) == found


def test_every_shared_key_is_one() -> None:
    known: dict[str, Any] = {kind: FormState(kind).known for kind in ("pretrain", "probe", "study")}
    for kind in ("pretrain", "probe"):
        own = {shared_key(key, kind, "study") for key in known[kind]}
        of_study = {key for key in known["study"] if key.startswith(f"{kind}.")}
        assert of_study <= own
