"""The palette leads to every run, screen and setting, each of them once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from engine.runs.record import UserNotes
from moco_tui.app import MocoApp
from moco_tui.present import form
from moco_tui.present.fuzzy import Fit, fit
from moco_tui.present.run_list import RunList
from moco_tui.present.run_rows import RunRow, row_of
from moco_tui.screens import palette
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.palette import MOST_OF_A_KIND, Palette
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.screens.study_screen import StudyScreen
from moco_tui.screens.trash_screen import TrashScreen
from moco_tui.widgets.form_rows import FieldRow
from moco_tui.widgets.run_table import RunTable

from ..conftest import NOW, on_screen, screen_text, some_runs, until, write_run
from ..studies import write_study

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]


def listed(app: MocoApp) -> list[str]:
    """What the palette lists, each with its two lines."""
    options = on_screen(app, Palette).query_one(OptionList).options
    return [str(option.prompt) for option in options]


async def typed(app: MocoApp, pilot: Pilot[Any], text: str, first: str) -> None:
    """Types into a new palette, and waits until something is listed first."""
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(app.screen, Palette))
    names = {" ": "space", ".": "full_stop", "_": "underscore"}
    await pilot.press(*[names.get(letter, letter) for letter in text])
    await until(pilot, lambda: listed(app)[0].startswith(first))


@pytest.mark.parametrize("size", SIZES)
async def test_it_leads_to_a_run_by_name_and_by_id(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        for text in ("large q", "q4r8st", "lrgq"):
            await typed(app, pilot, text, "large queue  q4r8st")
            assert "■ stopped  pretraining" in listed(app)[0]
            assert "large queue  q4r8st" in screen_text(app)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
            assert on_screen(app, MonitorScreen).folder.id == "q4r8st"
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_of_equal_runs_the_newest_stands_first_and_a_study_opens_as_one(
    root: Path, make_app: MakeApp
) -> None:
    for run, created in (("aaaaa1", NOW - 300), ("aaaaa2", NOW - 100), ("aaaaa3", NOW - 200)):
        write_run(root, run, steps=20, name="twin", created=created)
    write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await typed(app, pilot, "twin", "twin  aaaaa2")
        assert [line.split()[1] for line in listed(app)[:3]] == ["aaaaa2", "aaaaa3", "aaaaa1"]
        await pilot.press("escape")
        await typed(app, pilot, "two dict", "two dictionaries")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))


@pytest.mark.parametrize("size", SIZES)
async def test_it_leads_to_a_setting_in_the_form(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()

    def at() -> str:
        row = app.focused
        while row is not None and not isinstance(row, FieldRow):
            row = row.parent  # type: ignore[assignment]
        return row.field.key if isinstance(row, FieldRow) else ""

    def is_at(key: str) -> bool:
        return at() == key

    async with app.run_test(size=size) as pilot:
        for text, first, kind, key in (
            ("moco.momentum", "moco.momentum", "pretrain", "moco.momentum"),
            ("weight decay pretraining", "optim.weight_decay", "pretrain", "optim.weight_decay"),
            ("label_fraction probe", "label_fraction", "probe", "label_fraction"),
        ):
            await typed(app, pilot, text, first)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
            await until(pilot, partial(is_at, key))
            assert on_screen(app, NewRunScreen).state.kind == kind
        depth = len(app.screen_stack)
        await typed(app, pilot, "task.name probe", "task.name")
        await pilot.press("enter")
        await until(pilot, lambda: at() == "task.name")
        assert len(app.screen_stack) == depth, "the form on the screen is the one"


async def test_every_setting_is_listed_once(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test():
        provider = palette.JumpProvider(app.screen)
        await provider.startup()
        _, settings = await provider._read_already()
    found = Counter(jump.title for jump in settings)
    assert set(found.values()) == {1}
    for kind in ("pretrain", "probe"):
        for key in form.FormState(kind).known:
            assert any(title.split()[0] == key for title in found), key


@pytest.mark.parametrize("name", ["runs", "monitor", "study", "form", "trash"])
async def test_no_command_is_listed_twice(root: Path, make_app: MakeApp, name: str) -> None:
    some_runs(root)
    write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: app.session.runs.rows)
        if name in ("monitor", "study"):
            app.open_run("k7m2qx" if name == "monitor" else "s5t6dy")
            await until(pilot, lambda: getattr(app.screen, "record", None))
        elif name == "form":
            app.open_form()
        elif name == "trash":
            app.action_open("trash")
        await until(pilot, lambda: name == "runs" or len(app.screen_stack) == 2)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: len(listed(app)) > 10)
        titles = Counter(line.splitlines()[0].lower() for line in listed(app))
        assert [title for title, times in titles.items() if times > 1] == []
        assert {"runs", "new pretraining", "new probe", "new study", "study", "trash", "keys"} <= {
            *titles
        }
        assert not {"new", "start the demo"} & {*titles}, "they are offered in other words"


async def test_it_leads_to_screens_and_back_to_the_runs(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await typed(app, pilot, "trash", "Trash")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TrashScreen))
        await typed(app, pilot, "new probe", "New probe")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert on_screen(app, NewRunScreen).state.kind == "probe"
        await typed(app, pilot, "runs", "Runs")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert len(app.screen_stack) == 1


async def test_the_name_of_a_run_is_no_markup(root: Path, make_app: MakeApp) -> None:
    name = "[red]x[/] [bold \x1b[31m [/nonsense] $primary"
    write_run(root, "m4rkup", steps=20, notes=UserNotes(name=name))
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await typed(app, pilot, "m4rkup", "[red]x[/] [bold ")
        assert "[/nonsense] $primary  m4rkup" in listed(app)[0]
        assert "\x1b" not in listed(app)[0]
        assert "[red]x[/]" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))


async def test_ten_thousand_runs_let_keys_come_in_between(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(root, "aaaaaa", steps=20)
    app = make_app()
    looked = 0

    def counted(words: list[str], text: str) -> Fit | None:
        nonlocal looked
        looked += 1
        return real(words, text)

    real = fit
    monkeypatch.setattr("moco_tui.screens.palette.fit", counted)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.runs.rows)
        entry = next(iter(app.session.runs.rows.values())).entry
        rows: dict[str, RunRow] = {}
        for n in range(10_000):
            run = f"r{n:05}"
            rows[run] = row_of(type(entry)(**{**_facts(entry), "id": run, "created": float(n)}))
        monkeypatch.setattr(RunList, "refresh", lambda self, **_: setattr(self, "rows", rows))
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, Palette))
        most, before, going_on = 0, looked, True

        async def watch() -> None:
            nonlocal most, before
            while going_on:
                await asyncio.sleep(0)
                most, before = max(most, looked - before), looked

        watching = asyncio.create_task(watch())
        await pilot.press("r", "0")
        await until(pilot, lambda: any("r09999" in line for line in listed(app)))
        going_on = False
        await watching
        assert looked > 10_000
        assert most <= 1_000, "runs that were looked at without a pause"
        assert sum(line.startswith("r0") for line in listed(app)) == MOST_OF_A_KIND


def _facts(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__struct_fields__}
