"""The ways in which a run can compute the same step, on this device.

Determinism and precision belong to the whole process, so each is a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import scaling, timing

IMAGES = 50_000

#: Settings over the notebook preset.
CPU_MODES: dict[str, dict[str, Any]] = {
    "as a run has it": {},
    "float32": {"runtime.precision": "float32"},
    "one thread": {"runtime.threads": 1},
}
CUDA_MODES: dict[str, dict[str, Any]] = {
    "as a run has it": {},
    "recorded": {"runtime.capture": "recorded"},
    "fused": {"runtime.capture": "fused"},
    "eager": {"runtime.capture": "off"},
    "deterministic": {"runtime.deterministic": True},
    "deterministic, eager": {"runtime.deterministic": True, "runtime.capture": "off"},
    "float32": {"runtime.precision": "float32"},
}


def measure(
    base: dict[str, Any],
    script: Path,
    *,
    cuda: bool,
    repeats: int,
    seconds: float,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """One row a mode, as ``scaling.one`` makes it."""
    rows = []
    for name, values in (CUDA_MODES if cuda else CPU_MODES).items():
        row = scaling.apart(script, {**base, **values}, IMAGES, repeats=repeats, seconds=seconds)
        rows.append({"mode": name, **row})
        say(f"{name}: {row.get('ms') or row['error']}")
    return rows


def show(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    head = ("step of 512 pairs, 50,000 images", "ms", "processor ms", "peak MiB", "the step is")
    lines: list[tuple[object, ...]] = []
    for row in rows:
        if "error" in row:
            lines.append((row["mode"], f"failed: {row['error']}", "", "", ""))
        else:
            memory = f"{row['mebibytes']:,.0f}"
            spent = row["processor_ms"].median
            lines.append((row["mode"], row["ms"], spent, memory, row["way"]))
    return timing.table(head, lines)
