"""Runs beside each other: what was set and what came out."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from engine.config.schema import PretrainConfig
from engine.runs import create, own

from .conftest import Call, probed, trained


def test_compare_lists_only_what_differs(call: Call, root: Path) -> None:
    values = {"moco.queue_size": 512}
    a = trained(root, values=values, top1=40.0, losses=(9.0, 8.0), chance=12.48).id
    b = trained(root, values={"optim.lr": 0.01}, top1=42.5, losses=(9.0, 8.5)).id
    facts = json.loads(call("compare", a, b, "--json").out)
    assert [run["id"] for run in facts["runs"]] == [a, b]
    assert facts["config"] == {"moco.queue_size": [512, 2048], "optim.lr": [0.06, 0.01]}
    metrics = {(row["metric"], row["value"]): row for row in facts["metrics"]}
    assert metrics["train/loss", "last"]["values"] == [8.0, 8.5]
    assert metrics["train/loss", "last"]["differences"] == [0.0, 0.5]
    # Another queue size: the losses measure different things, and no share of chance mends that.
    for which in ("last", "share"):
        assert metrics["train/loss", which]["verdicts"] == [None, None]
        assert metrics["train/loss", which]["reasons"] == ["", "other K"]
    assert metrics["knn/top1", "best"]["verdicts"] == [None, "better"]
    assert metrics["train/lr", "last"]["verdicts"] == [None, None]
    out = call("compare", a, b).out
    assert "moco.queue_size" in out
    assert "augment.crop.enabled" not in out
    assert "+2.5 pts  better" in out
    assert "+0.5000  other K" in out


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"moco.queue_size": 512}, "other K"),
        ({"moco.temperature": 0.1}, "other T"),
        ({"moco.symmetric": False}, "other symmetric"),
        ({"augment.crop.scale_min": 0.5}, "other augment"),
        ({"data.limit": 100}, "other data"),
        ({"optim.lr": 0.01}, ""),
        ({"moco.momentum": 0.9}, ""),
    ],
)
def test_a_loss_is_judged_only_where_it_measures_the_same(
    call: Call, root: Path, values: dict[str, Any], reason: str
) -> None:
    a, b = trained(root, losses=(8.0,)).id, trained(root, values=values, losses=(8.5,)).id
    facts = json.loads(call("compare", a, b, "--json").out)
    row = next(r for r in facts["metrics"] if (r["metric"], r["value"]) == ("train/loss", "last"))
    assert row["reasons"] == ["", reason]
    assert row["verdicts"] == [None, None if reason else "worse"]


def test_one_direction_and_the_sum_of_both_are_compared_as_shares_of_chance(
    call: Call, root: Path
) -> None:
    """2 ln(2049) is 15.25: 9.15 is 60 % of it, and half of that sum, 4.27, is 56 % of its own."""
    both = trained(root, losses=(9.15,)).id
    one = trained(root, values={"moco.symmetric": False}, losses=(4.27,), chance=7.625).id
    called = call("compare", both, one, "--json")
    rows = {(r["metric"], r["value"]): r for r in json.loads(called.out)["metrics"]}
    share = rows["train/loss", "share"]
    assert share["values"] == [pytest.approx(60.0), pytest.approx(56.0)]
    assert share["verdicts"] == [None, "better"]
    assert "-4.0 pts  better" in call("compare", both, one).out
    # Where chance is the same, the shares say nothing that the losses do not.
    again = trained(root, losses=(9.0,)).id
    facts = json.loads(call("compare", both, again, "--json").out)
    assert "share" not in {row["value"] for row in facts["metrics"]}


def test_how_far_a_run_came_from_its_untrained_encoder(call: Call, root: Path) -> None:
    a, b = (trained(root, top1=top1, untrained=40.0).id for top1 in (42.0, 22.0))
    rows = {
        (r["metric"], r["value"]): r
        for r in json.loads(call("compare", a, b, "--json").out)["metrics"]
    }
    assert rows["knn/top1", "best"]["values"] == [42.0, 22.0]
    assert rows["knn/top1", "gain"]["values"] == [2.0, -18.0]
    assert rows["knn/top1", "gain"]["verdicts"] == [None, "worse"]
    line = next(line for line in call("compare", a, b).out.splitlines() if "over untrained" in line)
    assert line.split() == [
        "knn/top1",
        "over",
        "untrained",
        "+2.0",
        "pts",
        "-18.0",
        "pts",
        "-20.0",
        "pts",
        "worse",
    ]


def test_probes_of_other_tasks_or_images_are_not_judged(call: Call, root: Path) -> None:
    parent = trained(root).id
    five: dict[str, Any] = {"task.name": "five"}
    a, b = probed(root, parent).id, probed(root, parent, **five).id
    c = probed(root, trained(root, values={"data.source": "shapes"}).id).id
    d = probed(root, trained(root, values={"data.source": "cifar10"}).id).id
    for first, second, wanted in ((a, b, "other task"), (c, d, "other data"), (a, c, "")):
        facts = json.loads(call("compare", first, second, "--json").out)
        row = next(r for r in facts["metrics"] if r["metric"] == "pretrained top1")
        assert row["reasons"] == ["", wanted]
        assert row["verdicts"] == [None, None if wanted else "same"]


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


def test_where_runs_came_from_is_compared_below_their_settings(call: Call, root: Path) -> None:
    a, b, c = (trained(root, values={"optim.lr": lr}) for lr in (0.01, 0.02, 0.03))
    values = {"program.commit": "a" * 40, "packages.torch": "2.11", "command": "same"}
    for folder, commit in ((a, "a" * 40), (b, "b" * 40)):
        with own(folder) as owner:
            owner.note_provenance(0, values | {"program.commit": commit}, {})
    facts = json.loads(call("compare", a.id, b.id, "--json").out)
    assert facts["provenance"] == {"program.commit": ["a" * 40, "b" * 40]}
    assert facts["config"] == {"optim.lr": [0.01, 0.02]}
    rows = list(csv.reader(io.StringIO(call("compare", a.id, b.id, "--csv").out)))
    assert ["provenance", "program.commit", "a" * 40, "b" * 40, ""] in rows
    out = call("compare", a.id, b.id).out
    assert out.index("optim.lr") < out.index("where it came from") < out.index("train/loss")
    (line,) = [line for line in out.splitlines() if "program.commit" in line]
    assert line.split() == ["program.commit", "a" * 12, "b" * 12]
    facts = json.loads(call("compare", a.id, c.id, "--json").out)
    assert facts["provenance"] == {"provenance": ["recorded", "not recorded"]}
    assert "where it came from" not in call("compare", c.id, trained(root).id).out
