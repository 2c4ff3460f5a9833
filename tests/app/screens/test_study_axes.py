"""The study screen with variants of other settings than the queue size."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.history.history import History
from engine.study import grid
from engine.study.study_state import state_from_history
from moco_tui.app import MocoApp
from moco_tui.present import study_text as studytext
from moco_tui.present.form import FormState
from moco_tui.present.study_view import source_name
from moco_tui.screens.cell_runs_dialog import CellRuns
from moco_tui.screens.study_screen import StudyScreen
from moco_tui.widgets.label_chart import LabelChart
from moco_tui.widgets.study_table import StudyTable

from ..conftest import screen_text, until
from ..studies import put, put_probe

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]
ABLATION = {
    "ablate": ["augment"],
    "label_fractions": [0.1, 0.5],
    "tasks": ["ten"],
    "heads": ["logistic"],
    "subset_seeds": [0],
    "pretrain.data.source": "shapes",
}
LABELS = [
    *("all", "without crop", "without rotation", "without blur", "without color jitter"),
    *("crop alone", "rotation alone", "blur alone", "color jitter alone"),
]


def value(cell: grid.Cell) -> float:
    """Every augmentation that is left out costs, all but one of them cost more."""
    label = cell.variant or ""
    cost = 0.0 if label == "all" else 4.0 if label.startswith("without") else 12.0
    wobble = zlib.crc32(repr(cell).encode()) % 100 / 500
    return (
        {"moco": 60.0, "random-init": 40.0, "pixels": 35.0, "supervised": 70.0}[cell.source]
        - cost
        + 10 * cell.fraction
        + (cell.seed or 0)
        + wobble
    )


def write(root: Path, values: Mapping[str, object], finished: int) -> StudyConfig:
    config = build(StudyConfig, values)
    put(root, "s5t6dy", "study", config, name="what matters", status="stopped")
    places = grid.probe_points(config)
    for number, (variant, seed) in enumerate(grid.pretrainings(config)[:finished]):
        encoder = grid.pretrain_config(config, variant, seed)
        last = {"knn/top1": 40.0 + variant.place + 0.1 * seed**2}
        put(root, f"pt{number}bcd", "pretrain", encoder, step=10, total_steps=10, last=last)
        for at, place in enumerate(places):
            run, parent = f"pb{number}x{at:02d}", f"pt{number}bcd"
            put_probe(root, run, config, variant, seed, place, parent, value)
    return config


def shown(app: MocoApp) -> bool:
    return (
        isinstance(app.screen, StudyScreen)
        and app.screen.snapshot is not None
        and bool(app.screen.query_one(StudyTable).tables)
    )


@pytest.mark.parametrize("size", SIZES)
async def test_an_ablation_is_read_row_by_row(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    config = write(root, ABLATION, finished=len(LABELS) * 3 - 1)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        table = app.screen.query_one(StudyTable)
        assert list(table.tables[0].row_keys) == [
            *LABELS,
            *("random-init", "pixels", "supervised"),
        ]
        await until(pilot, lambda: "color jitter alone" in screen_text(app))
        lines = [line.strip(" │") for line in screen_text(app).splitlines()]
        for label in LABELS:
            (line,) = [line for line in lines if line.startswith(f"{label} ")]
            state = state_from_history(config, History(root))
            top1 = [
                found.top1
                for c, found in state.cells.items()
                if (c.variant, c.fraction) == (label, 0.1) and found.top1 is not None
            ]
            assert f" {sum(top1) / len(top1):.1f} " in line
            assert ("2/3" in line) == (label == LABELS[-1])  # its last seed is missing
        # More curves than marks: that of the row under the cursor is among them, with its own mark.
        chart = app.screen.query_one(LabelChart)
        await pilot.press("end")
        await until(pilot, lambda: "supervised from scratch" in [c.name for c in chart.curves])
        assert "all" in [curve.name for curve in chart.curves]
        assert len({curve.mark for curve in chart.curves}) == len(chart.curves)
        await pilot.press("home", "4")
        await until(pilot, lambda: "variant" in screen_text(app))
        assert "without crop" in screen_text(app)
        await pilot.press("3")
        await until(pilot, lambda: "without crop against all" in screen_text(app))
        await pilot.press("1", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, CellRuns))
        assert "pretraining of without crop" in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_a_study_judged_by_knn_shows_one_number_a_variant(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    values = {"axes": {"moco.momentum": [0.9, 0.99]}, "judge": "knn"}
    write(root, values, finished=6)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        await until(pilot, lambda: "every cell is done" in screen_text(app))
        await until(pilot, lambda: "points against m 0.99" in " ".join(screen_text(app).split()))
        assert "6/6 cells" in screen_text(app)
        lines = [line.strip(" │") for line in screen_text(app).splitlines()]
        assert any(line.startswith("m 0.9 ") and "40.2" in line for line in lines)
        assert any(line.startswith("m 0.99 ") and "41.2" in line for line in lines)
        # By hand: 40 and 41, each + 0.1 seed², so the difference is 1 at every seed.
        (line,) = [line for line in lines if line.startswith("m 0.9 ") and "40.2" in line]
        assert "-1.0 ±0.0  " in line
        (line,) = [line for line in lines if line.startswith("m 0.99 ")]
        assert "the reference" in line
        assert any("difference" in line and "verdict" in line for line in lines)
        assert "moco.momentum 0.9, not 0.99" in " ".join(screen_text(app).split())
        table = app.screen.query_one(StudyTable)
        assert list(table.tables[0].row_keys) == ["m 0.9", "m 0.99"]
        await pilot.press("R")
        await until(pilot, lambda: list(table.tables[0].row_keys) == ["m 0.99", "m 0.9"])
        assert table.place is not None
        assert table.place["source"] == "m 0.9", "the cursor stays with its variant"
        await pilot.press("R")
        await until(pilot, lambda: list(table.tables[0].row_keys) == ["m 0.9", "m 0.99"])


def test_the_form_starts_a_study_of_axes() -> None:
    state = FormState("study", preset="study-shuffle")
    assert state.errors() == {}
    state.set("axes", '{momentum = [0.9, 0.9], "recipe" = ["whole batch"]}')
    assert list(state.errors()) == ["axes"]
    state = FormState("study", preset="quick-study")  # which names queue sizes
    state.set("axes", '{"moco.momentum" = [0.9, 0.99]}')
    made = state.config()
    assert isinstance(made, StudyConfig)
    assert [variant.label for variant in grid.variants(made)] == ["m 0.9", "m 0.99"]


def test_a_source_is_named_in_words() -> None:
    assert source_name("K 4096") == "MoCo, K 4,096"
    assert source_name("K 4096, m 0.9") == "K 4096, m 0.9"
    assert source_name("random-init, encoder resnet18") == "random weights, encoder resnet18"
    assert source_name("random-init") == "random weights"


def test_the_pretrainings_of_queue_sizes_are_listed_as_ever(root: Path) -> None:
    config = build(StudyConfig, {"queue_sizes": [64, 128], "seeds": [0]})
    state = state_from_history(config, History(root))
    lines = ["".join(text for text, _ in line) for line in studytext.pretraining_lines(state)]
    assert lines[0] == "       K  seed  state         step                run"
    assert lines[1].rstrip() == "      64     0  · missing"
