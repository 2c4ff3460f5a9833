"""Runs that the tests of the filter language ask for."""

from __future__ import annotations

import math
import time
from typing import Any

from engine.history.entry import Entry

NOW = time.time()


def entry(id_: str, **values: Any) -> Entry:
    return Entry(id=id_, **{"kind": "pretrain", "created": NOW, **values})


RUNS = [
    entry(
        "k7m2qx",
        name="Large queue",
        preset="notebook",
        status="finished",
        config={"moco.queue_size": 16384},
        last={"knn/top1": 61.5, "train/loss": 9.2},
        best={"knn/top1": 63.0, "train/loss": 9.1},
        tags=("keep", "paper"),
        note="for the table",
        created=NOW - 3 * 86400,
        started=NOW - 3 * 86400,
        ended=NOW - 2 * 86400,
        total_steps=200,
        step=200,
    ),
    entry(
        "b4b4b4",
        name="small",
        preset="quick",
        status="running",
        last={"knn/top1": 40.0, "train/loss": math.nan},
        total_steps=100,
        step=25,
        started=NOW - 60,
    ),
    entry(
        "p9p9p9",
        kind="probe",
        parent="k7m2qx",
        status="failed",
        error="out of memory",
        config={"label_fraction": 0.3, "head": "linear", "task.name": "binary"},
        result={"top1": 91.0, "encoder_step": 400.0, "encoder_schedule_steps": 1000.0},
    ),
    entry("zzzzz2", name="(odd) name: a=b", status="damaged", kind=""),
]
