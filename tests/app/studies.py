"""Studies as run folders with values that are known."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from engine.config.resolve import resolve
from engine.config.schema import StudyConfig
from engine.config.variants import Variant
from engine.runs import RunFolder
from engine.runs.record import Record, encode_record
from engine.study import grid
from engine.study.study_state import ROWS

from .conftest import NOW

SETS = (
    "label_fractions=[0.1, 0.3, 0.5]",
    "tasks=['binary', 'ten']",
    "heads=['logistic']",
    "subset_seeds=[0, 1]",
    "pretrain.data.source=shapes",
)
MAJORITY = {"binary": 60.0, "ten": 10.0}


def of_size(config: StudyConfig, queue_size: int) -> Variant:
    """The variant with a queue of so many keys."""
    return next(v for v in grid.variants(config) if v.queue_size == queue_size)


Value = Callable[[grid.Cell], float]


def some_value(cell: grid.Cell) -> float:
    """A made-up accuracy: another one for every cell, and the same always."""
    base = {"binary": 84.0, "ten": 50.0}[cell.task] + 14 * cell.fraction
    source = {"moco": 0.0, "random-init": -9.0, "pixels": -17.0, "supervised": 9.0}[cell.source]
    larger = 1.5 if cell.queue_size == 16384 else 0.0
    text = (
        f"Cell(source={cell.source!r}, queue_size={cell.queue_size!r}, seed={cell.seed!r}, "
        f"task={cell.task!r}, fraction={cell.fraction!r}, head={cell.head!r}, "
        f"subset_seed={cell.subset_seed!r})"
    )
    wobble = zlib.crc32(text.encode()) % 1000 / 1000 - 0.5 + 0.2 * (cell.seed or 0)
    return base + source + larger + wobble


FEW_SETS = (
    "label_fractions=[0.001, 0.01, 0.02, 0.05, 0.1, 0.3, 0.5]",
    "tasks=['ten']",
    "heads=['logistic']",
    "subset_seeds=[0, 1]",
    "pretrain.data.source=shapes",
)
"""Settings of a study that goes down to a thousandth of the labels."""


def few_labels_value(cell: grid.Cell) -> float:
    """Training from scratch overtakes the encoders at some per cent of the labels."""
    base = {"moco": 36.0, "random-init": 24.0, "pixels": 18.0, "supervised": 20.0}
    slope = {"moco": 10.0, "random-init": 8.0, "pixels": 6.0, "supervised": 19.0}
    line = base[cell.source] + slope[cell.source] * math.log10(cell.fraction / 0.001)
    larger = 4.0 if cell.queue_size == 16384 else 0.0
    wobble = some_value(cell) - some_value(replace(cell, seed=None))
    return line + larger + wobble + (cell.seed or 0)


def put(root: Path, run_id: str, kind: str, config: Any, **record: Any) -> RunFolder:
    """A run folder that holds this record."""
    folder = RunFolder(root / run_id)
    folder.path.mkdir(parents=True, exist_ok=True)
    fixed: dict[str, Any] = {
        "created": NOW - 3600,
        "started": NOW - 3000,
        "ended": NOW - 600,
        "host": "box",
        "device": "cpu",
        "status": "finished",
    }
    made = Record(id=run_id, kind=kind, config=msgspec.to_builtins(config), **(fixed | record))
    folder.record_path.write_bytes(encode_record(made))
    return folder


def write_study(
    root: Path,
    run_id: str = "s5t6dy",
    *,
    sets: tuple[str, ...] = SETS,
    pretrainings: int = 6,
    probes: int | None = None,
    value: Value = some_value,
    **record: Any,
) -> StudyConfig:
    """A study and the runs that it has so far.

    Args:
        root: the runs folder.
        run_id: of the study.
        sets: settings of the study.
        pretrainings: how many are finished.
        probes: how many probes of the last finished pretraining are done; None for all.
        value: accuracy of a cell, in percent.
        record: of the study's own record.
    """
    config = resolve(StudyConfig, sets=sets)
    put(root, run_id, "study", config, **({"name": "two dictionaries"} | record))
    places = grid.probe_points(config)
    finished = grid.pretrainings(config)[:pretrainings]
    for number, (variant, seed) in enumerate(finished):
        parent = f"pt{number}bcd"
        encoder = grid.pretrain_config(config, variant, seed)
        put(root, parent, "pretrain", encoder, step=1000, total_steps=1000)
        last = number == len(finished) - 1
        for at, place in enumerate(places[:probes] if last else places):
            put_probe(root, f"pb{number}x{at:02d}", config, variant, seed, place, parent, value)
    return config


def put_probe(
    root: Path,
    run_id: str,
    config: StudyConfig,
    variant: Variant,
    seed: int,
    place: grid.ProbePoint,
    parent: str,
    value: Value = some_value,
    **record: Any,
) -> RunFolder:
    """A probe of a study with its values."""
    values: dict[str, float] = {}
    for cell in grid.cells_of(config, variant, seed, place):
        row = f"probe/{ROWS[cell.source]}"
        values[f"{row}/test_top1"] = value(cell)
        values[f"{row}/test_balanced"] = value(cell)
        values[f"{row}/test_majority"] = MAJORITY[cell.task]
    record.setdefault("last", values)
    record = {"started": NOW - 540, "ended": NOW - 480} | record  # after its pretraining
    probe = grid.probe_config(config, variant, seed, place)
    return put(root, run_id, "probe", probe, parent=parent, **record)
