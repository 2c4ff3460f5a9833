"""What is recorded of the machine over the time of a run: one entry for each series.

Charts, tables and exports look a name up here and need not know what there is. A series of a card
is called ``card0/power``: the cards of a run are numbered from 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from engine.machine.cards import Card
from engine.machine.load_reader import Load

Unit = Literal["%", "B", "W", "°C", ""]
_CARD = re.compile(r"card(\d{1,3})/(\w+)")
MOST_CARDS = 64


class DeviceSeries(NamedTuple):
    """One series.

    Attributes:
        name: in files; of a card without its number.
        label: for people, where it stands alone.
        short: for people, where it stands beside the others of its chart.
        unit: of its values: per cent, bytes, watts, degrees Celsius, or a plain number.
        chart: series of one chart have the same.
        most: what values it can have at most; None where that differs from machine to machine
            (then a recording may say it, see ``DeviceLog.most``) or is not known.
        merged: what becomes of two records where a long run's history is thinned out: their mean,
            or the larger one where the most that was needed is of interest.
    """

    name: str
    label: str
    short: str
    unit: Unit
    chart: str
    most: float | None = None
    merged: Literal["mean", "max"] = "mean"


class SeriesOfCard(NamedTuple):
    """A series and the card that it is of.

    Attributes:
        series: its description.
        card: number of the card among those of the run; None for the machine.
    """

    series: DeviceSeries
    card: int | None


_MACHINE: tuple[tuple[DeviceSeries, Callable[[Load], float | None]], ...] = (
    (DeviceSeries("cpu", "CPU", "all", "%", "cpu", 100.0), lambda load: _percent(load.cpu)),
    (
        DeviceSeries("own_cpu", "CPU of the run", "run", "%", "cpu", 100.0),
        lambda load: _percent(load.own_cpu),
    ),
    (
        DeviceSeries("memory", "memory", "all", "B", "memory", merged="max"),
        lambda load: load.used,
    ),
    (
        DeviceSeries("own_memory", "memory of the run", "run", "B", "memory", merged="max"),
        lambda load: load.process,
    ),
)
_CARDS: tuple[tuple[DeviceSeries, Callable[[Card], float | None]], ...] = (
    (DeviceSeries("use", "use", "all", "%", "use", 100.0), lambda card: _percent(card.load)),
    (
        DeviceSeries("own_use", "use by the run", "run", "%", "use", 100.0),
        lambda card: _percent(card.own_load),
    ),
    (
        DeviceSeries("memory", "memory", "all", "B", "memory", merged="max"),
        lambda card: card.used,
    ),
    (
        DeviceSeries("own_memory", "memory of the run", "run", "B", "memory", merged="max"),
        lambda card: card.own_used,
    ),
    (DeviceSeries("power", "power", "all", "W", "power"), lambda card: card.watts),
    (
        DeviceSeries("temperature", "temperature", "all", "°C", "temperature", merged="max"),
        lambda card: card.celsius,
    ),
    (
        DeviceSeries("others", "other processes", "others", "", "others", merged="max"),
        lambda card: card.others_count,
    ),
    (
        DeviceSeries(
            "others_memory", "memory of other processes", "others", "B", "memory", merged="max"
        ),
        lambda card: card.others_used,
    ),
)
SERIES: Mapping[str, DeviceSeries] = {series.name: series for series, _ in _MACHINE}
"""Of the machine, by name."""
CARD_SERIES: Mapping[str, DeviceSeries] = {series.name: series for series, _ in _CARDS}
"""Of each card, by name."""


def series_named(name: str) -> SeriesOfCard | None:
    """The description of a recorded series; None for a name that is none."""
    if name in SERIES:
        return SeriesOfCard(SERIES[name], None)
    found = _CARD.fullmatch(name)
    if found is None or found[2] not in CARD_SERIES or int(found[1]) >= MOST_CARDS:
        return None
    return SeriesOfCard(CARD_SERIES[found[2]], int(found[1]))


def label_of(name: str) -> str:
    """A series for people: ``CPU of the run``, ``card 0: power``; an unknown one by its name."""
    found = series_named(name)
    if found is None:
        return name
    return found.series.label if found.card is None else f"card {found.card}: {found.series.label}"


def column_names(cards: int) -> list[str]:
    """The names of all series of a machine, and of so many cards of it."""
    return [*SERIES, *(f"card{at}/{name}" for at in range(cards) for name in CARD_SERIES)]


def values_of(load: Load, cards: int) -> list[float | None]:
    """The values of ``column_names(cards)`` in a reading; None for what it does not say.

    Args:
        load: the reading.
        cards: how many have columns; further ones are left out.
    """
    values = [value(load) for _, value in _MACHINE]
    known: Sequence[Card] = load.cards[:cards]
    for card in [*known, *[Card("")] * (cards - len(known))]:
        values += [value(card) for _, value in _CARDS]
    return values


def most_of(load: Load) -> dict[str, float]:
    """What series can have at most on the machine of a reading, by name."""
    found: dict[str, float | None] = {"memory": load.total, "own_memory": load.total}
    for at, card in enumerate(load.cards):
        found |= {f"card{at}/{name}": card.total for name in ("memory", "own_memory")}
        found[f"card{at}/others_memory"] = card.total
        found[f"card{at}/power"] = card.most_watts
    return {name: float(value) for name, value in found.items() if value is not None}


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
