"""The dry run of a study on the command line: what is left, its time and its disk."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.config.phrases import plural
from engine.config.schema import StudyConfig
from engine.config.variants import Variants, expand
from engine.sink import Interrupted
from engine.study.report import Report
from moco_tui.cli.options import Settings
from moco_tui.cli.output import clean, print_json, print_text, say, table
from moco_tui.cli.progress import terminal_sink
from moco_tui.present import fmt

_MOST_SHOWN = 40
STATES = ("done", "running", "waiting", "failed", "missing")


def print_plan(settings: Settings, now: Report, *, as_json: bool) -> int:
    """Counts the cells, times what is left, and prints it; the exit code.

    Raises:
        UserError: what the study itself would be refused for.
    """
    study_state, made = now.study_state, expand(now.config)
    states: list[str] = [found.state for found in study_state.cells.values()]
    counts = {state: states.count(state) for state in STATES}
    trained = [one.state for one in study_state.pretrainings.values()]
    # Times real steps and probes, which takes a while and may be interrupted.
    with terminal_sink("dry run") as sink:
        from engine.jobs.study_estimate import plan

        try:
            left = plan(now.config, study_state, data_dir=settings.data, sink=sink)
        except Interrupted:
            say("interrupted")
            return 130
    if as_json:
        facts: dict[str, Any] = {
            "variants": [variant.label for variant in made.all],
            "reference": made.reference.label,
            "notes": list(made.merged),
            "cells": counts | {"total": len(states)},
            "pretrainings": {
                "finished": trained.count("finished"),
                "total": len(trained),
            },
            **msgspec.to_builtins(left),
        }
        print_json(facts)
        return 0
    print_text(_variants_text(now.config, made))
    print(
        f"{len(trained)} pretrainings, {trained.count('finished')} of them finished; "
        f"{len(states):,} cells: "
        + ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    )
    if not left.costs:
        print("nothing is left to do")
        return 0
    rows = [[cost.part, f"{cost.count:,}", fmt.duration(cost.seconds)] for cost in left.costs]
    rows.append(["all, one after the other", "", fmt.duration(left.seconds)])
    if left.workers > 1:
        rows.append([f"by {left.workers} workers at once", "", fmt.duration(left.wall_seconds)])
    print()
    print(table(["what is left", "count", f"about, on {left.device}"], rows, (1, 2)))
    print(f"\ndisk for the runs that are missing: about {fmt.size(left.disk_bytes)}")
    return 0


def _variants_text(config: StudyConfig, made: Variants) -> str:
    """The variants with what they change, and which of them is the reference."""
    lines = [f"{plural(len(made.all), 'variant')}, {plural(len(config.seeds), 'seed')} of each:"]
    for variant in made.all[:_MOST_SHOWN]:
        changed = ", ".join(f"{key}={fmt.value(value)}" for key, value in variant.settings.items())
        note = "  (reference)" if variant == made.reference else ""
        lines.append(clean(f"  {variant.label}{note}") + (f": {clean(changed)}" if changed else ""))
    if len(made.all) > _MOST_SHOWN:
        lines.append(f"  and {len(made.all) - _MOST_SHOWN} more")
    return "\n".join([*lines, *map(clean, made.merged)])
