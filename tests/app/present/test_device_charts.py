"""The history of the devices as charts and rows: which there are, in which units, of what range."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engine.machine.device_series import column_names
from engine.runs.device_lines import DevicePart, DeviceSample, encode_line_of
from moco_tui.present.device_charts import (
    HOURS,
    MINUTES,
    chart_keys,
    chart_titles,
    device_charts,
    device_facts,
    device_rows,
    in_a_line,
    time_unit,
)

from ...machine_loads import GIB, read_history, write_history

BEGAN = 1.7e9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "devices.jsonl"


def test_without_records_there_is_nothing(path: Path) -> None:
    log = read_history(path)
    assert (device_charts(log), device_rows(log), device_facts(log)) == ([], [], {})
    assert time_unit(log) == MINUTES


def test_of_a_card_there_is_a_chart_of_each_kind(path: Path) -> None:
    write_history(path, [0.25, 0.5], began=BEGAN)
    charts = {chart.key: chart for chart in device_charts(read_history(path))}
    assert list(charts) == [
        *("cpu", "memory", "card0/use", "card0/memory", "card0/power", "card0/temperature")
    ]
    assert [chart.title for chart in charts.values()] == [
        *("CPU", "memory", "card use", "card memory", "card power", "card temperature")
    ]
    assert {key: (c.unit, c.low, c.high) for key, c in charts.items()} == {
        "cpu": ("%", 0.0, 100.0),
        "memory": ("GiB", 0.0, 16.0),
        "card0/use": ("%", 0.0, 100.0),
        "card0/memory": ("GiB", 0.0, 139.0),
        "card0/power": ("W", 0.0, 700.0),
        "card0/temperature": ("°C", None, None),
    }
    assert {key: c.present for key, c in charts.items()} == {
        "cpu": "50 %, run 12 %",
        "memory": "8.0 GiB, run 1.0 GiB",
        "card0/use": "50 %, run 25 %",
        "card0/memory": "4.5 GiB, run 4.0 GiB, others 1.0 GiB",
        "card0/power": "300 W",
        "card0/temperature": "50 °C",
    }
    memory = charts["card0/memory"]
    assert [curve.name for curve in memory.curves] == [
        *("card0/memory", "card0/own_memory", "card0/others_memory")
    ]
    assert [list(curve.values) for curve in memory.curves] == [[2.25, 4.5], [2.0, 4.0], [1, 1]]
    assert list(memory.curves[0].seconds) == [1.0, 11.0]


def test_several_cards_are_told_apart(path: Path) -> None:
    write_history(path, [0.5], began=BEGAN, cards=2)
    titles = [chart.title for chart in device_charts(read_history(path))]
    assert titles[2:4] == ["card 0 use", "card 0 memory"]
    assert titles[6] == "card 1 use"


def test_every_series_that_is_recorded_is_in_a_chart_or_a_row(path: Path) -> None:
    write_history(path, [0.5], began=BEGAN)
    log = read_history(path)
    assert [row.name for row in device_rows(log)] == column_names(1) == list(device_facts(log))
    drawn = {curve.name for chart in device_charts(log) for curve in chart.curves}
    assert set(column_names(1)) - drawn == {"card0/others"}


def test_a_card_that_tells_little_has_few_charts(path: Path) -> None:
    """Power without a limit: the axis ends above the largest value."""
    part = DevicePart(BEGAN, 10.0, ("card0/use", "card0/power"), {}, ("A",))
    lines = (part, DeviceSample(1.0, [math.nan, 200.0]))
    path.write_bytes(b"".join(encode_line_of(line) for line in lines))
    (chart,) = device_charts(read_history(path))
    assert (chart.key, chart.low) == ("card0/power", 0.0)
    assert chart.high == pytest.approx(210.0)


def test_the_time_is_counted_in_minutes_or_hours(path: Path) -> None:
    write_history(path, [0.5] * 3, began=BEGAN, every=3000.0)
    assert time_unit(read_history(path)) == MINUTES
    write_history(path, [0.5] * 2, began=BEGAN + 6100, every=3000.0)
    log = read_history(path)
    assert time_unit(log) == HOURS
    assert HOURS.of(log.seconds[-1]) == pytest.approx(2.5, abs=0.1)


def test_a_pause_is_a_gap_in_every_curve(path: Path) -> None:
    write_history(path, [0.5] * 2, began=BEGAN)
    write_history(path, [0.5] * 2, began=BEGAN + 500)
    for chart in device_charts(read_history(path)):
        for curve in chart.curves:
            assert [v != v for v in curve.values] == [False, False, True, False, False]


def test_rows_have_mean_most_and_newest_of_a_run(path: Path) -> None:
    write_history(path, [0.0, 1.0, 0.5, 0.1], began=BEGAN)
    rows = {row.name: row[1:] for row in device_rows(read_history(path))}
    assert rows["cpu"] == ("CPU", "40 %", "100 %", "10 %", "")
    assert rows["card0/power"] == ("card 0: power", "260 W", "500 W", "140 W", "700 W")
    assert rows["memory"] == ("memory", "6.4 GiB", "16.0 GiB", "1.6 GiB", "16.0 GiB")
    assert rows["card0/others"] == ("card 0: other processes", "1", "1", "1", "")
    facts = device_facts(read_history(path))["memory"]
    assert facts["unit"] == "B"
    assert facts["max"] == facts["limit"] == 16 * GIB


def test_charts_can_be_named_and_made_one_by_one(path: Path) -> None:
    write_history(path, [0.25, 0.5], began=BEGAN)
    log = read_history(path)
    every = device_charts(log)
    assert chart_keys(log) == [chart.key for chart in every]
    assert chart_titles(chart_keys(log)) == {chart.key: chart.title for chart in every}
    assert device_charts(log, ["cpu"]) == every[:1]
    assert device_charts(log, []) == []
    assert chart_titles(["card0/use", "card1/use"])["card1/use"] == "card 1 use"


def test_a_card_in_a_line_says_use_memory_power_and_heat(path: Path) -> None:
    write_history(path, [0.25, 0.5], began=BEGAN)
    log = read_history(path)
    assert in_a_line(log, "card0/use") == " · ".join(
        f"{device_chart.present.partition(',')[0]}"
        for key in ("use", "memory", "power", "temperature")
        for device_chart in device_charts(log, [f"card0/{key}"])
    )
    assert in_a_line(log, "cpu").startswith("50 % · ")
    assert in_a_line(log, "card7/use") == ""
