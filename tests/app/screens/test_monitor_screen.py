"""The monitor: everything it shows comes from the run folder, and states only from the trainer."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, create
from engine.runs.metric_writer import encode_line
from moco_tui.app import MocoApp
from moco_tui.present.diagnoses import diagnose
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.training.runner import Runner
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.text_panel import TextPanel

from ..conftest import NOW, RESULT, FakeTrainer, on_screen, screen_text, some_runs, until, write_run

MakeApp = Callable[..., MocoApp]


def monitor(app: MocoApp) -> MonitorScreen:
    screen = app.screen
    assert isinstance(screen, MonitorScreen)
    return screen


def step_shown(app: MocoApp) -> int:
    record = monitor(app).record
    assert record is not None
    return record.step


def is_shown(app: MocoApp, words: str) -> bool:
    return words in screen_text(app)


def curve_points(app: MocoApp) -> int:
    return len(monitor(app).query_one("#loss", Chart).curves[0].series)


async def test_a_finished_run_is_shown_whole(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 120)
        text = screen_text(app)
        assert "✓ finished  notebook" in text
        assert f"chance {2 * math.log(4097):.2f}" in text
        assert "100 %" in text
        assert "epoch 12.0/12" in text
        assert "reading images" in text
        series = monitor(app).query_one("#loss", Chart).curves[0].series
        assert list(series.steps) == list(range(1, 121))


async def test_states_change_only_when_the_trainer_has_acknowledged(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    trainer = FakeTrainer()
    runner = Runner(tmp_path, execute=trainer)
    app = make_app(runner=runner)
    folder = create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"), name="live")
    async with app.run_test(size=(80, 24)) as pilot:
        app.start_runs(folder)
        app.open_run(folder.id)
        await until(pilot, lambda: monitor(app).status == "running")
        await until(pilot, lambda: curve_points(app) > 5)
        seen = curve_points(app)
        await until(pilot, lambda: curve_points(app) > seen)
        trainer.answers.clear()
        await pilot.press("p")
        await until(pilot, lambda: "pausing ..." in screen_text(app))
        assert monitor(app).status == "running", "not yet acknowledged"
        trainer.answers.set()
        await until(pilot, lambda: "‖ paused" in screen_text(app))
        assert folder.record().status == "paused"
        await pilot.press("p")
        await until(pilot, lambda: "▸ running" in screen_text(app))
        await pilot.press("K")
        await until(pilot, lambda: folder.record().checkpoint_step)
        trainer.answers.clear()
        await pilot.press("s", "y")
        await until(pilot, lambda: "stopping ..." in screen_text(app))
        assert monitor(app).status == "running"
        trainer.answers.set()
        await until(pilot, lambda: "■ stopped" in screen_text(app))
        assert folder.record().status == "stopped"
        stopped_at = folder.record().step
        await pilot.press("r")
        await until(pilot, lambda: "▸ running" in screen_text(app))
        await until(pilot, lambda: step_shown(app) > stopped_at)
        await pilot.press("s", "y")
        await until(pilot, lambda: runner.join(0))
    assert trainer.outcomes == ["stopped", "stopped"]


async def test_a_run_of_another_process_is_watched_the_same_way(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    other = Runner(tmp_path, execute=FakeTrainer())
    app = make_app()
    folder = create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"))
    async with app.run_test(size=(80, 24)) as pilot:
        other.start(folder)
        app.open_run(folder.id)
        await until(pilot, lambda: curve_points(app) > 5)
        await pilot.press("s", "y")
        await until(pilot, lambda: "■ stopped" in screen_text(app))
    assert other.join(60)


async def test_an_exception_in_the_trainer_is_a_failed_run_and_a_message(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    def explode(folder: RunFolder, **rest: object) -> None:
        raise RuntimeError("[bold]boom")

    app = make_app(runner=Runner(tmp_path, execute=explode))
    folder = create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"))
    async with app.run_test(size=(80, 24)) as pilot:
        app.start_runs(folder)
        await until(pilot, lambda: any("[bold]boom" in n.message for n in app._notifications))
        assert app.session.runner.active is None


async def test_the_folder_deleted_under_the_screen(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 120)
        shutil.rmtree(root / "k7m2qx")
        await until(pilot, lambda: "The run folder is gone" in screen_text(app))
        await pilot.press("p", "s", "K", "r", "P", "9", "escape")
        await until(pilot, lambda: not isinstance(app.screen, MonitorScreen))


@pytest.mark.parametrize(
    "damage",
    [b"", b"\x00" * 4096, b"{" * 4096, b'{"step": "x"}\n', b'{"step":1,"train/loss":"NaN"}\n' * 3],
    ids=["empty", "zeros", "braces", "types", "nan"],
)
async def test_corrupt_metrics_are_survived(root: Path, make_app: MakeApp, damage: bytes) -> None:
    some_runs(root)
    (root / "k7m2qx" / "metrics.jsonl").write_bytes(damage)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: monitor(app).loaded and "finished" in screen_text(app))
        said = any("are no metrics and are left out" in n.message for n in app._notifications)
        assert said == damage.startswith(b'{"step": "x"')  # the others are half a line, or values
        await pilot.press("l", "w", "plus", "left", "0", "2", "8", "9")
        assert isinstance(app.screen, MonitorScreen)


async def test_values_that_are_not_finite_are_gaps(root: Path, make_app: MakeApp) -> None:
    folder = write_run(root, "k7m2qx", steps=20)
    with folder.metrics_path.open("ab") as file:
        for step, value in ((21, '"NaN"'), (22, '"Infinity"'), (23, '"-Infinity"'), (24, "8.5")):
            file.write(
                b'{"step":%d,"epoch":2.1,"time":1,"train/loss":%s}\n' % (step, value.encode())
            )
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 21)
        assert "3 not finite" in screen_text(app)
        await pilot.press("l")
        assert "log" in screen_text(app)


async def test_the_probe_shows_its_table_and_every_class(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("p2b9dz")
        await until(pilot, lambda: "random-init" in screen_text(app))
        text = "\n".join(
            "".join(part for part, _ in line)
            for line in monitor(app).query_one("#rows", TextPanel).lines
        )
        for row in RESULT["rows"]:
            assert f"{row['top1']:.1f} %" in text
            assert f"{row['per_class']['cat']:.1f} %" in text
        assert "10 % of the labels" in text


async def test_the_cursor_reads_a_value_and_zoom_survives_new_points(
    root: Path, make_app: MakeApp
) -> None:
    folder = write_run(root, "k7m2qx", steps=100)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 100)
        chart = monitor(app).query_one("#loss", Chart)
        await pilot.press("left")
        assert "step 100" in chart.readout()
        assert f"{chart.curves[0].series.raw.values[-1]:.3f}" in chart.readout()
        await pilot.press("shift+left", "plus", "plus", "comma")
        view = (chart.view.low, chart.view.high)
        assert view[0] is not None
        with folder.metrics_path.open("ab") as file:
            file.write(b'{"step":101,"epoch":10.1,"time":1,"train/loss":7.0}\n')
        await until(pilot, lambda: curve_points(app) == 101)
        assert (chart.view.low, chart.view.high) == view
        await pilot.press("0")
        assert chart.view.low is None
        before = chart.window
        await pilot.press("W")
        assert 1 < chart.window < before
        await pilot.press("w")
        assert chart.window == before
        assert chart.window <= curve_points(app) / 2, "a mean over all of it would say nothing"
        assert f"mean of {chart.window}" in chart.readout()
        await pilot.press("U")
        assert chart.view.per_epoch == 10


async def test_escape_takes_the_cursor_away_and_then_goes_back(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "k7m2qx", steps=100)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 100)
        chart = monitor(app).query_one("#loss", Chart)
        assert "esc Back" in screen_text(app)
        await pilot.press("left", "l", "plus")
        await until(pilot, lambda: "esc Cursor away" in screen_text(app))
        head = screen_text(app).splitlines()[3]
        for part in ("▸ 1 loss", "step 100", "zoom ", "log", f"mean of {chart.window}"):
            assert part in head
        await pilot.press("escape")
        assert chart.view.cursor is None
        await until(pilot, lambda: "esc Back" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_the_top_line_says_what_matters_of_a_run(root: Path, make_app: MakeApp) -> None:
    write_run(root, "k7m2qx", name="small angle", steps=50, total_steps=200, status="stopped")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 50)
        await until(pilot, lambda: "of a core" in screen_text(app))
        first, *_, last = screen_text(app).splitlines()
        for part in ("Monitor  ■ stopped  small angle  (k7m2qx)", "25 %", "cpu"):
            assert part in first
        assert re.search(r"the app: \d+(\.\d)? % of a core *$", last)


async def test_the_keys_of_the_panels_and_the_way_to_a_probe(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 120)
        for key, words in (
            ("8", "epoch     loss"),
            ("number_sign", "NVIDIA H200"),
            ("9", "reading images"),
        ):
            await pilot.press(key)
            await until(pilot, partial(is_shown, app, words))
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert on_screen(app, NewRunScreen).state.kind == "probe"
        assert "k7m2qx" in on_screen(app, NewRunScreen)._command()


@pytest.mark.parametrize(
    "name", ["[bold]x[/bold]", "\x1b[31mred\x07", "😀" * 40, "x" * 500, "a\nb"]
)
async def test_any_name_is_shown_as_text(root: Path, make_app: MakeApp, name: str) -> None:
    write_run(root, "k7m2qx", name=name, steps=5, error=name, status="failed", log=name)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 5)
        text = screen_text(app)
        assert "\x1b" not in text
        assert all(ord(c) >= 32 or c == "\n" for c in text)
        if name.startswith("[bold]"):
            assert name in text
        app.open_comparison(["k7m2qx", "k7m2qx"])
        await until(pilot, lambda: "settings" in screen_text(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: "✗ failed" in screen_text(app))
        assert "\x1b" not in screen_text(app)


def losses_of(root: Path, shares: list[float], chance: float = 16.64) -> RunFolder:
    """A run whose mean loss of each epoch is such a share of its chance level."""
    folder = write_run(root, "k7m2qx", chance=chance, step=10 * len(shares), status="running")
    lines = [
        encode_line(10 * n, n, NOW + n, {"train/epoch_loss": share * chance})
        for n, share in enumerate(shares, 1)
    ]
    folder.metrics_path.write_bytes(b"".join(lines))
    return folder


@pytest.mark.parametrize(
    ("shares", "warns"),
    [
        ([], False),
        ([1.0] * 4, False),  # the first epochs may
        ([0.9, 1.05, 1.1, 1.0, 0.9], False),  # rises, then falls: the published recipe
        ([1.0] * 5, True),  # all embeddings alike
        ([0.969] * 8, True),  # the notebook's broken run: 16.13 of 16.64
        ([0.918] * 8, False),  # a frozen encoder under weak augmentations
        ([0.77, 0.56, 0.5, 0.48, 0.45], False),
        ([0.6] * 10 + [1.0] * 2, False),
        ([0.6] * 10 + [1.0] * 3, True),  # collapsed later on
        ([1.0] * 6 + [0.9], False),
        ([1.0] * 4 + [math.nan], False),  # said elsewhere
    ],
)
def test_a_loss_that_stays_at_chance_is_named(root: Path, shares: list[float], warns: bool) -> None:
    folder = losses_of(root, shares)
    log = folder.metrics()
    log.poll()
    texts = [one.text for one in diagnose(log, folder.record()) if one.name == "at-chance"]
    assert bool(texts) == warns
    if warns:
        assert "chance (16.64)" in texts[0]
        assert f"after {len(shares)} epochs" in texts[0]


def test_a_run_without_a_chance_level_is_not_judged(root: Path) -> None:
    folder = losses_of(root, [1.0] * 9)
    log = folder.metrics()
    log.poll()
    record = folder.record()
    record.chance = 0.0
    assert diagnose(log, record) == []


async def test_the_monitor_warns_of_an_encoder_that_does_not_learn(
    root: Path, make_app: MakeApp
) -> None:
    folder = losses_of(root, [1.0] * 4)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: monitor(app).loaded)
        assert "has not learned" not in screen_text(app)
        with folder.metrics_path.open("ab") as file:
            file.write(encode_line(50, 5, NOW, {"train/epoch_loss": 16.64}))
        await until(pilot, lambda: "The encoder has not learned" in screen_text(app))
        assert "augmentations" in screen_text(app)


@pytest.mark.parametrize("size", [(20, 5), (2, 2), (220, 60)])
async def test_the_monitor_survives_any_size(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 120)
        await pilot.resize_terminal(*size)
        await pilot.press("plus", "left", "9", "tab", "2")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "finished" in screen_text(app))


async def test_hidden_screens_look_at_nothing(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: curve_points(app) == 120)
        below = monitor(app)
        app.open_run("q4r8st")
        await until(pilot, lambda: curve_points(app) == 80)
        assert below._timer is None
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is below and below._timer is not None)
