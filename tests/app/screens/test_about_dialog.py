"""What a run was set to and where it came from, over the monitor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.runs.provenance import ProvenancePart
from moco_tui.app import MocoApp
from moco_tui.screens.about_dialog import AboutRun
from moco_tui.screens.monitor_screen import MonitorScreen

from ..conftest import screen_text, until, write_run

MakeApp = Callable[..., MocoApp]
VALUES = {
    "program.version": "0.1.0",
    "program.commit": "0123456789ab" * 3,
    "command": "moco-tui pretrain [red]--set[/red] optim.lr=5",
    "environment.OMP_NUM_THREADS": "2",
}
PART = ProvenancePart(step=0, time=1.0, values=VALUES)
LATER = ProvenancePart(step=20, time=2.0, values={"environment.OMP_NUM_THREADS": "4"})


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_the_monitor_shows_settings_and_origin_by_a_key(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    write_run(root, "k7m2qx", steps=30, sets=("lr=5",), provenance=[PART, LATER])
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, AboutRun))
        await pilot.pause()
        text = screen_text(app)
        for words in (
            "optim.lr",
            "moco-tui 0.1.0, commit 0123456789ab",
            "[red]--set[/red]",  # text of others is no markup
            "OMP_NUM_THREADS=2",
            "from step 20",
        ):
            assert words in text
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))


async def test_an_earlier_run_says_that_nothing_was_recorded(root: Path, make_app: MakeApp) -> None:
    write_run(root, "k7m2qx", steps=3)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, AboutRun))
        await pilot.pause()
        assert "not recorded" in screen_text(app)
