"""The form of a study: choosing what it varies, seeing how large it is, starting it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from moco_tui.app import MocoApp
from moco_tui.screens.dialogs import Confirm
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.setting_dialog import SettingChoice
from moco_tui.screens.study_screen import StudyScreen
from moco_tui.widgets.study_axes import AblationRow, AddAxis, AxisRow

from ..conftest import screen_text, still_runner, until

MakeApp = Callable[..., MocoApp]


def form(app: MocoApp) -> NewRunScreen:
    assert isinstance(app.screen, NewRunScreen)
    return app.screen


def axis(app: MocoApp, key: str) -> Input:
    (row,) = [row for row in form(app).query(AxisRow) if row.key == key]
    assert isinstance(row.editor, Input)
    return row.editor


def size(app: MocoApp) -> str:
    return str(form(app).query_one("#size-line", Static).render())


async def opened(pilot: Pilot[Any], app: MocoApp) -> None:
    app.open_form(kind="study")
    await until(pilot, lambda: isinstance(app.focused, Input))
    form(app).state.use_preset("quick-study")


async def add(pilot: Pilot[Any], app: MocoApp, words: str, key: str) -> None:
    form(app).query_one(AddAxis).focus()
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, SettingChoice))
    await pilot.press(*words)
    await until(pilot, lambda: key in screen_text(app))
    await pilot.press("enter")
    await until(pilot, lambda: app.focused is axis(app, key))


@pytest.mark.parametrize("at", [(80, 24), (160, 45)])
async def test_axes_are_chosen_typed_checked_and_taken_away(
    root: Path, make_app: MakeApp, at: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=at) as pilot:
        await opened(pilot, app)
        await add(pilot, app, "moco.momentum", "moco.momentum")
        await pilot.press("end", *",1.5")
        await until(pilot, lambda: "at most 1" in screen_text(app))
        assert "shows when everything is right" in size(app)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app.focused is axis(app, "moco.momentum"))
        assert isinstance(app.screen, NewRunScreen), "nothing starts while a value is wrong"
        await pilot.press(*["backspace"] * 3, *"0.9")
        await until(pilot, lambda: "2 variants, 6 pretrainings" in size(app))
        await add(pilot, app, "temperature", "moco.temperature")
        await pilot.press("f9")
        await until(pilot, lambda: len(form(app).query(AxisRow)) == 1)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        (folder,) = still_runner(app).started
        axes = folder.record().config["axes"]
        assert list(axes) == ["moco.momentum"]
        assert axes["moco.momentum"][-1] == 0.9


async def test_a_click_adds_and_removes_an_axis(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await pilot.click(AddAxis)
        await until(pilot, lambda: isinstance(app.screen, SettingChoice))
        await pilot.click("#settings", offset=(2, 0))
        await until(pilot, lambda: len(form(app).query(AxisRow)) == 1)
        await pilot.click(".remove")
        await until(pilot, lambda: not form(app).query(AxisRow))


async def test_augmentations_are_left_out_by_boxes(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        form(app).query_one(AddAxis).focus()
        await pilot.press("down", "enter", "down", "space")
        await until(pilot, lambda: form(app).state.values["ablate"] == ("augment",))
        rows = {row.augmentation: row for row in form(app).query(AblationRow)}
        assert getattr(rows["crop"].editor, "value", None) is True
        rows["crop"].editor.focus()
        await pilot.press("space")
        await until(pilot, lambda: getattr(rows["augment"].editor, "value", None) is False)
        assert "augment.crop" not in form(app).state.values["ablate"]
        await until(pilot, lambda: "variants" in size(app))


@pytest.mark.parametrize("at", [(80, 24), (160, 45)])
async def test_what_cannot_be_trained_is_named_before_the_start(
    root: Path, make_app: MakeApp, at: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=at) as pilot:
        await opened(pilot, app)
        await add(pilot, app, "batch_size", "optim.batch_size")
        await pilot.press("end", *",63")
        await until(pilot, lambda: "1 impossible" in size(app))
        if at[0] == 160:
            assert "✗ batch 63:" in screen_text(app)


async def test_a_very_large_study_asks_before_it_starts(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        form(app).state.set("judge", "knn")
        await add(pilot, app, "moco.momentum", "moco.momentum")
        axis(app, "moco.momentum").value = ",".join(str(0.5 + i / 10_000) for i in range(3400))
        await until(pilot, lambda: "10,200 cells" in size(app), seconds=60)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Confirm), seconds=60)
        assert "10,200 cells" in screen_text(app)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert not still_runner(app).started
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Confirm), seconds=60)
        await pilot.press("y")
        await until(pilot, lambda: bool(still_runner(app).started), seconds=60)
