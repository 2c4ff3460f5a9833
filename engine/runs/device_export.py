"""The history of the devices of a run as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from engine.errors import RunError
from engine.machine.device_series import series_named
from engine.runs.device_log import DeviceLog
from engine.runs.folder import RunFolder


def devices_to_csv(folder: RunFolder) -> Iterator[str]:
    """Lines of CSV: seconds since the first record, unix seconds, and a column for each series.

    The unit of a series stands behind its name: ``memory (B)``, ``card0/power (W)``. A value that
    was not known is an empty cell.

    Raises:
        RunError: when nothing was recorded, or it cannot be read.
    """
    log = DeviceLog(folder.devices_path)
    log.poll()
    if log.is_empty:
        raise RunError(
            f"Nothing was recorded of the devices of run {folder.id} ({folder.devices_path} holds "
            "no records); log.device_seconds says how often a run that is trained records them."
        )
    names = log.names()
    yield _line(["seconds", "time", *map(_header, names)])
    for seconds, time, values in log.rows():
        cells = [_cell(values[name]) if name in values else "" for name in names]
        yield _line([_cell(seconds), _cell(time), *cells])


def _header(name: str) -> str:
    found = series_named(name)
    unit = "" if found is None else found.series.unit
    return f"{name} ({unit})" if unit else name


def _cell(value: float) -> float | int:
    """A number without digits that nobody recorded: times and shares have one behind the point."""
    rounded = round(value, 1)
    return int(rounded) if rounded.is_integer() else rounded


def _line(cells: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()
