"""Runs with the metric logs of real pretrainings, see ``tests/fixtures/make_diagnoses.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import RunFolder
from engine.runs.metric_writer import encode_line
from engine.runs.record import Record, encode_record

from .conftest import NOW

LOGS = Path(__file__).parents[1] / "fixtures" / "diagnoses"


def log_of(name: str) -> dict[str, Any]:
    """A recorded run: ``preset``, ``sets``, ``record`` and ``rows``."""
    found: dict[str, Any] = json.loads((LOGS / f"{name}.json").read_text())
    return found


def recorded_run(
    root: Path,
    name: str,
    *,
    rows: int | None = None,
    id_: str = "m3a7sr",
    losses: bool = False,
    **record: Any,
) -> RunFolder:
    """A run folder with a recorded log.

    Args:
        root: of the runs.
        name: of the recorded run.
        rows: so many lines of the log alone, and the step of the last of them; None: all.
        id_: of the run.
        losses: with the mean of each epoch as the loss of its last step, which is not recorded.
        record: other fields of the record.
    """
    known = log_of(name)
    lines = known["rows"][:rows]
    config = resolve(PretrainConfig, preset_name=known["preset"], sets=known["sets"])
    facts = {k: v for k, v in known["record"].items() if k != "images"}
    if rows is not None:
        facts |= {"step": max((row["step"] for row in lines), default=0), "status": "running"}
    last: dict[str, float] = {}
    encoded = []
    for row in lines:
        values = {k: v for k, v in row.items() if k not in ("step", "epoch")}
        if losses and "train/epoch_loss" in values:
            values["train/loss"] = values["train/epoch_loss"]
        encoded.append(encode_line(row["step"], row["epoch"], NOW - 600 + row["step"], values))
        last |= values
    facts |= {
        "created": NOW - 3600,
        "started": NOW - 600,
        "ended": NOW - 60,
        "device": "cpu",
        "last": last,
        "facts": {"train_images": known["record"]["images"]},
        "epoch": facts["step"] / facts["steps_per_epoch"],
    }
    folder = RunFolder(root / id_)
    folder.path.mkdir(parents=True)
    made = Record(
        id=id_,
        kind="pretrain",
        name=name,
        preset=known["preset"],
        config=msgspec.to_builtins(config),
        **(facts | record),
    )
    folder.record_path.write_bytes(encode_record(made))
    folder.metrics_path.write_bytes(b"".join(encoded))
    return folder
