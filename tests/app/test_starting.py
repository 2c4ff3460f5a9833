"""Starting runs in the app: what cannot be started is not left queued."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.errors import RunBusyError
from engine.runs import RunFolder, create, folder_names
from moco_tui import lazy
from moco_tui.app import MocoApp
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.training.runner import Runner

from .conftest import StillRunner, until

MakeApp = Callable[..., MocoApp]


class RefusingRunner(StillRunner):
    """Can start nothing."""

    def start(self, folder: RunFolder, *, allow_other_data: bool = False) -> bool:
        raise RunBusyError("Run is being trained by another process.")

    def start_detached(self, *folders: RunFolder) -> Any:
        raise RunBusyError("Run is being trained by another process.")


def listening(app: MocoApp) -> list[str]:
    said: list[str] = []
    app.say = lambda text, **options: said.append(text)  # type: ignore[method-assign]
    return said


@pytest.mark.parametrize("how", ["form", "demo"])
async def test_a_new_run_that_cannot_be_started_is_taken_back(
    root: Path, make_app: MakeApp, tmp_path: Path, how: str
) -> None:
    app = make_app(device="cpu", runner=RefusingRunner(tmp_path))
    said = listening(app)
    async with app.run_test(size=(80, 24)) as pilot:
        if how == "demo":
            app.start_demo()
        else:
            app.open_form()
            await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
            await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(said))
        assert said == ["Run is being trained by another process."]
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
    assert folder_names(root) == []


async def test_without_file_locks_the_form_stays_and_nothing_is_made(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: Any, operation: int) -> None:
        raise OSError(37, os.strerror(37))

    app = make_app(device="cpu")
    said = listening(app)
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_form()
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        monkeypatch.setattr(fcntl, "flock", refuse)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(said))
        assert "has no file locks (flock)" in said[0]
        assert isinstance(app.screen, NewRunScreen), "what was typed is kept"
    assert folder_names(root) == []
    assert [path.name for path in root.iterdir() if path.name.endswith(".new")] == []


def test_a_run_whose_trainer_cannot_be_imported_is_recorded_as_failed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> None:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(lazy, "engine", broken)
    run = create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"))
    runner = Runner(tmp_path)
    runner.start(run)
    assert runner.join(60.0)
    assert run.record().status == "failed"
    assert "libcudart.so.12" in run.record().error
    assert not run.alive()
