"""The series that are recorded of a machine: each is described, and finds its value."""

from __future__ import annotations

import dataclasses

import pytest

from engine.machine.cards import Card
from engine.machine.device_series import (
    CARD_SERIES,
    SERIES,
    column_names,
    label_of,
    most_of,
    series_named,
    values_of,
)
from engine.machine.load_reader import Load

CARD = Card("A", 0.5, 3, 80, 320.0, 51.0, 700.0, 0.25, 2, [], 4, 9, 0)
LOAD = Load(0.75, 2, 60, 100, 7, [CARD, Card("B")], 0.125)


def test_every_series_has_its_value() -> None:
    values = dict(zip(column_names(2), values_of(LOAD, 2), strict=True))
    assert {name: value for name, value in values.items() if value is not None} == {
        "cpu": 75.0,
        "own_cpu": 12.5,
        "memory": 60,
        "own_memory": 7,
        "card0/use": 50.0,
        "card0/own_use": 25.0,
        "card0/memory": 3,
        "card0/own_memory": 2,
        "card0/power": 320.0,
        "card0/temperature": 51.0,
        "card0/others": 4,
        "card0/others_memory": 9,
    }


def test_the_number_of_columns_stays_whatever_a_reading_says() -> None:
    assert len(values_of(Load(), 2)) == len(column_names(2))
    assert len(values_of(LOAD, 1)) == len(column_names(1))


def test_every_name_is_described() -> None:
    for name in column_names(3):
        found = series_named(name)
        assert found is not None
        assert label_of(name) != name or name in SERIES
        assert found.series.most == (100.0 if found.series.unit == "%" else None)
    assert label_of("card2/power") == "card 2: power"


@pytest.mark.parametrize(
    "name", ["", "cpu/", "card/use", "card0/", "card0/cpu", "card999/use", "x"]
)
def test_other_names_are_none(name: str) -> None:
    assert series_named(name) is None
    assert label_of(name) == name


def test_what_a_machine_has_is_the_most() -> None:
    most = most_of(LOAD)
    assert most["memory"] == most["own_memory"] == 100
    assert most["card0/memory"] == most["card0/own_memory"] == most["card0/others_memory"] == 80
    assert most["card0/power"] == 700
    assert not any(name.startswith("card1/") for name in most), "that card says nothing"


def test_series_of_one_chart_have_one_unit() -> None:
    for group in (SERIES, CARD_SERIES):
        units = {
            series.chart: {s.unit for s in group.values() if s.chart == series.chart}
            for series in group.values()
        }
        assert all(len(found) == 1 for found in units.values())


def test_a_field_that_a_card_gains_is_looked_at_here() -> None:
    """A value that is read and recorded nowhere would be read in vain."""
    told = {"name", "index", "uuid", "others", "total", "most_watts"}  # parts, others, ranges
    changed = {f.name for f in dataclasses.fields(Card)} - told
    assert len(changed) == len(CARD_SERIES)
