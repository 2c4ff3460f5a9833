"""Accuracies as differences to a pinned run."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.present.baseline import RunBaseline, points_text
from moco_tui.present.run_list import RunList
from moco_tui.present.run_rows import RunRow

from ..conftest import some_runs, write_run


def rows_of(root: Path) -> dict[str, RunRow]:
    catalog = RunList(root)
    catalog.refresh()
    return catalog.rows


def probe(
    root: Path, run_id: str, parent: str, top1: float, *sets: str, checkpoint: str = ""
) -> None:
    known = {"parent": parent, "result": {"top1": top1}, "checkpoint": checkpoint}
    write_run(root, run_id, kind="probe", sets=sets, **known)  # type: ignore[arg-type]


def test_pretrainings_are_compared_by_the_accuracy_that_stands_for_them(root: Path) -> None:
    some_runs(root)
    rows = rows_of(root)
    base = RunBaseline(rows, "k7m2qx")
    mine, other = rows["k7m2qx"].best, rows["q4r8st"].best
    assert mine is not None
    assert other is not None
    assert base.difference(rows["q4r8st"]) == pytest.approx(other - mine)
    assert base.difference(rows["k7m2qx"]) == 0


@pytest.mark.parametrize("key", ["monitor.knn_k=50", "data.source=shapes", "data.limit=500"])
def test_what_is_measured_otherwise_has_no_difference(root: Path, key: str) -> None:
    write_run(root, "a2bcdf", steps=30)
    write_run(root, "b2bcdf", steps=30, sets=(key,))
    write_run(root, "c2bcdf", steps=30, sets=("moco.queue_size=64",))
    rows = rows_of(root)
    base = RunBaseline(rows, "a2bcdf")
    assert base.difference(rows["b2bcdf"]) is None
    assert base.difference(rows["c2bcdf"]) is not None


def test_a_probe_is_compared_with_those_of_the_baseline_that_ask_the_same(root: Path) -> None:
    write_run(root, "a2bcdf", steps=30)
    write_run(root, "b2bcdf", steps=30, sets=("moco.queue_size=64",))
    probe(root, "pa1", "a2bcdf", 60.0, "label_fraction=0.1", "subset_seed=0")
    probe(root, "pa2", "a2bcdf", 62.0, "label_fraction=0.1", "subset_seed=1")
    probe(root, "pa3", "a2bcdf", 70.0, "label_fraction=0.5")
    probe(root, "pb1", "b2bcdf", 64.0, "label_fraction=0.1", "subset_seed=7")
    probe(root, "pb2", "b2bcdf", 65.0, "label_fraction=0.2")
    probe(root, "pb3", "b2bcdf", 66.0, "label_fraction=0.1", "head=linear")
    probe(root, "pb4", "b2bcdf", 67.0, "label_fraction=0.1", "data.source=shapes")
    probe(root, "pb5", "b2bcdf", 68.0, "label_fraction=0.1", checkpoint="5")
    rows = rows_of(root)
    base = RunBaseline(rows, "a2bcdf")
    assert base.difference(rows["pb1"]) == pytest.approx(64.0 - (60.0 + 62.0) / 2)
    assert base.difference(rows["pa3"]) == 0
    assert [base.difference(rows[f"pb{n}"]) for n in (2, 3, 4, 5)] == [None] * 4
    # A probe as the baseline is compared with probes alone.
    base = RunBaseline(rows, "pa1")
    assert base.difference(rows["pb1"]) == pytest.approx(4.0)
    assert base.difference(rows["pb5"]) == pytest.approx(8.0), "of an earlier checkpoint, too"
    assert base.difference(rows["b2bcdf"]) is None


def test_without_a_baseline_nothing_is_compared(root: Path) -> None:
    some_runs(root)
    rows = rows_of(root)
    for run_id in ("", "gone00", "f6g3hj"):
        base = RunBaseline(rows, run_id)
        assert base.difference(rows["p2b9dz"]) is None
        assert (base.row is None) == (run_id != "f6g3hj")


def test_a_difference_is_in_points_with_its_sign() -> None:
    assert [points_text(value) for value in (1.04, -0.66, 0.0, -0.01, None)] == [
        "+1.0",
        "-0.7",
        "+0.0",
        "+0.0",
        "",
    ]
