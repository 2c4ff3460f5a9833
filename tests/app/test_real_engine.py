"""From the form to a finished run, with the real engine, small; and the app in a real terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.config.presets import preset
from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, create
from moco_tui.app import MocoApp
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.training.runner import Runner
from moco_tui.widgets.choosers import Chooser
from moco_tui.widgets.form_rows import FieldRow, SectionHead

from ..pseudo_terminal import Terminal, app_command, environment
from .conftest import on_screen, screen_text, until

SMALL = {
    **preset("quick").values,
    "data.limit": 320,
    "optim.batch_size": 32,
    "model.bn_splits": 4,
    "moco.queue_size": 256,
    "monitor.knn_k": 10,
    "runtime.threads": 1,
    "runtime.device": "cpu",
}


async def test_from_the_form_to_a_finished_run(
    root: Path, make_app: Callable[..., MocoApp], tmp_path: Path
) -> None:
    app = make_app(runner=Runner(tmp_path / "data"))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: app.screen.query("#f-moco-queue_size"))
        form = app.screen
        for head in form.query(SectionHead):
            head.focus()
            await pilot.press("enter")
        await until(pilot, lambda: form.query("#f-runtime-threads") and form.query("#f-data-limit"))
        for key, value in {**SMALL, "optim.epochs": 1}.items():
            row = form.query_one(f"#f-{key.replace('.', '-')}", FieldRow)
            row.editor.value = str(value)  # type: ignore[attr-defined]
            if isinstance(row.editor, Chooser):
                row.editor.post_message(Chooser.Changed(row.editor))
        await pilot.pause()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await until(pilot, lambda: "✓ finished" in screen_text(app), seconds=240)
        folder = on_screen(app, MonitorScreen).folder
        record = folder.record()
        assert (record.status, record.step, record.error) == ("finished", 10, "")
        log = folder.metrics()
        log.poll()
        assert list(log.series("train/loss")[0]) == list(range(1, 11))
        assert app.screen.query("#loss")
        assert app.session.runner.join(60)


@pytest.fixture
def terminal(root: Path, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(app_command(root, tmp_path / "data"), environment(), (80, 24))
    yield made
    made.close()


def step_of(text: str) -> int:
    """The step in the line of the progress bar."""
    found = [part for part in text.split("step ")[1:] if "/" in part]
    return int(found[0].split("/")[0].replace(",", "")) if found else 0


def test_a_session_in_a_terminal(root: Path, terminal: Terminal) -> None:
    """Start, fill in the form, start a run, see the curve move, pause, go on, stop, quit."""
    small = build(PretrainConfig, {**SMALL, "optim.epochs": 500, "monitor.knn_every": 0})
    create(root, "pretrain", small, name="pattern", preset="quick")
    terminal.until(lambda text: "pattern" in text)
    terminal.keys("y")
    terminal.until(lambda text: "keys in the dictionary" in text)
    terminal.keys("\x1b[A")
    terminal.until(lambda text: "data.source" in text)
    terminal.keys("\x1b[A")
    terminal.until(lambda text: "data.source" not in text)
    terminal.keys(*"session")
    terminal.until(lambda text: "session" in text)
    terminal.keys("\x13")
    terminal.until(lambda text: "▸ running  session" in text and step_of(text) > 3)
    seen = step_of(terminal.text)
    terminal.until(lambda text: step_of(text) > seen)
    assert any(0x2800 < ord(c) < 0x2900 for c in terminal.text), "a curve"
    terminal.keys("p")
    terminal.until(lambda text: "‖ paused" in text)
    terminal.keys("p")
    terminal.until(lambda text: "▸ running" in text)
    terminal.keys("s")
    terminal.until(lambda text: "Stop session" in text)
    terminal.keys("y")
    terminal.until(lambda text: "■ stopped" in text)
    terminal.keys("\x1b")
    terminal.until(lambda text: "■ stopped   session" in text)
    terminal.keys("q")
    assert terminal.wait() == 0
    (folder,) = [
        RunFolder(path)
        for path in root.iterdir()
        if (path / "run.json").exists() and RunFolder(path).record().name == "session"
    ]
    record = folder.record()
    assert record.status == "stopped"
    assert record.checkpoint_step == record.step > 3
