"""The command that lays runs beside each other: what was set and what came out."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping
from typing import Any

import click

from engine.errors import RunError
from engine.runs import Record, RunFolder, direction
from moco_tui.cli.common import (
    Settings,
    clean,
    complete_run,
    figure,
    print_json,
    shared_options,
    table,
)
from moco_tui.cli.show import settings_of
from moco_tui.present import fmt


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", shell_complete=complete_run)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@shared_options
@click.pass_obj
def compare(settings: Settings, runs: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    """Compare runs: settings that differ, metrics side by side."""
    folders = [settings.find(ref) for ref in runs]
    if len({folder.id for folder in folders}) < max(2, len(folders)):
        raise RunError("Give two or more different runs to compare.")
    records = [folder.record() for folder in folders]
    facts = comparison(folders, records)
    if as_json:
        print_json(facts)
    elif as_csv:
        _print_csv(facts)
    else:
        print(_text(facts))


def comparison(folders: list[RunFolder], records: list[Record]) -> dict[str, Any]:
    """What differs between runs, as builtin values.

    Returns:
        ``runs``: id, name, kind and state of each; ``config``: dotted key to the values of the
        runs (None where a run has no such key), only keys that differ; ``metrics``: a row for the
        last and the best value of every metric and for every accuracy of a probe, with the
        differences to the first run and ``better`` or ``worse`` where that can be said.
    """
    configs = [{"kind": r.kind, **settings_of(r)} for r in records]
    keys = list(dict.fromkeys(key for config in configs for key in config))
    columns = [_values(record) for record in records]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return {
        "runs": [
            {
                "id": folder.id,
                "name": folder.title(),
                "kind": record.kind,
                "state": folder.status(record),
            }
            for folder, record in zip(folders, records, strict=True)
        ],
        "config": {
            key: [config.get(key) for config in configs]
            for key in keys
            if any(config.get(key) != configs[0].get(key) for config in configs)
        },
        "metrics": [_row(name, which, columns) for name, which in names],
    }


def _values(record: Record) -> dict[tuple[str, str], float]:
    """Every number that came out of a run, by metric and ``last``, ``best`` or ``result``."""
    names = [*record.last, *(name for name in record.best if name not in record.last)]
    out: dict[tuple[str, str], float] = {}
    for name in names:
        for which, values in (("last", record.last), ("best", record.best)):
            if name in values:
                out[name, which] = values[name]
    rows = record.result.get("rows")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping) and isinstance(row.get("top1"), int | float):
            out[f"{row.get('source', '?')} top1", "result"] = float(row["top1"])
    return out


def _row(name: str, which: str, columns: list[dict[tuple[str, str], float]]) -> dict[str, Any]:
    values = [column.get((name, which)) for column in columns]
    way = direction(name)
    differences = [_difference(value, values[0]) for value in values]
    return {
        "metric": name,
        "value": which,
        "values": values,
        "differences": differences,
        "verdicts": [_verdict(d, way) if i else None for i, d in enumerate(differences)],
    }


def _difference(value: float | None, first: float | None) -> float | None:
    if value is None or first is None or not (math.isfinite(value) and math.isfinite(first)):
        return None
    return value - first


def _verdict(difference: float | None, way: int) -> str | None:
    if not way or difference is None:
        return None
    return "same" if difference == 0 else "better" if difference * way > 0 else "worse"


def _text(facts: dict[str, Any]) -> str:
    runs = facts["runs"]
    ids = [run["id"] for run in runs]
    parts = [
        table(
            ["run", "name", "kind", "state"],
            [
                [r["id"], "" if r["name"] == r["id"] else clean(r["name"]), r["kind"], r["state"]]
                for r in runs
            ],
        )
    ]
    if facts["config"]:
        rows = [
            [clean(key), *(_setting(value) for value in values)]
            for key, values in facts["config"].items()
        ]
        parts.append(table(["setting", *ids], rows))
    else:
        parts.append("The settings are the same.")
    if facts["metrics"]:
        rows = []
        for row in facts["metrics"]:
            cells = [f"{clean(row['metric'])} {row['value']}", figure(row["values"][0])]
            later = zip(row["values"][1:], row["differences"][1:], row["verdicts"][1:], strict=True)
            for value, difference, verdict in later:
                change = "" if difference is None else _signed(difference)
                cells += [figure(value), change, verdict or ""]
            rows.append(cells)
        header = ["metric", ids[0]]
        for id_ in ids[1:]:
            header += [id_, "change", ""]
        right = [i for i, label in enumerate(header) if i and label]
        parts.append(table(header, rows, right))
    else:
        parts.append("No run has measured anything yet.")
    return "\n\n".join(parts)


def _setting(value: Any) -> str:
    return "-" if value is None else clean(fmt.value(value))


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{figure(value)}"


def _print_csv(facts: dict[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    ids = [run["id"] for run in facts["runs"]]
    changes = [f"{id_} - {ids[0]}" for id_ in ids[1:]]
    writer.writerow(["part", "name", *ids, *changes])
    for key, values in facts["config"].items():
        cells = ["" if value is None else fmt.value(value) for value in values]
        cells = [clean(cell) for cell in cells]
        writer.writerow(["setting", clean(key), *cells, *[""] * len(changes)])
    for row in facts["metrics"]:
        cells = ["" if value is None else repr(value) for value in row["values"]]
        later = ["" if change is None else repr(change) for change in row["differences"][1:]]
        writer.writerow([row["value"], clean(row["metric"]), *cells, *later])
