"""The pinned baseline: a column, the preview, and the next start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moco_tui.app import MocoApp
from moco_tui.user.remembered import baseline_of, remember_baseline
from moco_tui.user.user_file import read_user_file
from moco_tui.widgets.run_preview_frame import RunPreviewFrame
from moco_tui.widgets.run_table import RunTable

from ..conftest import screen_text, some_runs, until
from ..studies import write_study

MakeApp = Callable[..., MocoApp]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_key_pins_the_run_that_others_are_compared_with(
    root: Path, make_app: MakeApp, tmp_path: Path, size: tuple[int, int]
) -> None:
    some_runs(root)
    path = tmp_path / "config.toml"
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        table = app.screen.query_one(RunTable)
        await until(pilot, lambda: len(table.rows) == 4)
        assert "vs base" not in screen_text(app)
        table.select("k7m2qx")
        await pilot.press("b")
        await until(pilot, lambda: "vs base" in screen_text(app))
        listed = [line[: table.outer_size.width] for line in screen_text(app).splitlines()]
        names = ("large", "noteb")
        lines = {name: next(line for line in listed if name in line) for name in names}
        assert "+1.9" in lines["large"], "56.0 against 54.1"
        assert " base" in lines["noteb"]
        if not app.screen.query_one(RunPreviewFrame).display:
            await pilot.press("v")
        table.select("q4r8st")
        await until(pilot, lambda: "base +1.9" in screen_text(app))
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "+1.9" in screen_text(app))
        app.screen.query_one(RunTable).select("k7m2qx")
        await pilot.press("b")
        await until(pilot, lambda: "+1.9" not in screen_text(app))
    assert baseline_of(read_user_file(path), root) == ""


async def test_a_study_is_no_baseline(root: Path, make_app: MakeApp) -> None:
    write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        table = app.screen.query_one(RunTable)
        await until(pilot, lambda: table.rows)
        table.select("s5t6dy")
        await pilot.press("b")
        await until(pilot, lambda: "is a study" in "".join(n.message for n in app._notifications))
        assert "vs base" not in screen_text(app)


def test_each_runs_folder_has_a_baseline_and_the_last_are_kept(tmp_path: Path) -> None:
    user = read_user_file(tmp_path / "config.toml")
    for number in range(60):
        assert remember_baseline(user, Path(f"/runs/{number}"), f"run{number}") == ""
    known = [baseline_of(user, Path(f"/runs/{number}")) for number in range(60)]
    assert known == [""] * 10 + [f"run{number}" for number in range(10, 60)]
    remember_baseline(user, Path("/runs/59"), "")
    assert baseline_of(user, Path("/runs/59")) == ""
