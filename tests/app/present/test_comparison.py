"""Runs side by side: what differs, which is better."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from moco_tui.present import comparison, comparison_export

from ..conftest import RESULT, some_runs, write_run

WHICH: tuple[comparison.Which, ...] = ("best", "gain", "share")


def compared(root: Path, *ids: str) -> comparison.SideBySide:
    from engine.runs import RunFolder

    return comparison.side_by_side([comparison.compared_run(RunFolder(root / i)) for i in ids])


def test_kind_settings_and_every_number_of_a_result(root: Path) -> None:
    some_runs(root)
    found = compared(root, "k7m2qx", "p2b9dz")
    assert found.settings["kind"] == ["pretrain", "probe"]
    assert found.settings["moco.queue_size"] == [4096, None]
    rows = {(row.metric, row.which): row for row in found.metrics}
    for row in RESULT["rows"]:
        assert rows[f"{row['source']} top1", "result"].values == [None, row["top1"]]
    assert rows["top1", "result"].values == [None, 57.3]
    labels = {which: [row.label for row in found.metrics if row.which == which] for which in WHICH}
    assert labels["best"] == ["best train/epoch_loss", "best knn/top1"]
    assert labels["gain"] == ["knn/top1 over untrained"]
    assert labels["share"] == [], "one of them alone has a chance level"
    # What equals the newest values is in the exports alone.
    assert not [row for row in comparison.rows_to_show(found) if row.which == "best"]


def test_values_that_are_not_finite_are_spelled_in_json(root: Path) -> None:
    for i, value in (("a1bcdf", math.nan), ("b2bcdf", 3.0)):
        write_run(root, i, last={"train/loss": value})
    found = compared(root, "a1bcdf", "b2bcdf")
    known = json.loads(comparison_export.to_json(found))
    assert known["metrics"][0]["values"] == ["NaN", 3.0]
    assert known["metrics"][0]["differences"] == [None, None]


def test_curves_that_most_runs_have_are_offered_first() -> None:
    names = [["mine", "knn/top1", "a"], ["knn/top1", "train/loss"], ["train/loss", "mine"]]
    assert comparison.offered(names) == ["train/loss", "knn/top1", "mine", "a"]


@pytest.mark.parametrize(
    ("metric", "value", "base", "text", "look"),
    [
        ("knn/top1", 50.0, 40.0, "+10.0 pts better", "good"),
        ("knn/top1", 40.0, 50.0, "-10.0 pts worse", "bad"),
        ("train/loss", 9.0, 10.0, "-1.000 better", "good"),
        ("train/loss", 10.0, 9.0, "+1.000 worse", "bad"),
        ("train/lr", 0.1, 0.2, "-0.100", ""),
        ("train/loss", 9.0, 9.0, "=", ""),
        ("train/loss", math.nan, 9.0, "", ""),
        ("train/loss", None, 9.0, "", ""),
    ],
)
def test_direction_of_a_difference(
    metric: str, value: float | None, base: float, text: str, look: str
) -> None:
    assert comparison.change_text(comparison.metric_row(metric, "last", [base, value]), 1) == (
        text,
        look,
    )


def test_probes_on_other_images_get_no_verdict(root: Path) -> None:
    some_runs(root)  # k7m2qx was pretrained on CIFAR-10
    sources = {"v1bcdf": "", "v2bcdf": "", "v3bcdf": "shapes", "v4bcdf": "shapes"}
    for i, (run, source) in enumerate(sources.items()):
        write_run(
            *(root, run),
            kind="probe",
            parent="k7m2qx",
            sets=(f"data.source={source}",) if source else (),
            last={"probe/pretrained/test_top1": 50.0 + i},
            result={"encoder_step": 120, "encoder_schedule_steps": 120},
        )
    rows = {row.metric: row for row in compared(root, *sources).metrics if row.which == "last"}
    row = rows["probe/pretrained/test_top1"]
    assert row.verdicts == [None, "better", None, None]
    assert row.reasons == ["", "", "other data", "other data"]
    (found,) = (
        row
        for row in compared(root, "v3bcdf", "v4bcdf").metrics
        if (row.metric, row.which) == ("probe/pretrained/test_top1", "last")
    )
    assert found.verdicts == [None, "better"]
