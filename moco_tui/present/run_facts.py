"""Runs as builtin values, and as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.history import shown
from engine.text import csv_cell
from moco_tui.present.run_rows import RunRow

CSV_HEADER = (
    *("id", "name", "state", "kind", "preset", "parent", "data", "queue_size"),
    *("augmentations", "label_fraction", "task", "head", "seed", "step", "total_steps"),
    *("epoch", "loss", "top1", "best_top1", "created", "started", "ended", "host", "device"),
    *("tags", "note", "error", "encoder_step", "trained", "gain", "size"),
    *("checkpoint", "began_from"),
)
"""Headings of the columns of ``to_csv``."""


def facts(row: RunRow) -> dict[str, Any]:
    """A run as builtin values."""
    entry = row.entry
    known = msgspec.structs.asdict(entry)
    state = known.pop("status")
    hidden = ("stamp", "size_stamp", "warning", "config", "running_since")
    ahead = {"id": known.pop("id"), "name": known.pop("name"), "state": state}
    settings = {
        "data": shown.source(entry) or None,
        "queue_size": entry.setting("moco.queue_size"),
        "augmentations": shown.augmentations(entry),
        "label_fraction": entry.setting("label_fraction"),
        "task": entry.setting("task.name"),
        "head": entry.setting("head"),
        "study": entry.study or None,  # that made it; in a tree, under which it stands
    }
    rest = {key: value for key, value in known.items() if key not in hidden}
    return {
        **ahead,
        **rest,
        **settings,
        "gain": row.gain,
        "job": row.job or None,
        "differs": entry.config,
    }


def to_csv(rows: Iterable[RunRow]) -> str:
    """A line of headings, then one for each run; empty where a run has no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in rows:
        known = facts(row) | {"loss": row.last, "top1": row.top1, "best_top1": row.best}
        known |= {"encoder_step": shown.encoder_step(row.entry)}
        known |= {"trained": shown.trained(row.entry)}
        known |= {key: _moment(known[key]) for key in ("created", "started", "ended")}
        known |= {key: " ".join(known[key]) for key in ("augmentations", "tags")}
        writer.writerow(
            ["" if known[key] is None else csv_cell(_plain(known[key])) for key in CSV_HEADER]
        )
    return text.getvalue()


def to_json(rows: Iterable[RunRow]) -> str:
    """A list of ``facts``."""
    return msgspec.json.format(msgspec.json.encode([facts(row) for row in rows])).decode() + "\n"


def _plain(value: Any) -> Any:
    """Numbers as they are, which ``csv`` writes; anything else as a text."""
    return value if type(value) in (int, float) else str(value)


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # no year from 1 to 9999
        return None
