"""What the metric log of a run holds, for comparisons."""

from __future__ import annotations

import json

from engine.runs import RunFolder


def curves(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric."""
    log = run.metrics()
    log.poll()
    return {name: list(zip(*log.series(name), strict=True)) for name in log.names()}


def steps_in_file(run: RunFolder) -> list[int]:
    """Steps with a loss in the order of the file, less what later voiding lines took away.

    Read without the engine's reader, which forgives a step that is there twice.
    """
    steps: list[int] = []
    for line in run.metrics_path.read_text().splitlines():
        item = json.loads(line)
        if "train/loss" in item:
            steps.append(item["step"])
        elif "void_after" in item:
            steps = [step for step in steps if step <= item["void_after"]]
    return steps
