"""A form begins as the last run of its kind, or with the preset and the user's defaults."""

from __future__ import annotations

from moco_tui.present.form import FormState
from moco_tui.present.form_start import AS_LAST_RUN, first_form, last_form, of_parent
from moco_tui.user.last_forms import LastForm
from moco_tui.user.user_schema import FormDefaults

DEFAULTS = FormDefaults(pretrain={"optim.lr": 0.25})


def test_the_preset_with_the_users_defaults() -> None:
    state = first_form("pretrain", DEFAULTS)
    assert (state.preset, state.changed()) == ("notebook", {"optim.lr": 0.25})
    assert state.start.words == "with your own defaults"
    assert not state.typed, "nothing of that would be lost"
    assert first_form("probe", DEFAULTS).start.words == ""


def test_the_last_run_and_its_preset_go_before_the_defaults() -> None:
    ran = FormState("pretrain", preset="quick")
    ran.set("moco.queue_size", "77")
    ran.set("optim.milestones", "3, 5")
    state = first_form("pretrain", DEFAULTS, last_form(ran))
    assert state.config() == ran.config()
    assert (state.preset, state.start.words, state.typed) == ("quick", AS_LAST_RUN, {})
    state.use_preset("notebook")
    state.reset_all()
    assert state.changed() == {"optim.lr": 0.25}, "the pure preset has the defaults"


def test_what_another_version_has_written_is_left_out() -> None:
    values = {"optim.lr": 0.5, "optim.gone": 3, "moco.queue_size": -1, "moco.momentum": "x"}
    state = first_form("pretrain", FormDefaults(), LastForm("no-such-preset", values))
    assert (state.preset, state.changed(), state.errors()) == ("", {"optim.lr": 0.5}, {})


def test_a_task_is_kept_for_the_same_pretraining() -> None:
    last = LastForm("", {"task.name": "five", "label_fraction": 0.3}, "k7m2qx")
    assert of_parent(last, "k7m2qx") == last
    other = of_parent(last, "q4r8st")
    assert other is not None
    assert other.values == {"label_fraction": 0.3}
    assert of_parent(None, "k7m2qx") is None
