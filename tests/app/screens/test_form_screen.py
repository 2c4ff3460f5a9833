"""What is typed into a form stays, is shown, can be taken back, and is not left unasked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input

from moco_tui.app import MocoApp
from moco_tui.screens.dialogs import LeaveEdits
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.user.user_file import read_user_file
from moco_tui.widgets.choosers import Chooser, Several
from moco_tui.widgets.form_rows import FieldRow
from moco_tui.widgets.open_rows import TwoLineRow

from ..conftest import on_screen, screen_text, some_runs, still_runner, until, write_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]


def form(app: MocoApp) -> NewRunScreen:
    return on_screen(app, NewRunScreen)


def row(app: MocoApp, key: str) -> FieldRow:
    return form(app).query_one(f"#f-{key.replace('.', '-')}", FieldRow)


def text_of(app: MocoApp, key: str) -> str:
    editor = row(app, key).editor
    assert isinstance(editor, Input | Chooser)
    return editor.value


async def opened(pilot: Pilot[Any], app: MocoApp, **options: str) -> None:
    app.open_form(**options)
    await until(pilot, lambda: isinstance(app.focused, Input))


async def typed(pilot: Pilot[Any], editor: Widget, text: str) -> None:
    editor.focus()
    await pilot.press("ctrl+u", *text)


@pytest.mark.parametrize("size", SIZES)
async def test_edits_stay_over_presets_and_kinds(make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await typed(pilot, row(app, "optim.epochs").editor, "77")
        await typed(pilot, form(app).query_one("#name"), "mine")
        form(app).query_one("#preset").focus()
        await pilot.press("right")
        await until(pilot, lambda: text_of(app, "moco.queue_size") == "16384")
        assert text_of(app, "optim.epochs") == "77"
        assert row(app, "optim.epochs").has_class("-changed")
        form(app).query_one("#kind").focus()
        await pilot.press("left")
        await until(pilot, lambda: text_of(app, "pretrain.optim.epochs") == "77")
        assert form(app).query_one("#name", Input).value == "mine"
        await typed(pilot, row(app, "pretrain.optim.epochs").editor, "5")
        form(app).query_one("#kind").focus()
        await pilot.press("right")
        await until(pilot, lambda: text_of(app, "optim.epochs") == "77")
        assert form(app).state.preset == "notebook-large-queue"
        await pilot.press("left")
        await until(pilot, lambda: text_of(app, "pretrain.optim.epochs") == "5")


async def test_rows_that_went_with_another_kind_change_nothing(make_app: MakeApp) -> None:
    """A field tells its first value when it is mounted, which may be after the next kind."""
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(pilot, app)
        old = row(app, "optim.epochs")
        form(app).query_one("#kind").focus()
        await pilot.press("right")
        await until(pilot, lambda: form(app).state.kind == "probe")
        for key, value in (("optim.epochs", "5"), ("runtime.device", "cuda:7")):
            form(app).body.post_message(FieldRow.Edited(key, value, old.state))
        await pilot.pause()
        assert form(app).state.typed == {}


@pytest.mark.parametrize("size", SIZES)
async def test_a_row_and_the_whole_form_go_back_to_the_preset(
    make_app: MakeApp, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await typed(pilot, row(app, "optim.epochs").editor, "77")
        await typed(pilot, row(app, "moco.queue_size").editor, "oops")
        await until(pilot, lambda: "Ctrl+R" not in screen_text(app))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: text_of(app, "moco.queue_size") == "4096")
        assert not row(app, "moco.queue_size").has_class("-wrong")
        assert form(app).state.changed() == {"optim.epochs": 77}
        await pilot.press("down")
        await until(pilot, lambda: "typed; Ctrl+R resets it" in screen_text(app))
        await pilot.press("f10")
        await until(pilot, lambda: text_of(app, "optim.epochs") == "2500")
        await pilot.press("f10")
        await until(pilot, lambda: text_of(app, "optim.epochs") == "77")


async def test_axes_that_are_typed_stay_and_are_reset(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app, kind="study")
        form(app).query_one("#add-axis").focus()
        await pilot.press("enter", *"momentum", "enter")
        await until(pilot, lambda: isinstance(app.focused, Input) and app.focused.value == "0.99")
        await pilot.press("end", *", x")
        await until(pilot, lambda: "axes" in form(app).found)
        for key in ("right", "left"):  # to a pretraining and back
            form(app).query_one("#kind").focus()
            await pilot.press(key)
            kind = "pretrain" if key == "right" else "study"
            await until(pilot, lambda kind=kind: form(app).state.kind == kind)  # type: ignore[misc]
        await until(pilot, lambda: "0.99, x" in screen_text(app))
        await until(pilot, lambda: "axes" in form(app).found)
        form(app).query_one("#preset").focus()
        await pilot.press("right")
        await until(pilot, lambda: "0.99, x" in screen_text(app))
        assert "axes" in form(app).problems()
        form(app).query_one("AxisRow Input").focus()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "axes" not in form(app).problems())
        assert "0.99, x" not in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_leaving_asks_where_something_was_typed(
    make_app: MakeApp, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await opened(pilot, app)
        await typed(pilot, row(app, "optim.epochs").editor, "77")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: text_of(app, "optim.epochs") == "77")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LeaveEdits))
        assert "1 setting" in screen_text(app)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_quitting_asks_too_and_a_name_is_an_edit(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await typed(pilot, form(app).query_one("#name"), "mine")
        form(app).query_one("#kind").focus()
        await pilot.press("q", "q")
        await until(pilot, lambda: isinstance(app.screen, LeaveEdits))
        await pilot.press("k")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        await pilot.press("f1")  # over the form it is not forgotten
        await until(pilot, lambda: not isinstance(app.screen, NewRunScreen))
        app.action_leave()  # as the palette does
        await until(pilot, lambda: isinstance(app.screen, LeaveEdits))
        await pilot.press("l")
        await until(pilot, lambda: app._exit)


@pytest.mark.parametrize("size", SIZES)
async def test_the_form_begins_as_what_was_last_run(
    make_app: MakeApp, tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "config.toml"
    app = make_app(user=read_user_file(path), device="cpu")
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        assert "as last run" not in screen_text(app)
        await typed(pilot, row(app, "optim.epochs").editor, "77")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert len(still_runner(app).started) == 1
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        assert form(app).state.changed() == {"optim.epochs": 77}, "not the device of that start"
        assert "as last run" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await opened(pilot, app)
        await pilot.press("f10")
        await until(pilot, lambda: form(app).state.changed() == {})
        await until(pilot, lambda: "as last run" not in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_a_form_that_begins_with_a_folder_names_its_path(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    write_run(root, "k7m2qx", sets=(f"data.source=folder:{tmp_path}",), steps=20)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.runs.rows)
        await opened(pilot, app, like="k7m2qx")
        data = row(app, "data.source")
        assert isinstance(data, TwoLineRow)
        assert (text_of(app, "data.source"), data.argument.value) == ("folder", str(tmp_path))
        await until(pilot, lambda: "    path " in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_a_read_only_app_and_one_without_a_user_keep_no_file(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await typed(pilot, row(app, "optim.epochs").editor, "77")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("escape")
        await opened(pilot, app)
        assert text_of(app, "optim.epochs") == "77", "while it is open it knows"
    assert not list(tmp_path.glob("**/last-forms.json"))
    assert not Path("last-forms.json").exists()


@pytest.mark.parametrize("size", SIZES)
async def test_the_path_of_a_folder_completes(
    make_app: MakeApp, tmp_path: Path, size: tuple[int, int]
) -> None:
    for name in ("birds-large", "birds-small"):
        (tmp_path / "sets" / name).mkdir(parents=True)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        data = row(app, "data.source")
        data.editor.focus()
        await pilot.press(*"fold", "down")
        assert isinstance(data, TwoLineRow)
        await until(pilot, lambda: app.focused is data.argument)
        await pilot.press(*f"{tmp_path}/se", "tab", "b", "right")
        await until(pilot, lambda: data.argument.value == f"{tmp_path}/sets/birds-")
        assert "birds-large/  birds-small/" in screen_text(app)
        await pilot.press("s", "tab")
        whole = f"{tmp_path}/sets/birds-small/"
        await until(pilot, lambda: form(app).state.values["data.source"] == f"folder:{whole}")
        assert "birds-large" not in screen_text(app)
        assert not data.has_class("-wrong")
        await pilot.press("tab")
        await until(pilot, lambda: app.focused is row(app, "moco.queue_size").editor)


@pytest.mark.parametrize("size", SIZES)
async def test_what_a_probe_needs_is_chosen(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(app.session.runs.rows) == 4)
        await opened(pilot, app, parent="k7m2qx")
        baselines = row(app, "baselines").editor
        assert isinstance(baselines, Several)
        baselines.focus()
        await pilot.press("right", "space")
        await until(pilot, lambda: "[ ] pixels" in screen_text(app))
        assert list(form(app).state.values["baselines"]) == ["random-init", "supervised"]
        await pilot.press("space")
        await until(pilot, lambda: form(app).state.changed() == {})
        task = row(app, "task.name").editor
        task.focus()
        await pilot.press("b")
        await until(pilot, lambda: form(app).state.values["task.name"] == "binary")
        head = row(app, "head")
        head.editor.focus()
        await pilot.press("left")
        assert isinstance(head, TwoLineRow)
        while text_of(app, "head") != "own ...":
            await pilot.press("right")
        head.argument.focus()
        await pilot.press(*"mine.heads:Best")
        await until(pilot, lambda: form(app).state.values["head"] == "mine.heads:Best")
        assert not head.has_class("-wrong")
