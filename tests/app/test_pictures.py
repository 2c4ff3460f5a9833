"""Pictures of every screen at both sizes, with data that never changes.

The README shows some of them. After a change that is meant: ``pytest tests/app/test_pictures.py
--snapshot-update``, then look at them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from textual.pilot import Pilot
from textual.widgets import OptionList

from engine.history.history import History
from engine.history.trash import TRASH_NAME
from engine.runs import RunFolder
from engine.runs.encoder_look import LookRequest
from engine.runs.log_words import checkpoint_line, epoch_line, plan_lines
from engine.runs.record import encode_record
from engine.sink import Plan
from moco_tui.app import MocoApp
from moco_tui.present.augment_preview import Previewer, PreviewRequest
from moco_tui.screens.cell_runs_dialog import CellRuns
from moco_tui.screens.chart_dialog import ChooseCharts
from moco_tui.screens.columns_dialog import ColumnsDialog
from moco_tui.screens.dialogs import Leave
from moco_tui.screens.help_screen import HelpScreen
from moco_tui.screens.messages import OpenLook
from moco_tui.training.look_process import LookProcess
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.choosers import Chooser
from moco_tui.widgets.device_panel import DeviceChartView, DevicePanel
from moco_tui.widgets.label_chart import LabelChart
from moco_tui.widgets.look_map import LookMap
from moco_tui.widgets.measures_panel import MeasuresPanel
from moco_tui.widgets.preview_panel import PreviewPanel
from moco_tui.widgets.run_form import RunForm
from moco_tui.widgets.run_preview_frame import RunPreviewFrame
from moco_tui.widgets.run_table import RunTable
from moco_tui.widgets.study_table import StudyTable
from moco_tui.widgets.text_panel import TextPanel

from ..machine_loads import write_history
from .conftest import NOW, screen_text, some_runs, until
from .looks import some_look
from .recorded_logs import recorded_run
from .studies import FEW_SETS, few_labels_value, write_study

SIZES = {"80x24": (80, 24), "160x45": (160, 45)}
Steps = Callable[[Pilot[Any]], Awaitable[None]]


def app_of(pilot: Pilot[Any]) -> MocoApp:
    assert isinstance(pilot.app, MocoApp)
    return pilot.app


async def runs(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: len(pilot.app.query_one(RunTable).rows) == 4)
    table = pilot.app.query_one(RunTable)
    await until(pilot, lambda: all(row.size is not None for row, _ in table.rows))
    if pilot.app.screen.query_one(RunPreviewFrame).display:
        await until(pilot, lambda: "· 70 MiB" in screen_text(pilot.app))
        await until(pilot, lambda: "█" in screen_text(pilot.app))  # the losses in the list


async def first_start(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: pilot.app.query_one("#empty").display)


async def trash(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: len(pilot.app.query_one(RunTable).rows) == 2)
    app_of(pilot).action_open("trash")
    await until(pilot, lambda: pilot.app.screen.query_one("#trash", OptionList).option_count == 2)


async def marked(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    await pilot.press("space", "space")
    if pilot.app.screen.query_one(RunPreviewFrame).display:
        await until(pilot, lambda: "accuracy by encoder" in screen_text(pilot.app))


async def columns(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    await pilot.press("o")
    await until(pilot, lambda: isinstance(pilot.app.screen, ColumnsDialog))
    await pilot.press(*"queue", "enter")


async def previewed(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    await pilot.press("down")
    if not pilot.app.screen.query_one(RunPreviewFrame).display:
        await pilot.press("v")
    await until(pilot, lambda: "57.3 ±1.0" in screen_text(pilot.app))


async def monitor(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    app_of(pilot).open_run("k7m2qx")
    await until(pilot, lambda: len(pilot.app.screen.query_one("#loss", Chart).curves[0].series))
    await until(pilot, lambda: pilot.app.screen.query_one("#log", TextPanel).lines)
    chart = pilot.app.screen.query_one("#loss", Chart)
    chart.focus()
    await pilot.press("left", "shift+left", "shift+left")


async def measures(pilot: Pilot[Any]) -> None:
    app_of(pilot).open_run("m3a7sr")
    await until(pilot, lambda: len(pilot.app.screen.query_one("#loss", Chart).curves[0].series))
    await pilot.press("percent_sign")
    await until(pilot, lambda: pilot.app.screen.query_one(MeasuresPanel).lines)
    await until(pilot, lambda: pilot.app.screen.query_one("#log", TextPanel).lines)


async def load(pilot: Pilot[Any]) -> None:
    app_of(pilot).open_run("k7m2qx")
    await until(pilot, lambda: len(pilot.app.screen.query_one("#loss", Chart).curves[0].series))
    await until(pilot, lambda: pilot.app.screen.query_one("#log", TextPanel).lines)
    await pilot.press("7")
    await until(
        pilot, lambda: len(pilot.app.screen.query_one(DevicePanel).query(DeviceChartView)) == 6
    )
    await until(pilot, lambda: isinstance(pilot.app.focused, DeviceChartView))


async def grid(pilot: Pilot[Any]) -> None:
    """Charts of a run with measures, moved together."""
    app_of(pilot).open_run("m3a7sr")
    await until(pilot, lambda: len(pilot.app.screen.query_one("#loss", Chart).curves[0].series))
    await until(pilot, lambda: pilot.app.screen.query_one("#log", TextPanel).lines)
    await pilot.press("2", "left", "shift+left", "plus")


async def charts(pilot: Pilot[Any]) -> None:
    """Choosing what is drawn."""
    await grid(pilot)
    await pilot.press("m")
    await until(pilot, lambda: isinstance(pilot.app.screen, ChooseCharts))
    await pilot.press(*"emb", "down", "enter")


async def probe(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    app_of(pilot).open_run("p2b9dz")
    await until(pilot, lambda: len(pilot.app.screen.query_one("#rows", TextPanel).lines) > 3)
    await until(pilot, lambda: pilot.app.screen.query_one("#log", TextPanel).lines)


async def focused(pilot: Pilot[Any]) -> None:
    """A field of the form, which has no name of its own, has the focus."""
    await until(pilot, lambda: pilot.app.focused is not None and pilot.app.focused.id is None)
    await until(pilot, lambda: pilot.app.screen.query_one(RunForm).devices)
    panel = pilot.app.screen.query_one(PreviewPanel)
    await until(pilot, lambda: panel.rows or not panel.is_on_screen)


async def form(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    app_of(pilot).open_form()
    await focused(pilot)
    await pilot.press("end", *["backspace"] * 4, *"16384", "down", *["backspace"] * 4, "0")
    await until(pilot, lambda: pilot.app.screen.query(".-wrong"))


async def preview(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    app_of(pilot).open_form()
    await focused(pilot)
    choice = pilot.app.screen.query_one("#preset", Chooser)
    while choice.value != "quick":
        choice.action_step(1)
    await pilot.pause()
    if pilot.app.size.width < 120:
        await pilot.press("f2")
    await until(pilot, lambda: pilot.app.screen.query_one(PreviewPanel).rows)


def views(self: Previewer, request: PreviewRequest) -> list[tuple[bytes, ...]]:
    """Views of the embedded images, drawn once: other processors round differently."""
    del self
    side, to = 32, (request.pixels, request.pixels)
    with Image.open(Path(__file__).with_name("views.png")) as sheet:
        return [
            tuple(
                sheet.crop((x, y, x + side, y + side)).resize(to, Image.Resampling.BOX).tobytes()
                for x in range(0, sheet.width, side)
            )
            for y in range(0, sheet.height, side)
        ]


async def study_form(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    app_of(pilot).open_form(kind="study")
    await until(pilot, lambda: pilot.app.screen.query("#f-queue_sizes"))
    await focused(pilot)


async def probe_form(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    app_of(pilot).open_form(parent="k7m2qx")
    await until(pilot, lambda: pilot.app.screen.query("#f-label_fraction"))
    await focused(pilot)


async def study(pilot: Pilot[Any]) -> None:
    app_of(pilot).open_run("s5t6dy")
    await until(pilot, lambda: pilot.app.screen.query_one(StudyTable).tables)
    await pilot.press("down", "right")
    await until(pilot, lambda: pilot.app.screen.query_one(LabelChart).curves)


async def study_curve(pilot: Pilot[Any]) -> None:
    await study(pilot)
    await pilot.press("A", "A", "2", "left")
    await until(pilot, lambda: "task ten" in pilot.app.screen.query_one(LabelChart).title)


async def study_few_labels(pilot: Pilot[Any]) -> None:
    app_of(pilot).open_run("s5t6dy")
    await until(pilot, lambda: pilot.app.screen.query_one(StudyTable).tables)
    await pilot.press("2")
    await until(pilot, lambda: pilot.app.screen.query_one(LabelChart).curves)


async def study_begun(pilot: Pilot[Any]) -> None:
    app_of(pilot).open_run("s5t6dy")
    await until(pilot, lambda: pilot.app.screen.query_one(StudyTable).tables)
    await pilot.press("Y")


async def study_cell(pilot: Pilot[Any]) -> None:
    await study(pilot)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, CellRuns))


async def compare(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    app_of(pilot).open_comparison(["k7m2qx", "q4r8st", "f6g3hj"])
    await until(pilot, lambda: len(pilot.app.screen.query_one(Chart).curves) == 3)


async def help_(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    await pilot.press("question_mark")
    await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))


async def leave(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    pilot.app.push_screen(Leave("notebook", 1))
    await until(pilot, lambda: isinstance(pilot.app.screen, Leave))


async def look(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    pilot.app.post_message(OpenLook(LookRequest(encoders=(("k7m2qx", ""),), untrained=True)))
    await until(pilot, lambda: pilot.app.screen.query_one(LookMap)._dots)


async def look_pictures(pilot: Pilot[Any]) -> None:
    await look(pilot)
    await pilot.press("j", "2", "right")


async def look_confusion(pilot: Pilot[Any]) -> None:
    await look(pilot)
    await pilot.press("V", "3", "right")


SCREENS: dict[str, Steps] = {
    "runs": runs,
    "first-start": first_start,
    "marked": marked,
    "previewed": previewed,
    "columns": columns,
    "trash": trash,
    "monitor": monitor,
    "load": load,
    "measures": measures,
    "grid": grid,
    "charts": charts,
    "probe": probe,
    "form": form,
    "preview": preview,
    "grid-form": study_form,
    "probe-form": probe_form,
    "compare": compare,
    "study": study,
    "study-curve": study_curve,
    "study-cell": study_cell,
    "study-few-labels": study_few_labels,
    "study-begun": study_begun,
    "look": look,
    "look-pictures": look_pictures,
    "look-confusion": look_confusion,
    "help": help_,
    "leave": leave,
}


def told_log(folder: RunFolder) -> str:
    """What a trainer would have told of a recorded run."""
    record, log = folder.record(), folder.metrics()
    log.poll()
    plan = Plan(
        total_steps=record.total_steps,
        steps_per_epoch=record.steps_per_epoch,
        pairs_per_step=256,
        chance=record.chance,
        facts={"precision": "float32", "threads": 2, "train_images": 10_000, "classes": 10},
    )
    lines = plan_lines(plan, "shapes")
    for epoch, (step, loss) in enumerate(zip(*log.series("train/epoch_loss"), strict=True), 1):
        lines.append(epoch_line(epoch, 12, {"train/epoch_loss": loss}, 7.0))
        lines.append(checkpoint_line(step, 0.1, 3_000_000))
    return "".join(f"2025-10-09 10:00:{at:02d} {line}\n" for at, line in enumerate(lines))


def show_confusions(path: Path) -> None:
    """Give a probe ten classes, and what they were taken for."""
    folder = RunFolder(path)
    record = folder.record()
    names = ("airplane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    for row in record.result["rows"]:
        own = [round(row["top1"] + 12 * math.sin(2.4 * at)) for at in range(10)]
        row["confusion"] = [
            [
                own[i] * 10 if i == j else round((1000 - own[i] * 10) * (1 + (i + j) % 3) / 18)
                for j in range(10)
            ]
            for i in range(10)
        ]
        row["per_class"] = {name: float(own[at]) for at, name in enumerate(names)}
        row["seconds"] = 12.0
        row["chosen"] = {"l2": 0.03, "candidates": [0] * 9}
    folder.record_path.write_bytes(encode_record(record))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runs folder whose path is the same everywhere."""
    monkeypatch.chdir(tmp_path)
    if "begun" in tmp_path.name:
        write_study(
            tmp_path / "runs", pretrainings=3, probes=4, status="stopped", error="", step=60
        )
    elif "measures" in tmp_path.name:
        recorded_run(tmp_path / "runs", "momentum0", losses=True)
    elif any(name in tmp_path.name for name in ("grid_1", "grid_8", "charts")):
        folder = recorded_run(tmp_path / "runs", "healthy-quick", losses=True)
        folder.log_path.write_text(told_log(folder))
    elif "study_few" in tmp_path.name:
        write_study(tmp_path / "runs", sets=FEW_SETS, value=few_labels_value)
    elif "study" in tmp_path.name:
        write_study(tmp_path / "runs")
    elif "first" not in tmp_path.name:
        some_runs(tmp_path / "runs")
    if "screen_probe_1" in tmp_path.name or "screen_probe_8" in tmp_path.name:
        show_confusions(tmp_path / "runs" / "p2b9dz")
    if "load" in tmp_path.name:
        history = tmp_path / "runs" / "k7m2qx" / "devices.jsonl"
        shares = [0.5 + 0.4 * math.sin(at / 9) for at in range(90)]
        write_history(history, shares, began=NOW - 3600)
        write_history(history, shares[::-1], began=NOW - 2000)
    # Of every run: the bytes of its record change with the settings that there are.
    for module in ("moco_tui.present.run_list", "engine.history.trash"):
        monkeypatch.setattr(f"{module}.size_of", lambda path: 73_400_320)
    if "trash" in tmp_path.name:
        for days, id_ in enumerate(("q4r8st", "f6g3hj"), start=2):
            History(tmp_path / "runs").delete(id_)
            then = NOW - days * 86_400
            os.utime(tmp_path / "runs" / TRASH_NAME / id_, (then, then))
    return Path("runs")


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("name", SCREENS)
def test_screen(
    snap_compare: Any,
    make_app: Callable[..., MocoApp],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    size: tuple[int, int],
) -> None:
    monkeypatch.setattr(Previewer, "views", views)
    monkeypatch.setattr(LookProcess, "look", lambda *_: some_look(untrained=True))
    app = make_app(root=place)
    assert snap_compare(app, terminal_size=size, run_before=SCREENS[name])


@pytest.mark.parametrize("name", ["runs", "monitor", "form", "study"])
def test_light(
    snap_compare: Any,
    make_app: Callable[..., MocoApp],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(PreviewPanel, "_request", lambda self: None)
    app = make_app(root=place)
    app.theme = "textual-light"
    assert snap_compare(app, terminal_size=(80, 24), run_before=SCREENS[name])
