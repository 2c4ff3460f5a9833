"""Means over the seeds of a variant, against plain loops, while logs grow."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

import pytest

from engine.runs.metric_writer import encode_line
from engine.study.study_state import StudyState, Trained
from moco_tui.present import variant_curves as variantcurves
from moco_tui.present.variant_curves import SeedMean, VariantLogs, seed_mean


def test_few_points_are_averaged_place_by_place_whatever_seeds_are_missing_or_short() -> None:
    runs = [
        ([1, 2, 3, 4], [10.0, 20.0, 30.0, 40.0]),
        ([1, 2], [14.0, 26.0]),
        ([], []),
        ([1, 3], [12.0, math.nan]),
    ]
    found = seed_mean(runs)
    assert found.x == (1, 2, 3, 4)
    assert found.mean == (12.0, 23.0, 30.0, 40.0)
    assert found.low == (10.0, 20.0, 30.0, 40.0)
    assert found.high == (14.0, 26.0, 30.0, 40.0)
    assert found.seeds == (3, 2, 1, 1)
    assert found.seeds_text == "1-3 seeds"
    assert seed_mean([]).x == ()
    assert seed_mean([([], [])]).seeds_text == "no values yet"


def test_many_points_are_averaged_in_bins_in_which_each_seed_counts_once() -> None:
    rng = random.Random(0)
    first = [(x, rng.random()) for x in range(1, 3001)]
    second = [(x, rng.random()) for x in range(2, 2001, 2)]
    runs = [([x for x, _ in run], [v for _, v in run]) for run in (first, second)]
    found = seed_mean(runs, 100)
    assert len(found.x) == 100
    for number in (0, 1, 37, 65, 80, 99):
        inside = [[v for x, v in run if min(int(x / 30), 99) == number] for run in (first, second)]
        means = [statistics.fmean(values) for values in inside if values]
        assert found.mean[number] == pytest.approx(statistics.fmean(means))
        assert (found.low[number], found.high[number]) == (min(means), max(means))
        assert found.seeds[number] == len(means)


def log(root: Path, run: str, steps: range, offset: float = 0.0) -> None:
    folder = root / run
    folder.mkdir(parents=True, exist_ok=True)
    lines = [encode_line(s, s / 10, float(s), {"train/loss": s + offset}) for s in steps]
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b"".join(lines))


def state(*runs: tuple[str, int, str]) -> StudyState:
    return StudyState({}, {(a, s): Trained(r, "running", 1, 9) for a, s, r in runs})


def test_logs_that_grow_are_read_on_and_runs_that_appear_are_taken_in(root: Path) -> None:
    logs = VariantLogs(root)
    logs.poll(state(("a", 0, "one"), ("b", 0, "")))
    assert logs.means("train/loss", epochs=False) == {"a": seed_mean([]), "b": seed_mean([])}
    log(root, "one", range(1, 4))
    now = state(("a", 0, "one"), ("a", 1, "two"), ("b", 0, ""))
    logs.poll(now)
    assert logs.means("train/loss", epochs=False)["a"].mean == (1.0, 2.0, 3.0)
    log(root, "one", range(4, 6))
    log(root, "two", range(1, 3), offset=2.0)
    logs.poll(now)
    mean = logs.means("train/loss", epochs=True)["a"]
    assert mean.x == pytest.approx((0.1, 0.2, 0.3, 0.4, 0.5))
    assert mean.mean == (2.0, 3.0, 3.0, 4.0, 5.0)
    assert mean.high == (3.0, 4.0, 3.0, 4.0, 5.0)
    assert logs.means("knn/top1", epochs=True)["a"].x == ()


def test_the_best_is_ahead_where_all_have_values() -> None:
    def mean(*values: float) -> SeedMean:
        return seed_mean([(range(len(values)), values)])

    means = {"short": mean(5.0, 4.0), "long": mean(5.0, 4.5, 1.0), "none": mean()}
    assert variantcurves.ahead(means, highest=False) == "short"
    assert variantcurves.ahead(means, highest=True) == "long"
    assert variantcurves.ahead({"none": mean()}, highest=True) == ""


def test_three_variants_or_as_many_as_can_be_told_apart_are_drawn() -> None:
    labels = [str(n) for n in range(10)]
    three = variantcurves.chosen(labels, "0", "7", "4", every=False, most=8)
    assert three == ["0", "4", "7"]
    every = variantcurves.chosen(labels, "0", "9", "8", every=True, most=8)
    assert len(every) == 8
    assert {"0", "9", "8"} <= set(every)
