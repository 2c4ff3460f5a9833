"""The study screen while its pretrainings are trained: their curves over each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.runs.metric_writer import encode_line
from engine.study import grid
from moco_tui.app import MocoApp
from moco_tui.widgets.variant_chart import VariantChart

from ..conftest import NOW, screen_text, until
from ..studies import put

MakeApp = Callable[..., MocoApp]
MOMENTA = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999]


def write(root: Path) -> StudyConfig:
    """Ten variants; of the last one no run has begun, of the others a seed each and one has two."""
    values = {"axes": {"moco.momentum": MOMENTA}, "pretrain.data.source": "shapes"}
    config = build(StudyConfig, values)
    put(root, "s5t6dy", "study", config, status="running")
    for number, (variant, seed) in enumerate(grid.pretrainings(config)):
        if number in (9, 11) or number > 11:
            continue
        steps = 40 if number < 10 else 20
        made = grid.pretrain_config(config, variant, seed)
        run = f"pt{number:02d}bcd"
        folder = put(root, run, "pretrain", made, status="stopped", step=steps, total_steps=100)
        append(folder.metrics_path, variant.place, 1, steps)
    return config


def append(path: Path, place: int, first: int, last: int) -> None:
    with path.open("ab") as file:
        for step in range(first, last + 1):
            values = {"train/loss": 10.0 - place * 0.5 - step / 50}
            if step % 10 == 0:
                values["knn/top1"] = 30.0 + place + step / 10
            file.write(encode_line(step, step / 10, NOW + step, values))


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_ten_variants_are_legible_while_they_are_trained(
    root: Path,
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    ascii_only: bool,
) -> None:
    if ascii_only:
        monkeypatch.setenv("MOCO_TUI_ASCII", "1")
        monkeypatch.setenv("NO_COLOR", "1")
    config = write(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: app.screen.query_one(VariantChart))
        await pilot.press("6")
        chart = app.screen.query_one(VariantChart)
        # The loss falls with the place in the study, and of the last variant no run has begun.
        assert grid.reference(config).label == "m 0.99"
        # That of the row under the cursor of the table, the reference and the best.
        await until(pilot, lambda: len(chart.curves) == 3)
        names = [curve.name for curve in chart.curves]
        picked, reference, best = names
        assert picked == "m 0.5, 1-2 seeds"
        assert (reference, best) == ("m 0.99 (reference), 1 seed", "m 0.995 (best), 1 seed")
        await until(pilot, lambda: all(f"{name}: " in screen_text(app) for name in names))
        await pilot.press("down")
        await until(pilot, lambda: "m 0.6, 1 seed: " in screen_text(app))
        assert "6 more: b" in screen_text(app)
        assert len({curve.mark for curve in chart.curves}) == len(chart.curves) == 3
        for curve in chart.curves:
            assert sum(line.count(curve.mark) for line in screen_text(app).splitlines()) > 2
        assert all(c.mark.isascii() == ascii_only for c in chart.curves)
        await pilot.press("m")
        await until(pilot, lambda: "kNN" in chart.title and chart.curves[0].series.steps[0] == 1.0)
        await pilot.press("U")
        await until(pilot, lambda: chart.curves[0].series.steps[0] == 10.0)
        await pilot.press("asterisk")
        await until(pilot, lambda: len(chart.curves) == 9)
        assert len({curve.mark for curve in chart.curves}) == 9
        inks = {chart._curve_style(number).color for number in range(9)}
        assert len(inks) == 9, "no two of them have a colour"
        assert "more: b" not in screen_text(app)


async def test_the_curves_grow_with_the_logs(root: Path, make_app: MakeApp) -> None:
    write(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: app.screen.query_one(VariantChart))
        await pilot.press("6")
        chart = app.screen.query_one(VariantChart)
        await until(pilot, lambda: chart.curves and chart.curves[-1].series.steps[-1] == 4.0)
        append(root / "pt08bcd" / "metrics.jsonl", 8, 41, 60)
        await until(pilot, lambda: chart.curves[-1].series.steps[-1] == 6.0)
