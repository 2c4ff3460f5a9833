"""Extending and forking from the table of runs: the form, its checks, the run that it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual.widgets import Input

from engine.runs import RunFolder
from engine.runs.kept_checkpoints import keep
from moco_tui.app import MocoApp
from moco_tui.screens.branch_run_screen import BranchRunScreen
from moco_tui.screens.dialogs import Ask
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.choosers import Chooser
from moco_tui.widgets.form_rows import FieldRow
from moco_tui.widgets.run_chart import RunChart
from moco_tui.widgets.run_table import RunTable

from ..conftest import RESULT, screen_text, still_runner, until, write_run

MakeApp = Callable[..., MocoApp]


def finished(root: Path) -> RunFolder:
    """A pretraining of twelve epochs that has kept those of 4 and 8."""
    folder = write_run(
        root,
        "k7m2qx",
        name="notebook",
        sets=("epochs=12",),
        steps=120,
        total_steps=120,
        checkpoint_step=120,
        untrained={},
    )
    folder.checkpoint_path.write_bytes(b"x")
    for epoch in (4, 8):
        keep(folder.path, folder.checkpoint_path, "epoch", epoch)
    return folder


def form(app: MocoApp) -> BranchRunScreen:
    assert isinstance(app.screen, BranchRunScreen)
    return app.screen


def field(app: MocoApp, key: str) -> Input:
    editor = form(app).query_one(f"#f-{key.replace('.', '-')}", FieldRow).editor
    assert isinstance(editor, Input)
    return editor


async def test_a_key_extends_a_finished_run_to_twice_its_epochs(
    root: Path, make_app: MakeApp
) -> None:
    folder = finished(root)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 1)
        await pilot.press("E")
        await until(pilot, lambda: field(app, "optim.epochs").value == "24")
        assert "from notebook (k7m2qx)" in screen_text(app)
        assert form(app)._command() == "moco-tui extend k7m2qx --epochs 24"
        field(app, "optim.epochs").value = "12"
        await until(pilot, lambda: "optim.epochs" in form(app).found)
        assert "has 12 epochs behind it" in form(app).found["optim.epochs"]
        field(app, "optim.epochs").value = "36"
        await until(pilot, lambda: not form(app).found)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        (new,) = still_runner(app).started
        record = new.record()
        assert record.began_from is not None
        branch = record.began_from
        assert (branch["run"], branch["checkpoint"], branch["how"], branch["epoch"]) == (
            *(folder.id, "last", "extend"),
            12.0,
        )
        assert record.config["optim"]["epochs"] == 36
        assert new.start_path.read_bytes() == b"x"


async def test_f_asks_for_a_checkpoint_and_forks_with_other_settings(
    root: Path, make_app: MakeApp
) -> None:
    finished(root)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 1)
        await pilot.press("F")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert "4, 8 or last" in screen_text(app)
        await pilot.press(*["backspace"] * 4, "5", "enter")
        await until(pilot, lambda: any("epoch 5" in n.message for n in app._notifications))
        await pilot.press("F")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press(*["backspace"] * 4, "4", "enter")
        await until(pilot, lambda: "(k7m2qx@4)" in screen_text(app))
        field(app, "moco.queue_size").value = "64"
        await until(pilot, lambda: form(app).state.values["moco.queue_size"] == 64)
        assert form(app)._command() == "moco-tui fork k7m2qx@4 --set moco.queue_size=64"
        form(app).state.set("model.dim", "7")
        form(app)._check()
        assert "whose weights do not fit another one" in form(app).found["model.dim"]
        form(app).state.set("model.dim", "512")
        form(app)._check()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        (new,) = still_runner(app).started
        branch = new.record().began_from
        assert branch is not None
        assert (branch["checkpoint"], branch["step"], branch["how"]) == ("4", 40, "fork")


async def test_what_cannot_be_extended_or_forked_is_said(root: Path, make_app: MakeApp) -> None:
    write_run(root, "q4r8st", steps=80, total_steps=120, status="stopped", untrained={})
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 1)
        await pilot.press("E")
        await until(pilot, lambda: any("finish it with r" in n.message for n in app._notifications))
        await pilot.press("F")
        await until(pilot, lambda: any("nothing to fork" in n.message for n in app._notifications))
        assert len(app.screen_stack) == 1


async def test_the_monitor_draws_the_probes_of_checkpoints_over_their_steps(
    root: Path, make_app: MakeApp
) -> None:
    folder = finished(root)
    for number, step in enumerate((40, 80, 120)):
        write_run(
            root,
            f"p{number}b9dz",
            kind="probe",
            parent=folder.id,
            checkpoint=str(step // 10),
            result={**RESULT, "encoder_step": step},
            last={"probe/pretrained/test_top1": 50.0 + number},
            total_steps=4,
            steps_per_epoch=0,
        )
    app = make_app()
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        app.open_run(folder.id)
        await until(pilot, lambda: "probes: ten 10 % logistic" in screen_text(app))
        curve = app.screen.query_one("#accuracy", RunChart).curves[-1]
        assert list(curve.series.steps) == [40, 80, 120]
        assert list(curve.series.raw.values) == [50, 51, 52]
        assert not curve.dense


async def test_a_kept_checkpoint_can_be_chosen_for_a_probe(root: Path, make_app: MakeApp) -> None:
    finished(root)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 1)
        await pilot.press("P")
        await until(pilot, lambda: app.screen.query_one("#parent", Chooser))
        app.screen.query_one("#parent", Chooser).focus()
        await pilot.press("right")
        await until(pilot, lambda: "@4 of notebook" in screen_text(app))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        (probe,) = still_runner(app).started
        assert (probe.record().parent, probe.record().checkpoint) == ("k7m2qx", "4")


async def test_compare_draws_the_probes_of_two_runs_over_their_epochs(
    root: Path, make_app: MakeApp
) -> None:
    finished(root)
    write_run(root, "q4r8st", steps=120, total_steps=120, untrained={})
    for parent, number, step in (
        *(("k7m2qx", number, step) for number, step in enumerate((40, 80, 120))),
        ("q4r8st", 3, 120),
    ):
        write_run(
            root,
            f"p{number}b9dz",
            kind="probe",
            parent=parent,
            result={**RESULT, "encoder_step": step},
            last={"probe/pretrained/test_top1": 50.0 + number},
            total_steps=4,
            steps_per_epoch=0,
        )
    app = make_app()
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 6)
        app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, lambda: app.screen.query_one(Chart).curves)
        await pilot.press("M")  # behind the last metric
        await until(pilot, lambda: app.screen.query_one(Chart).title.startswith("probes: ten"))
        one, other = app.screen.query_one(Chart).curves
        assert list(one.series.steps) == [40, 80, 120]
        assert (list(other.series.steps), list(other.series.raw.values)) == ([120], [53])
        assert " epochs " in screen_text(app)
