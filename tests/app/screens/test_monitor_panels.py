"""The panels of the monitor: all columns, whole texts, what can be asked for, and what not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.widget import Widget

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, create, own
from engine.sink import Plan
from moco_tui.app import MocoApp
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.widgets.panel import Panel
from moco_tui.widgets.text_panel import TextPanel

from ..conftest import RESULT, on_screen, screen_text, some_runs, still_runner, until, write_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]
SUPERVISED: dict[str, Any] = {
    "top1": 57.3,
    "rows": [*RESULT["rows"], {**RESULT["rows"][0], "source": "supervised", "top1": 60.0}],
}


def said(app: MocoApp, words: str) -> int:
    """How many messages that are shown hold these words."""
    return sum(words in message.message for message in app._notifications)


def has_focus(app: MocoApp, widget: Widget) -> bool:
    return app.focused is widget


def is_drawn(widget: Widget) -> bool:
    return widget.region.area > 0


def probe_with_curves(root: Path) -> None:
    """Of a probe whose heads have a loss and an accuracy over steps."""
    some_runs(root)
    more: dict[str, Any] = {"kind": "probe", "parent": "k7m2qx", "total_steps": 60}
    write_run(root, "p3supe", steps=60, result=SUPERVISED, **more)


@pytest.mark.parametrize("size", SIZES)
async def test_every_column_of_a_probe_is_there_beside_its_curves(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    probe_with_curves(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("p3supe")
        await until(pilot, lambda: "majority" in screen_text(app))
        await until(pilot, lambda: "-charts" in app.screen.classes)
        await pilot.press("1")
        assert app.focused is not None
        assert app.focused.id == "rows"
        text = screen_text(app)
        head = next(line for line in text.splitlines() if "top-1  95 %" in line)
        assert "balanced" in head
        assert "majority" in head
        row = next(line for line in text.splitlines() if "supervised" in line)
        assert "60.0 %" in row
        assert row.index("10.0 %") + 6 == head.index("majority") + 8, "under its head"
        assert "Right: more" not in screen_text(app)
        await pilot.press("2")
        await until(pilot, lambda: "accuracy by class" in screen_text(app))
        for source in SUPERVISED["rows"]:
            assert f"{source['per_class']['cat']:.1f} %" in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("run_id", ["k7m2qx", "p3supe"])
async def test_each_digit_leads_to_the_panel_of_its_name(
    root: Path, make_app: MakeApp, size: tuple[int, int], run_id: str
) -> None:
    names = {
        "k7m2qx": {"1": "loss", "2": "accuracy", "8": "epochs", "9": "log", "#": "device"},
        "p3supe": {"1": "rows", "4": "loss", "5": "accuracy", "9": "log", "#": "device"},
    }
    probe_with_curves(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run(run_id)
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        await until(pilot, lambda: app.screen.query_one("#log", TextPanel).lines)
        for key, name in names[run_id].items():
            await pilot.press({"#": "number_sign"}.get(key, key))
            panel = app.screen.query_one(f"#{name}", Panel)
            await until(pilot, partial(has_focus, app, panel))
            await until(pilot, partial(is_drawn, panel))
            assert panel.key == key
            assert panel.region.height >= 3
            assert panel.region.bottom <= size[1] - 1


async def test_what_is_cut_at_the_right_says_so_and_can_be_seen(
    root: Path, make_app: MakeApp
) -> None:
    probe_with_curves(root)
    app = make_app()
    async with app.run_test(size=(44, 24)) as pilot:
        app.open_run("p3supe")
        await until(pilot, lambda: "Right: more" in screen_text(app))
        assert "majority" not in screen_text(app)
        await pilot.press("1", *["right"] * 4)
        await until(pilot, lambda: "majority" in screen_text(app))
        assert "Right: more" not in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_a_failure_and_the_log_can_be_read_in_whole(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    words = [f"word{number:03d}" for number in range(40)]
    lines = [f"line{number:03d}" for number in range(40)]
    write_run(
        root, "f1", steps=30, status="failed", error=" ".join(words), log=" ".join(lines) + "\n"
    )
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("f1")
        await until(pilot, lambda: "word039" in screen_text(app))
        shown = screen_text(app)
        assert [word for word in words if word not in shown] == []
        await pilot.press("9")
        found: set[str] = set()
        await pilot.press("home")
        for _ in range(12):
            await pilot.pause()
            found |= {line for line in lines if line in screen_text(app).replace("\n", " ")}
            await pilot.press("down")
        assert len(found) == 40


@pytest.mark.parametrize(
    ("status", "words"),
    [("running", "no message yet"), ("finished", "It went through without a message")],
)
async def test_an_empty_log_says_what_is_true(
    root: Path, make_app: MakeApp, status: str, words: str
) -> None:
    folder = create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"), name="r")
    app = make_app()
    with own(folder) as owner:
        owner.transition("running")
        if status == "finished":
            owner.transition("finished")
        folder.log_path.unlink(missing_ok=True)
        async with app.run_test(size=(160, 45)) as pilot:
            app.open_run(folder.id)
            await until(pilot, lambda: words in screen_text(app))


async def test_a_probe_of_images_without_classes_is_not_offered(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "n0lab1", steps=30, name="plain", facts={"classes": 0})
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: "plain" in screen_text(app))
        await pilot.press("P")
        await until(pilot, lambda: said(app, "have no classes") == 1)
        on_screen(app, RunsScreen)
        app.open_run("n0lab1")
        await until(pilot, lambda: "✓ finished" in screen_text(app))
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        assert "P Probe" not in screen_text(app)
        await pilot.press("P")
        on_screen(app, MonitorScreen)
        app.open_form(parent="n0lab1")
        await until(pilot, lambda: app.screen.query("#f-label_fraction"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: said(app, "have no classes") == 2)
        on_screen(app, NewRunScreen)
        assert still_runner(app).started == []
        assert [path.name for path in root.iterdir() if (path / "run.json").exists()] == ["n0lab1"]


@pytest.mark.parametrize(
    ("status", "key", "words"),
    [("queued", "r Start", "Starting ..."), ("stopped", "r Resume", "Resuming ...")],
)
async def test_a_run_that_waits_is_started_and_one_that_stopped_is_resumed(
    root: Path, make_app: MakeApp, status: str, key: str, words: str
) -> None:
    write_run(root, "w1", steps=0 if status == "queued" else 30, status=status, name="waits")
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("w1")
        await until(pilot, lambda: key in screen_text(app))
        await pilot.press("r")
        await until(pilot, lambda: said(app, words) == 1)
        assert [folder.id for folder in still_runner(app).started] == ["w1"]


async def test_an_answer_between_the_record_and_the_requests_is_not_missed(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"), name="r")
    app = make_app()
    with own(folder) as owner:
        owner.transition("running")
        owner.plan(Plan(total_steps=100, steps_per_epoch=10))
        owner.metrics(7, 0.7, {"train/loss": 9.0})
        pending = RunFolder.pending_requests

        def answered_first(self: RunFolder) -> Any:
            """The trainer answers after the record was read, before the requests are."""
            if owner.request() == "pause":
                owner.transition("paused")
                owner.acknowledge("pause", 7)
            return pending(self)

        async with app.run_test(size=(80, 24)) as pilot:
            app.open_run(folder.id)
            await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
            monkeypatch.setattr(RunFolder, "pending_requests", answered_first)
            await pilot.press("p")
            await until(pilot, lambda: said(app, "Paused after step 7.") == 1)
