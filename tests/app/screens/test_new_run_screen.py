"""The form on the screen: editing, checking, starting."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.config.schema import ProbeConfig
from moco_tui.app import MocoApp
from moco_tui.present.augment_preview import Previewer, PreviewRequest
from moco_tui.present.form_choices import OWN, Choice
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.study_screen import StudyScreen
from moco_tui.widgets.choosers import Checkbox, Chooser
from moco_tui.widgets.form_rows import FieldRow, SectionHead
from moco_tui.widgets.open_rows import ChoiceRow
from moco_tui.widgets.preview_panel import PreviewPanel

from ..conftest import screen_text, some_runs, still_runner, until

MakeApp = Callable[..., MocoApp]


def form(app: MocoApp) -> NewRunScreen:
    assert isinstance(app.screen, NewRunScreen)
    return app.screen


def row(app: MocoApp, key: str) -> FieldRow:
    return form(app).query_one(f"#f-{key.replace('.', '-')}", FieldRow)


def field(app: MocoApp, key: str) -> Input:
    editor = row(app, key).editor
    assert isinstance(editor, Input)
    return editor


async def choose(pilot: Pilot[Any], app: MocoApp, key: str, name: str, text: str = "") -> None:
    """Choose a value as a person does with the arrow keys, and type what it asks for."""
    found = row(app, key)
    assert isinstance(found, ChoiceRow)
    assert isinstance(found.editor, Chooser)
    found.editor.value = name
    found.editor.post_message(Chooser.Changed(found.editor))
    await pilot.pause()
    if text:
        await until(pilot, lambda: found.argument in found.editors())
        found.argument.value = text
        await pilot.pause()


def chosen(app: MocoApp, key: str) -> str:
    editor = row(app, key).editor
    assert isinstance(editor, Chooser)
    return editor.value


async def opened(pilot: Pilot[Any], app: MocoApp, **options: str) -> None:
    app.open_form(**options)
    await until(pilot, lambda: isinstance(app.focused, Input))


async def test_typing_checks_marks_and_starts(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: app.focused is field(app, "moco.queue_size"))
        await pilot.press("end", *["backspace"] * 4, "0")
        await until(pilot, lambda: row(app, "moco.queue_size").has_class("-wrong"))
        assert "it must be a whole number of at least 1" in screen_text(app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: any("queue size" in n.message for n in app._notifications))
        assert isinstance(app.screen, NewRunScreen), "nothing starts while a value is wrong"
        await pilot.press("backspace", *"777")
        await until(pilot, lambda: row(app, "moco.queue_size").has_class("-changed"))
        assert not row(app, "moco.queue_size").has_class("-wrong")
        await pilot.press("up", "up", *"mine")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        (folder,) = still_runner(app).started
        record = folder.record()
        assert record.config["moco"]["queue_size"] == 777
        assert (record.name, record.preset, record.status) == ("mine", "notebook", "queued")
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_a_preset_fills_the_form(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        form(app).query_one("#preset", Chooser).focus()
        await pilot.press("right")
        await until(pilot, lambda: field(app, "moco.queue_size").value == "16384")
        assert form(app).state.changed() == {}
        await pilot.press("left", "left")
        assert form(app).state.preset == ""


@pytest.mark.parametrize(
    ("name", "wanted"), [("cpu", "cpu"), (OWN, "cuda:1")], ids=["choice", "own-text"]
)
async def test_devices_that_become_known_keep_what_is_being_chosen(
    root: Path, make_app: MakeApp, name: str, wanted: str
) -> None:
    """A thread finds them: they may come between a key and what it does to the settings."""
    app = make_app()
    async with app.run_test(size=(80, 40)) as pilot:
        await opened(pilot, app)
        found = row(app, "runtime.device")
        assert isinstance(found, ChoiceRow)
        assert isinstance(found.editor, Chooser)
        await until(pilot, lambda: form(app).body.devices is not None)
        while found.editor.value != name:
            found.editor.action_step(1)
        if name == OWN:
            await pilot.pause()
            found.argument.value = wanted
        choices = [Choice(each, each) for each in ("auto", "cuda:0", "cuda:1", "cpu")]
        form(app).body.offer_devices([*choices, Choice(OWN, "", "device")], {})
        await until(pilot, lambda: form(app).state.values["runtime.device"] == wanted)
        assert chosen(app, "runtime.device") == wanted


async def test_an_augmentation_switched_off_hides_its_settings(
    root: Path, make_app: MakeApp
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 40)) as pilot:
        await opened(pilot, app)
        tick = row(app, "augment.rotation.enabled").editor
        assert isinstance(tick, Checkbox)
        tick.focus()
        assert form(app).query_one("#a-rotation").display
        await pilot.press("space")
        await until(pilot, lambda: not form(app).query_one("#a-rotation").display)
        assert form(app).state.changed() == {"augment.rotation.enabled": False}
        assert "[ ] off" in screen_text(app)


async def test_sections_open_and_hold_the_rest(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        for head in form(app).query(SectionHead):
            head.focus()
            await pilot.press("enter")
        await until(pilot, lambda: len(form(app).query(FieldRow)) == len(form(app).state.known))
        field(app, "model.dim").value = "1"
        await until(pilot, lambda: row(app, "model.dim").has_class("-wrong"))
        heads = [head for head in form(app).query(SectionHead) if head.has_class("-wrong")]
        assert [head.section for head in heads] == ["model"]


async def test_start_leads_to_the_wrong_field_in_a_closed_section(
    root: Path, make_app: MakeApp
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        field(app, "optim.batch_size").value = "100"  # bn_splits 8 does not divide it
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app.focused is field(app, "model.bn_splits"))
        assert "which does not divide" in screen_text(app)


async def test_a_folder_that_is_not_there_or_vanishes(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await choose(pilot, app, "data.source", "folder")
        await until(pilot, lambda: row(app, "data.source").has_class("-wrong"))
        assert "its path is missing" in screen_text(app)
        await choose(pilot, app, "data.source", "folder", str(pictures))
        await until(pilot, lambda: form(app).state.values["data.source"] == f"folder:{pictures}")
        assert not row(app, "data.source").has_class("-wrong")
        pictures.rmdir()
        await pilot.press("ctrl+s")
        await until(
            pilot, lambda: any("there is no folder" in n.message for n in app._notifications)
        )
        assert still_runner(app).started == []


async def test_a_probe_of_a_pretraining(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.runs.rows) == 4)
        await opened(pilot, app, parent="k7m2qx")
        field(app, "label_fraction").value = "1.5"
        await until(pilot, lambda: row(app, "label_fraction").has_class("-wrong"))
        field(app, "label_fraction").value = "0.3"
        await choose(pilot, app, "data.source", "folder", "/nowhere/at/all")
        await until(pilot, lambda: row(app, "data.source").has_class("-wrong"))
        await choose(pilot, app, "data.source", "shapes")
        await until(pilot, lambda: "--data shapes" in form(app).state.command())
        head = row(app, "head").editor
        assert isinstance(head, Chooser)
        head.focus()
        await pilot.press("right")
        chosen = head.value
        assert chosen != ProbeConfig().head
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        (folder,) = still_runner(app).started
        record = folder.record()
        assert (record.kind, record.parent) == ("probe", "k7m2qx")
        assert record.config["label_fraction"] == 0.3
        assert record.config["data"] == {"source": "shapes"}
        assert record.config["head"] == chosen


async def test_the_kind_changes_the_form(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.runs.rows) == 4)
        await opened(pilot, app)
        form(app).query_one("#kind", Chooser).focus()
        await pilot.press("right")
        await until(pilot, lambda: row(app, "label_fraction"))
        assert form(app).state.type is ProbeConfig
        assert form(app).body.parent_id in ("k7m2qx", "q4r8st", "f6g3hj")
        await pilot.press("left")
        await until(pilot, lambda: row(app, "moco.queue_size"))


async def test_without_a_pretraining_a_probe_says_so(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        form(app).query_one("#kind", Chooser).focus()
        await pilot.press("right")
        await until(pilot, lambda: row(app, "label_fraction"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: any("no pretraining" in n.message for n in app._notifications))


async def test_detached_runs_get_a_process_of_their_own(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        form(app).query_one("#detached", Checkbox).focus()
        await pilot.press("space", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert (len(still_runner(app).detached), still_runner(app).started) == (1, [])


async def test_a_run_like_another_has_its_settings(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.runs.rows) == 4)
        await opened(pilot, app, like="f6g3hj")
        state = form(app).state
        assert (state.preset, state.changed()) == ("quick", {"optim.lr": 5.0})


async def test_the_command_and_toml_can_be_seen_and_copied(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        field(app, "moco.queue_size").value = "5"
        await pilot.press("f4")
        await until(pilot, lambda: "--set moco.queue_size=5" in screen_text(app))
        assert "queue_size = 5" in str(form(app).query_one("#text-body", Static).content)
        await pilot.press("f7")
        assert app.clipboard.endswith("--set moco.queue_size=5")
        await pilot.press("f8")
        assert "queue_size = 5" in app.clipboard
        await pilot.press("escape")
        assert isinstance(app.screen, NewRunScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, NewRunScreen))


async def test_a_study_is_configured_in_80_columns_and_started(
    root: Path, make_app: MakeApp
) -> None:
    app = make_app(device="cpu")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app, kind="study")
        assert app.focused is field(app, "queue_sizes")
        preset = form(app).query_one("#preset", Chooser)
        preset.focus()
        while preset.value != "quick-study":
            await pilot.press("right")
        assert field(app, "queue_sizes").value == "512, 2048"
        for head in list(form(app).query(SectionHead)):
            head.focus()
            await pilot.press("enter")
        # Axes and the ablation have rows of their own.
        shown = len(form(app).state.known) - 2
        await until(pilot, lambda: len(form(app).query(FieldRow)) == shown)
        assert chosen(app, "probe.runtime.device") == "cpu"
        await choose(pilot, app, "pretrain.runtime.device", "auto")
        await until(pilot, lambda: chosen(app, "probe.runtime.device") == "auto")
        tick = row(app, "pretrain.augment.blur.enabled").editor
        tick.focus()
        await pilot.press("space")
        await until(pilot, lambda: not form(app).query_one("#a-blur").display)
        field(app, "tasks").value = "ten, seven"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app.focused is field(app, "tasks"))
        assert "a task must be one of" in screen_text(app)
        field(app, "tasks").value = "ten"
        form(app).query_one("#name", Input).value = "whole"
        await pilot.press("f4")
        await until(pilot, lambda: "moco-tui study --preset quick-study" in screen_text(app))
        await pilot.press("f4", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        (folder,) = still_runner(app).started
        record = folder.record()
        assert (record.kind, record.preset, record.name) == ("study", "quick-study", "whole")
        assert record.config["tasks"] == ["ten"]
        assert record.config["pretrain"]["augment"]["blur"]["enabled"] is False


async def test_the_kind_goes_round_and_keeps_the_device(root: Path, make_app: MakeApp) -> None:
    app = make_app(device="cpu")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        form(app).query_one("#kind", Chooser).focus()
        await pilot.press("left")
        await until(pilot, lambda: row(app, "queue_sizes"))
        assert form(app).state.values["pretrain.runtime.device"] == "cpu"
        assert form(app).state.values["probe.runtime.device"] == "cpu"
        await pilot.press("right")
        await until(pilot, lambda: row(app, "moco.queue_size"))
        assert form(app).state.values["runtime.device"] == "cpu"


async def test_views_are_drawn_when_a_number_is_typed_whole(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moco_tui.widgets.preview_panel.DEBOUNCE_SECONDS", 3600)
    requests: list[PreviewRequest] = []

    def views(self: Previewer, request: PreviewRequest) -> list[tuple[bytes, bytes, bytes]]:
        requests.append(request)
        return [(bytes(3 * request.pixels**2),) * 3]

    monkeypatch.setattr(Previewer, "views", views)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(pilot, app)
        preview = form(app).query_one(PreviewPanel)
        await until(pilot, lambda: preview.rows)
        angle = field(app, "augment.rotation.degrees")
        angle.focus()
        await pilot.press("end", *["backspace"] * 3, *"45")
        await until(pilot, lambda: form(app).state.values["augment.rotation.degrees"] == 45)
        field(app, "moco.queue_size").value = ""  # wrong, and of no concern to the views
        await pilot.pause()
        assert {one.augment.rotation.degrees for one in requests} == {180}, "nothing drawn for 4"
        preview._request()  # the moment has passed
        await until(pilot, lambda: requests[-1].augment.rotation.degrees == 45)
        assert {one.augment.rotation.degrees for one in requests} == {180, 45}
        await pilot.press("f6")
        await until(pilot, lambda: requests[-1].seed == 1)
        field(app, "augment.rotation.degrees").value = "999"
        await pilot.pause()
        assert preview.rows, "the last right views stay"


async def test_the_focus_comes_back_from_the_preview(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        field(app, "optim.epochs").focus()
        for there, back in (("f2", "f2"), ("f4", "escape")):
            await pilot.press(there)
            await until(pilot, lambda: not form(app).body.display)
            await pilot.press(back)
            await until(pilot, lambda: app.focused is field(app, "optim.epochs"))
        await pilot.press("end", "7")
        assert field(app, "optim.epochs").value == "25007"


async def test_the_preview_says_why_there_are_no_images(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await pilot.press("f2")
        await until(pilot, lambda: "CIFAR-10 is not downloaded yet" in screen_text(app))
        await pilot.press("f2")
        await choose(pilot, app, "data.source", "folder", str(tmp_path / "gone"))
        await pilot.press("f2")
        await until(pilot, lambda: "There is no folder" in screen_text(app))


@pytest.mark.parametrize(
    "text", ["a\nb\nc", "", "\n", "[bold]x", "x" * 5000, "\x1b[31m", "😀" * 300]
)
async def test_anything_may_be_pasted(root: Path, make_app: MakeApp, text: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        for target in ("moco.queue_size", "data.source"):
            editor = row(app, target).editor
            editor.focus()
            editor.post_message(events.Paste(text))
            await pilot.pause()
            assert "\n" not in str(form(app).state.values[target])
        form(app).query_one("#name", Input).focus()
        form(app).query_one("#name", Input).post_message(events.Paste(text))
        await pilot.pause()
        assert "\x1b" not in screen_text(app)
        assert isinstance(app.screen, NewRunScreen)


async def test_the_form_survives_a_tiny_terminal(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await pilot.resize_terminal(20, 5)
        await pilot.press("f2", "f3", "f4", "escape", "down", "up")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "queue size" in screen_text(app))


async def test_a_runs_folder_that_cannot_be_written_is_a_message(
    make_app: MakeApp, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    app = make_app(root=tmp_path / "file" / "runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: any("cannot be" in n.message for n in app._notifications))
        assert isinstance(app.screen, NewRunScreen)
