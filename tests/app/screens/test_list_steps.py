"""Runs that go on are shown in their lines, without all others being laid out anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.files import replace_file
from engine.runs import RunFolder
from engine.runs.record import encode_record
from moco_tui.app import MocoApp
from moco_tui.screens.list_view import ListView
from moco_tui.screens.runs_screen import RunsScreen

from ..conftest import on_screen, some_runs, until, write_run

MakeApp = Callable[..., MocoApp]


def change(folder: RunFolder, **values: object) -> None:
    record = folder.record()
    for name, value in values.items():
        setattr(record, name, value)
    replace_file(folder.record_path, encode_record(record))


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were laid out, each time."""
    monkeypatch.setattr("moco_tui.present.run_list._QUICK_SECONDS", -1.0)
    monkeypatch.setattr(RunFolder, "alive", lambda self: True)
    counts: list[int] = []
    arranged = ListView.arranged

    def counted(self: ListView, rows: list[object], *rest: object) -> object:
        counts.append(len(rows))
        return arranged(self, rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ListView, "arranged", counted)
    return counts


def shown_share(app: MocoApp, run: RunFolder) -> float | None:
    table = on_screen(app, RunsScreen).table
    return next(row.share for row, _ in table.rows if row.id == run.id)


async def test_a_step_changes_one_line_and_an_end_all_of_them(
    root: Path, make_app: MakeApp, layouts: list[int]
) -> None:
    some_runs(root)
    run = write_run(root, "a1b2c3", status="running", total_steps=100, step=10)
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: shown_share(app, run) == 0.1)
        await until(pilot, lambda: all(r.size is not None for r in app.session.runs.rows.values()))
        await until(
            pilot, lambda: on_screen(app, RunsScreen)._shown_version == app.session.runs.version
        )
        before = len(layouts)
        change(run, step=50)
        await until(pilot, lambda: shown_share(app, run) == 0.5)
        change(run, step=60)
        await until(pilot, lambda: shown_share(app, run) == 0.6)
        assert len(layouts) == before
        change(run, status="finished", step=100)
        await until(pilot, lambda: shown_share(app, run) == 1.0)
        assert len(layouts) > before
        states = {row.id: row.status for row, _ in on_screen(app, RunsScreen).table.rows}
        assert states[run.id] == "finished"


@pytest.mark.parametrize("how", ["sorted", "filtered", "probe"])
async def test_where_a_step_may_move_lines_all_are_laid_out(
    root: Path, make_app: MakeApp, layouts: list[int], how: str
) -> None:
    some_runs(root)
    facts: dict[str, Any] = {"status": "running", "total_steps": 100, "step": 10}
    kind = "probe" if how == "probe" else "pretrain"
    parent: dict[str, Any] = {"parent": "k7m2qx"} if how == "probe" else {}
    run = write_run(root, "a1b2c3", kind=kind, **facts, **parent)
    app = make_app()
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: shown_share(app, run) == 0.1)
        if how == "sorted":
            await pilot.press("]")
        elif how == "filtered":
            await pilot.press("slash", *"step>5", "enter")
        await until(pilot, lambda: all(r.size is not None for r in app.session.runs.rows.values()))
        await until(
            pilot, lambda: on_screen(app, RunsScreen)._shown_version == app.session.runs.version
        )
        before = len(layouts)
        change(run, step=50)
        await until(pilot, lambda: shown_share(app, run) == 0.5)
        assert len(layouts) > before
