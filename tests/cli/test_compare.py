"""Runs beside each other: what was set and what came out."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

from engine.config.schema import PretrainConfig
from engine.runs import create

from .conftest import Call, probed, trained


def test_compare_lists_only_what_differs(call: Call, root: Path) -> None:
    a = trained(root, values={"moco.queue_size": 512}, top1=40.0, losses=(9.0, 8.0)).id
    b = trained(root, values={"optim.lr": 0.01}, top1=42.5, losses=(9.0, 8.5)).id
    facts = json.loads(call("compare", a, b, "--json").out)
    assert [run["id"] for run in facts["runs"]] == [a, b]
    assert facts["config"] == {"moco.queue_size": [512, 2048], "optim.lr": [0.06, 0.01]}
    metrics = {(row["metric"], row["value"]): row for row in facts["metrics"]}
    assert metrics["train/loss", "last"]["values"] == [8.0, 8.5]
    assert metrics["train/loss", "last"]["differences"] == [0.0, 0.5]
    assert metrics["train/loss", "last"]["verdicts"] == [None, "worse"]
    assert metrics["knn/top1", "best"]["verdicts"] == [None, "better"]
    assert metrics["train/lr", "last"]["verdicts"] == [None, None]
    out = call("compare", a, b).out
    assert "moco.queue_size" in out
    assert "augment.crop.enabled" not in out
    assert "+2.5 pts  better" in out
    assert "+0.5000  worse" in out


def test_compare_of_probes_lays_their_results_side_by_side(call: Call, root: Path) -> None:
    parent = trained(root).id
    a, b = probed(root, parent, head="linear").id, probed(root, parent).id
    facts = json.loads(call("compare", a, b, "--json").out)
    assert facts["config"] == {"head": ["linear", "logistic"]}
    rows = {row["metric"]: row for row in facts["metrics"]}
    assert rows["pretrained top1"]["values"] == [57.5, 57.5]
    assert rows["pretrained top1"]["verdicts"] == [None, "same"]


def test_probes_of_different_steps_are_not_compared_as_one(call: Call, root: Path) -> None:
    parent = trained(root).id
    end, early = probed(root, parent).id, probed(root, parent, encoder_step=8).id
    old = probed(root, parent, encoder_step=None).id
    facts = json.loads(call("compare", end, early, old, "--json").out)
    assert facts["config"] == {
        "encoder": ["step 40 of 40, 100 %", "step 8 of 40, 20 %", "step not recorded"]
    }
    rows = {row["metric"]: row for row in facts["metrics"]}
    assert rows["pretrained top1"]["verdicts"] == [None, None, None]
    assert rows["probe/pretrained/test_top1"]["differences"] == [0.0, -4.0, -5.0]
    assert rows["probe/pretrained/test_top1"]["verdicts"] == [None, None, None]
    assert "encoder_step" not in rows
    out = call("compare", end, early).out
    assert "better" not in out
    assert "worse" not in out
    assert "step 8 of 40, 20 %" in out
    same = json.loads(call("compare", end, probed(root, parent).id, "--json").out)
    rows = {row["metric"]: row for row in same["metrics"]}
    assert rows["probe/pretrained/test_top1"]["verdicts"] == [None, "same"]


def test_compare_of_runs_without_numbers_or_with_nan(call: Call, root: Path) -> None:
    a = create(root, "pretrain", PretrainConfig()).id
    b = create(root, "pretrain", PretrainConfig()).id
    out = call("compare", a, b).out
    assert "The settings are the same." in out
    assert "nothing" in out or "anything" in out
    c, d = trained(root, losses=(math.nan,)).id, trained(root, losses=(3.0,)).id
    facts = json.loads(call("compare", c, d, a, "--json").out)
    row = next(r for r in facts["metrics"] if (r["metric"], r["value"]) == ("train/loss", "last"))
    assert row["values"] == ["NaN", 3.0, None]
    assert row["differences"] == [None, None, None]
    assert row["verdicts"] == [None, None, None]


def test_compare_csv_holds_every_number_in_full(call: Call, root: Path) -> None:
    a = trained(root, losses=(1 / 3,)).id
    b = trained(root, losses=(0.1,), values={"data.limit": 100}).id
    rows = list(csv.DictReader(io.StringIO(call("compare", a, b, "--csv").out)))
    loss = next(row for row in rows if (row["part"], row["name"]) == ("last", "train/loss"))
    assert float(loss[a]) == 1 / 3
    assert float(loss[f"{b} - {a}"]) == 0.1 - 1 / 3
    setting = [row for row in rows if row["part"] == "setting"]
    assert [(row["name"], row[a], row[b]) for row in setting] == [("data.limit", "0", "100")]


def test_compare_needs_two_runs(call: Call, root: Path) -> None:
    a = trained(root).id
    for words in ([a], [a, a], [a, a[:4]]):
        called = call("compare", *words)
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
