"""What was recorded of the machine while a run was trained, as text and for JSON."""

from __future__ import annotations

from engine.errors import RunError
from engine.runs import RunFolder
from engine.runs.device_log import DeviceLog
from moco_tui.cli.output import clean, say, table
from moco_tui.present.device_charts import device_rows
from moco_tui.present.device_load import NOTHING_RECORDED


def read_devices(folder: RunFolder) -> DeviceLog:
    """The history of the devices of a run.

    Of one that cannot be read there is one sentence on stderr, and nothing in it.
    """
    log = DeviceLog(folder.devices_path)
    try:
        log.poll()
    except RunError as error:
        say(clean(str(error)))
    return log


def devices_table(log: DeviceLog) -> str:
    """Mean, most and newest value of each series; a sentence where nothing was recorded."""
    rows = [[row.label, row.mean, row.most, row.last, row.limit] for row in device_rows(log)]
    if not rows:
        return NOTHING_RECORDED
    cards = [] if log.part is None else [name for name in log.part.cards if name]
    head = [f"devices{': ' if cards else ''}{', '.join(cards)}", "mean", "max", "last", "of"]
    return table(head, rows, (1, 2, 3, 4))
