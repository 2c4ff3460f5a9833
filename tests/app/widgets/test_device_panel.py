"""The panel of the load over a run: its key, its charts, and what it says where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.runs import own
from engine.runs.device_log import DeviceLog
from engine.runs.folder import RunFolder
from moco_tui.app import MocoApp
from moco_tui.present.device_charts import device_charts
from moco_tui.present.device_load import MACHINE_NOW, NOTHING_RECORDED, NOTHING_YET
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.training.runner import Runner
from moco_tui.widgets.device_panel import DeviceChartView, DevicePanel
from moco_tui.widgets.text_panel import TextPanel

from ...machine_loads import write_history
from ..conftest import NOW, FakeTrainer, on_screen, screen_text, some_runs, until, write_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]
HOSTILE = "\x1b]0;x\x07\x1b[2J\u202eevil"


def record(root: Path, run: str, shares: list[float], **options: Any) -> None:
    options.setdefault("began", NOW - 600)
    write_history(root / run / "devices.jsonl", shares, **options)


def views(app: MocoApp) -> dict[str, DeviceChartView]:
    panel = on_screen(app, MonitorScreen).query_one(DevicePanel)
    return {view._chart.key: view for view in panel.query(DeviceChartView)}


def device_text(app: MocoApp) -> str:
    panel = on_screen(app, MonitorScreen).query_one("#device", TextPanel)
    return "\n".join("".join(text for text, _ in line) for line in panel.lines)


async def opened(app: MocoApp, pilot: Any, run: str) -> None:
    await pilot.pause()
    app.open_run(run)
    await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)


@pytest.mark.parametrize("size", SIZES)
async def test_the_key_leads_to_charts_with_their_newest_values(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    record(root, "k7m2qx", [i / 50 for i in range(50)])
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, "k7m2qx")
        await pilot.press("7")
        await until(pilot, lambda: "98 %, run 24 % · min" in screen_text(app))
        assert len(views(app)) == 6
        assert app.focused is views(app)["cpu"], "its title shows where the keys go"
        assert [len(curve.series) for curve in views(app)["cpu"].curves] == [50, 50]
        assert views(app)["card0/use"].view.span == (0.0, 100.0)
        text = screen_text(app)
        if size[0] == 160:
            assert "60 °C · min" in text
            assert "kNN top-1" not in text, "the charts have the room of all others"
        await pilot.press("left")
        await until(pilot, lambda: "8.18 min  98.0 %  r 24.5 %" in screen_text(app))
        await pilot.press("tab", "tab")
        assert app.focused is not views(app)["cpu"]


async def test_the_same_key_gives_the_room_back_and_others_lead_on(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    record(root, "k7m2qx", [0.5] * 5)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "k7m2qx")
        for key, focused in (("7", "loss"), ("2", "accuracy"), ("9", "log")):
            await pilot.press("7")
            await until(pilot, lambda: views(app) and "kNN top-1" not in screen_text(app))
            await pilot.press(key)
            await until(pilot, lambda: "kNN top-1" in screen_text(app))
            if key != "7":
                assert app.focused is not None
                assert app.focused.id == focused


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_without_records_says_so_and_shows_the_machine_as_it_is(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, "k7m2qx")
        await pilot.press("number_sign")
        await until(pilot, lambda: NOTHING_RECORDED in device_text(app))
        assert MACHINE_NOW in device_text(app)
        assert "NVIDIA H200" in device_text(app)
        await pilot.press("7")
        await until(pilot, lambda: NOTHING_RECORDED in screen_text(app))
        assert not views(app)


async def test_a_finished_run_shows_its_last_record_and_of_when(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    record(root, "k7m2qx", [0.9, 0.25], began=NOW - 7200)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "k7m2qx")
        await pilot.press("number_sign")
        await until(pilot, lambda: "recorded 1 h ago" in device_text(app))
        assert "25 % of 4 cores" in device_text(app)
        assert "42 %" not in device_text(app), "that is the machine of the app"


async def test_a_run_of_another_process_is_followed(root: Path, make_app: MakeApp) -> None:
    folder = write_run(root, "live01", steps=20, status="stopped")
    with own(folder) as owner:
        owner.transition("running")
        app = make_app()
        async with app.run_test(size=(80, 24)) as pilot:
            await opened(app, pilot, "live01")
            await pilot.press("7")
            await until(pilot, lambda: NOTHING_YET in screen_text(app))
            record(root, "live01", [0.5])
            await until(pilot, lambda: "50 %, run 12 %" in screen_text(app))
            record(root, "live01", [0.75], began=NOW - 100)
            await until(pilot, lambda: "75 %, run 19 %" in screen_text(app))
            assert [len(c.series) for c in views(app)["cpu"].curves] == [2, 2]
            await pilot.press("number_sign")
            await until(pilot, lambda: "75 % of 4 cores" in screen_text(app))


async def test_what_this_app_trains_is_read_now(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    folder = write_run(root, "live01", steps=20, status="stopped")
    record(root, "live01", [0.5])
    runner = Runner(tmp_path, execute=FakeTrainer())
    app = make_app(runner=runner)
    async with app.run_test(size=(160, 45)) as pilot:
        app.start_runs(folder)
        await opened(app, pilot, "live01")
        await pilot.press("number_sign")
        await until(
            pilot, lambda: device_text(app).startswith("CPU") and "42 %" in device_text(app)
        )
        await pilot.press("s", "y")
        await until(pilot, lambda: runner.join(0))
        await until(pilot, lambda: "50 % of 4 cores" in device_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_of_a_probe_it_has_the_next_key(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    record(root, "p2b9dz", [0.5], cards=0)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, "p2b9dz")
        await pilot.press("7")
        await until(pilot, lambda: set(views(app)) == {"cpu", "memory"})
        assert "8.0 GiB, run 1.0 GiB · min" in screen_text(app)


@pytest.mark.parametrize(
    "damage",
    [
        b'{"began":1,"every":1,"columns":["cpu"],"cards":["\\u001b[2J"]}\n[1,50]\nx\n[2,"y"]\n',
        b"\0" * 5000,
        b"[" * 300_000,
    ],
)
async def test_a_hostile_file_is_shown_clean_or_not_at_all(
    root: Path, make_app: MakeApp, damage: bytes
) -> None:
    some_runs(root)
    (root / "k7m2qx" / "devices.jsonl").write_bytes(damage)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, "k7m2qx")
        await pilot.press("number_sign")
        await until(pilot, lambda: "recorded" in device_text(app))
        await pilot.press("7")
        await until(pilot, lambda: "\x1b" not in screen_text(app))


async def test_a_folder_in_its_place_is_a_sentence(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    (root / "k7m2qx" / "devices.jsonl").mkdir()
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "k7m2qx")
        await pilot.press("number_sign")
        await until(pilot, lambda: "a folder stands where a file should be" in device_text(app))
        await pilot.press("7")
        await until(pilot, lambda: "a folder stands" in screen_text(app))


def test_a_history_that_was_thinned_out_is_drawn_anew(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).devices_path
    write_history(path, [0.5] * 40, began=NOW)
    log = DeviceLog(path)
    log.poll()
    view = DeviceChartView(device_charts(log)[0])
    view.take(device_charts(log)[0])
    assert len(view.curves[0].series) == 40
    path.unlink()
    write_history(path, [0.25] * 20, began=NOW, every=20.0)
    log.poll()
    view.take(device_charts(log)[0])
    assert list(view.curves[0].series.raw.values) == [25.0] * 20
