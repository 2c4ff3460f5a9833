"""Keeps what a study has found as a result of the report.

    moco-tui study NAME --show --json | python tests/benchmarks/study_result.py NAME \\
        --command 'moco-tui study --preset study-momentum ... --name NAME' --hardware '...'

writes ``results/NAME.json``: a row for each variant and baseline (with each head, where there are
several), a column for each share of the labels (of each task), and what the variants differ by from
the reference over all of them. ``report.py`` makes the table of it, between its two comments in the
report. ``--torch`` is for a study that was not computed with the torch at hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.machine.cpu_count import available_cpus
from engine.machine.processor import processor
from tests.benchmarks.report import RESULTS, keep

Setting = tuple[str, float]
"""A task and a share of the labels."""


def result(study: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """A study's estimates and differences as ``report.py`` takes them.

    Args:
        study: what ``moco-tui study --show --json`` prints.
        facts: command, hardware, torch and date.

    Raises:
        SystemExit: when the study is not complete: a table of the report has no figure to come.
    """
    if not study["complete"]:
        raise SystemExit(f"{study['cells_done']} of {study['cells_total']} cells are done.")
    estimates = sorted(study["estimates"], key=lambda one: one["variant"] is None)
    # A baseline without a head stands beside all of them.
    heads = list(dict.fromkeys(one["head"] for one in estimates if one["head"]))
    of_heads = _of_heads(estimates)
    settings = sorted({(one["task"], one["fraction"]) for one in estimates})
    columns: list[dict[str, Any]] = [{"title": "", "cell": "{name}"}]
    rows: dict[str, dict[str, Any]] = {}
    for number, setting in enumerate(settings):
        key = f"s{number}"
        columns.append({"title": _title(setting, settings, heads), "cell": _cells(key)})
        for one in estimates:
            if (one["task"], one["fraction"]) == setting:
                name = one["variant"] or one["source"]
                name += f", {one['head']}" * (name in of_heads)
                rows.setdefault(name, {"name": name}).update(_values(key, one["estimate"]))
    variants = {one["variant"] for one in estimates} - {None}
    differences = [
        c for c in study["comparisons"] if c["scope"] == "all" and c["reference"] in variants
    ]
    if differences:
        reference, family = differences[0]["reference"], differences[0]["family"]
        columns += [
            {"title": f"less {reference}, points", "cell": _cells("less", sign="+", to=" to ")},
            {"title": f"p (Holm, of {family})", "cell": "{p:.3f}"},
        ]
        for one in differences:
            name = one["variant"] + ", all heads" * (len(heads) > 1)
            row = rows.setdefault(name, {"name": name})
            if one["difference"]:
                row |= _values("less", one["difference"])
            if one["p_adjusted"] is not None:
                row["p"] = one["p_adjusted"]
    seeds = max(one["seeds"] for one in estimates)
    over = {one["estimate"]["over"] for one in estimates if one["estimate"]["kind"] == "interval"}
    what = f"intervals (95 %) over {' and '.join(sorted(over))}" if over else "no intervals"
    plural = "pretraining seed" if seeds == 1 else "pretraining seeds"
    return {
        **facts,
        "repeats": f"{seeds} {plural}; {what}, [...] from the smallest to the largest",
        "columns": columns,
        "values": list(rows.values()),
    }


def _of_heads(estimates: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names that have a row for each head; raw pixels are probed alike beside a fine-tuning."""
    found: dict[tuple[str, str, float], dict[str, float]] = {}
    for one in estimates:
        if one["head"]:
            setting = (one["variant"] or one["source"], one["task"], one["fraction"])
            found.setdefault(setting, {})[one["head"]] = one["estimate"]["mean"]
    heads = {head for means in found.values() for head in means}
    return {
        setting[0]
        for setting, means in found.items()
        if means.keys() != heads or len(set(means.values())) > 1
    }


def _title(setting: Setting, settings: Sequence[Setting], heads: Sequence[str]) -> str:
    """Only what tells a column from the others, and what it is where there is but one."""
    task, fraction = setting
    words = [task] * (len({each[0] for each in settings}) > 1)
    if heads == ["knn"]:
        return ", ".join([*words, "kNN, %"])
    return ", ".join([*words, f"top-1, %, {100 * fraction:g} % of the labels"])


def _values(key: str, estimate: Mapping[str, Any]) -> dict[str, float]:
    values = {key: estimate["mean"]}
    if estimate["low"] is not None:
        ends = ("low", "high") if estimate["kind"] == "interval" else ("least", "most")
        values |= {f"{key}_{ends[0]}": estimate["low"], f"{key}_{ends[1]}": estimate["high"]}
    return {name: round(value, 4) for name, value in values.items()}


def _cells(key: str, sign: str = "", to: str = " - ") -> list[str]:
    one = f":{sign}.1f}}"
    low, high = f"{{{key}_low{one}{to}{{{key}_high{one}", f"{{{key}_least{one}{to}{{{key}_most{one}"
    return [f"{{{key}{one} ({low})", f"{{{key}{one} [{high}]", f"{{{key}{one}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", help="of the file in results, without .json")
    parser.add_argument("--command", action="append", required=True, help="as the report says it")
    parser.add_argument("--hardware", default=f"{available_cpus()} cores, {processor()[0]}")
    parser.add_argument("--torch", default=version("torch"))
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat())
    given = vars(parser.parse_args())
    name = given.pop("name")
    print(keep(name, result(json.load(sys.stdin), given), RESULTS))


if __name__ == "__main__":
    main()
