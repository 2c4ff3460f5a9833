"""The preview of the run under the cursor: what is shown, when it is read, what is dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.runs.metric_writer import encode_line
from moco_tui.app import MocoApp
from moco_tui.charts.run_curves import RunCurves
from moco_tui.present.run_preview import PreviewReader
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.widgets.preview_body import PreviewBody, PreviewChart
from moco_tui.widgets.run_preview_frame import RunPreviewFrame
from moco_tui.widgets.run_table import RunTable

from ..conftest import NOW, screen_text, some_runs, until, write_run
from ..studies import write_study

MakeApp = Callable[..., MocoApp]


_ALWAYS = ("loss", "accuracy", "settings", "probes")


def frame(app: MocoApp) -> RunPreviewFrame:
    return app.screen.query_one(RunPreviewFrame)


def chart(app: MocoApp, name: str = "loss") -> PreviewChart:
    return app.screen.query_one(f"#preview-{name}", PreviewChart)


def legend(app: MocoApp, name: str = "loss") -> list[tuple[str, str]]:
    return [(curve.mark, curve.name) for curve in chart(app, name).curves]


async def test_beside_a_wide_list_it_follows_the_cursor(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: chart(app).curves and frame(app).title == "large queue")
        text = screen_text(app)
        assert "q4r8st · ■ stopped 67 %" in text
        assert "chance 19.41" in text
        assert "all is as in its preset" in text
        table = app.screen.query_one(RunTable)
        assert frame(app).outer_size.width == pytest.approx(0.45 * 160, abs=1)
        assert table.outer_size.width + frame(app).outer_size.width == 160
        await pilot.press("down")
        assert frame(app).title == "notebook", "what the row knows stands there at once"
        await until(pilot, lambda: "reading images" in screen_text(app))
        assert "57.3 ±1.0" in screen_text(app), "its probe"
        assert "+11.2" in screen_text(app), "over random weights"
        await pilot.press("down")
        await until(pilot, lambda: "accuracy by encoder" in screen_text(app))
        assert not chart(app).display
        await pilot.press("down")
        await until(pilot, lambda: "a lower optim.lr usually helps" in screen_text(app))


async def test_on_a_narrow_terminal_a_key_opens_it_below_the_list(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunTable)
        await until(pilot, lambda: len(table.rows) == 4)
        assert not frame(app).display
        await pilot.press("v")
        await until(pilot, lambda: chart(app).curves)
        assert frame(app).region.y >= table.region.bottom
        assert table.has_focus
        await pilot.press("down")
        await until(pilot, lambda: "57.3 ±1.0" in screen_text(app))
        assert "notebook" in screen_text(app).split("└ 10 %")[0], "the list is still there"
        await pilot.press("v")
        await until(pilot, lambda: not frame(app).display)
        assert table.has_focus
        await pilot.resize_terminal(160, 45)
        await until(pilot, lambda: frame(app).display and frame(app).region.x > 80)
        await pilot.press("v")
        await until(pilot, lambda: table.outer_size.width == 160)


async def test_marked_runs_lie_over_each_other_each_with_the_mark_of_its_row(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        table = app.screen.query_one(RunTable)
        await until(pilot, lambda: len(table.rows) == 4)
        await pilot.press("space", "space")
        await until(pilot, lambda: len(chart(app).curves) == 2)
        assert legend(app) == [("●", "large queue"), ("■", "notebook")]
        lines = screen_text(app).splitlines()
        names = ("large", "noteb")
        marks = {name: next(line for line in lines if name in line)[1] for name in names}
        assert marks == {"large": "●", "noteb": "■"}
        # The cursor stands on a probe by now, without curves of its own.
        table.select("f6g3hj")
        await until(pilot, lambda: len(chart(app).curves) == 3)
        assert legend(app)[2] == ("▲", "hot"), "the run under the cursor has the next free mark"
        table.select("q4r8st")
        await pilot.press("space")
        assert list(table.marked) == ["k7m2qx"]
        assert table.line is not None
        assert table.line.id == "k7m2qx", "the cursor has moved on"
        await until(pilot, lambda: len(chart(app).curves) == 1)
        assert legend(app)[0][0] == "■", "a mark stays with its run"
        await pilot.press("escape")
        await until(pilot, lambda: len(chart(app).curves) == 1)


async def test_a_study_shows_its_results(root: Path, make_app: MakeApp) -> None:
    write_study(root, created=NOW)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.screen.query_one(RunTable).select("s5t6dy")
        await until(pilot, lambda: "results" in frame_text(app))
        assert "source" in frame_text(app)
        assert not app.screen.query_one("#preview-charts").display


def frame_text(app: MocoApp) -> str:
    return "\n".join(line[88:] for line in screen_text(app).splitlines())


async def test_a_key_that_is_held_down_reads_only_where_it_ends(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write_run(root, f"r{number:02}", name=f"run {number}", steps=20, created=NOW - number)
    read: list[str] = []
    inner = PreviewReader.read

    def counted(self: PreviewReader, row: Any, *rest: Any) -> Any:
        read.append(row.id)
        return inner(self, row, *rest)

    monkeypatch.setattr(PreviewReader, "read", counted)
    monkeypatch.setattr("moco_tui.widgets.run_preview_frame.REST_SECONDS", 0.5)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: len(app.screen.query_one(RunTable).rows) == 40)
        await until(pilot, lambda: read)
        for _ in range(30):
            app.screen.query_one(RunTable).action_move(1)
        await until(pilot, lambda: "r30" in read)
        assert set(read) == {"r00", "r30"}


async def test_keys_act_while_a_long_run_is_read_and_a_late_answer_is_dropped(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_runs(root)
    holds, reads = threading.Event(), threading.Event()
    inner = RunCurves.read

    def slow(self: RunCurves, runs: Any, **more: Any) -> bool:
        if runs[0].id == "q4r8st":
            reads.set()
            holds.wait(60)
        return inner(self, runs, **more)

    monkeypatch.setattr(RunCurves, "read", slow)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: reads.is_set())
        table = app.screen.query_one(RunTable)
        await pilot.press("down")
        assert table.current is not None
        assert table.current.id == "k7m2qx"
        await until(pilot, lambda: "reading images" in screen_text(app))
        holds.set()
        for _ in range(5):
            await pilot.pause(0.02)
        assert frame(app).title == "notebook"
        assert "reading images" in screen_text(app), "not replaced by what came late"


async def test_an_answer_that_comes_after_the_screen_was_closed_harms_nothing(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_runs(root)
    holds, reads = threading.Event(), threading.Event()
    inner = PreviewReader.read

    def slow(self: PreviewReader, *rest: Any) -> Any:
        reads.set()
        holds.wait(60)
        return inner(self, *rest)

    monkeypatch.setattr(PreviewReader, "read", slow)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: reads.is_set())
        shown = frame(app)
        app.exit()
        holds.set()
        await until(pilot, lambda: not shown.is_attached or not app.is_running)
    assert app.return_code == 0


async def test_a_run_that_is_trained_shows_its_new_values(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    folder = write_run(root, "n5w7xy", name="live", steps=20, status="stopped", created=NOW)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: chart(app).curves and frame(app).title == "live")
        before = len(chart(app).curves[0].series)
        with folder.metrics_path.open("ab") as file:
            for step in range(21, 41):
                file.write(encode_line(step, step / 10, NOW + step, {"train/loss": 8.0}))
        folder.set_user(note="looked at again")  # what makes the list see it
        await until(pilot, lambda: len(chart(app).curves[0].series) == before + 20)
        await until(pilot, lambda: "looked at again" in screen_text(app))


async def test_its_charts_have_keys_and_enter_still_opens(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: chart(app).curves)
        await pilot.press("tab")
        assert app.focused is chart(app)
        await pilot.press("left")
        assert chart(app).view.cursor is not None
        await pilot.press("escape")
        assert chart(app).view.cursor is None
        await pilot.press("escape")
        assert app.screen.query_one(RunTable).has_focus
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))


@pytest.mark.parametrize("size", [(220, 60), (160, 45), (120, 30), (80, 24), (40, 12)])
async def test_no_panel_is_squeezed_to_nothing(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        table = app.screen.query_one(RunTable)
        await until(pilot, lambda: len(table.rows) == 4)
        if not frame(app).display:
            await pilot.press("v")
        table.select("k7m2qx")
        await until(pilot, lambda: chart(app).curves)
        await pilot.pause()
        body = app.screen.query_one(PreviewBody)
        shown = [panel for panel in body.query("MadePanel, PreviewChart") if panel.region]
        if size >= (80, 24):
            assert {panel.id for panel in shown} >= {f"preview-{n}" for n in _ALWAYS}
            assert all(panel.size.height >= 1 for panel in shown)
            assert all(chart(app, name).size.height >= 5 for name in ("loss", "accuracy"))
            assert table.size.height >= 4
            # From the head to the end of the frame nothing is left empty.
            assert max(panel.region.bottom for panel in shown) >= body.region.bottom
