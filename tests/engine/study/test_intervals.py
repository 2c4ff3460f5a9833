"""Estimates of a study against plain loops and scipy."""

from __future__ import annotations

import math
import subprocess
import sys
from statistics import fmean

import pytest
from scipy import stats

from engine.study.comparisons import (
    TOO_FEW,
    comparisons,
)
from engine.study.intervals import (
    curves,
    estimate,
    majority,
    rows,
)

from ...environment import with_packages
from ..study_states import MAJORITY, find, noisy, study, study_state, values_of


def test_every_row_is_the_mean_over_seeds_of_the_means_over_subsets() -> None:
    config = study()
    now = study_state(config, noisy())
    made = rows(config, now)
    assert len(made) == 2 * 2 * (2 * 4 + 1)  # tasks, fractions, heads; supervised has none
    for row in made:
        at = {k: getattr(row, k) for k in ("source", "queue_size", "task", "fraction", "head")}
        values = values_of(now, **at)
        if row.source in ("moco", "random-init"):
            by_seed = [fmean([values[seed, subset] for subset in (0, 1)]) for seed in range(4)]
            low, high = stats.t.interval(0.95, 3, loc=fmean(by_seed), scale=stats.sem(by_seed))
            expected = (fmean(by_seed), low, high, 4, "interval", "pretraining seeds")
        else:
            subsets = [values[None, subset] for subset in (0, 1)]
            expected = (fmean(subsets), min(subsets), max(subsets), 2, "range", "subset seeds")
        got = row.estimate
        assert got is not None
        assert (got.mean, got.low, got.high) == pytest.approx(expected[:3])
        assert (got.seeds, got.kind, got.over) == expected[3:]
        assert row.complete == row.seeds == expected[3]
        assert (row.done, row.state, row.provisional) == (row.cells, "done", None)


def test_subsets_of_one_encoder_are_no_repeats() -> None:
    """Ten agreeing subsets of two disagreeing encoders leave the disagreement as it is."""
    config = study(seeds=(0, 1, 2), subset_seeds=tuple(range(10)))
    now = study_state(config, lambda cell: 50.0 + 10.0 * (cell.seed or 0))
    got = find(
        rows(config, now), source="moco", queue_size=16, task="ten", fraction=0.1, head="linear"
    )
    assert got.estimate is not None
    half = stats.t.ppf(0.975, 2) * 10.0 / math.sqrt(3)
    assert (got.estimate.low, got.estimate.high) == pytest.approx((60 - half, 60 + half))


@pytest.mark.parametrize(
    ("seeds", "kind", "low", "high"),
    [((4,), "single", None, None), ((4, 6), "range", 44.0, 46.0)],
)
def test_few_pretraining_seeds_give_a_range_and_no_verdict(
    seeds: tuple[int, ...], kind: str, low: float | None, high: float | None
) -> None:
    config = study(seeds=seeds)
    now = study_state(config, lambda cell: 40.0 + (cell.seed or 0) + (cell.queue_size == 64))
    for row in rows(config, now):
        if row.source == "moco" and row.queue_size == 16:
            assert row.estimate is not None
            assert (row.estimate.kind, row.estimate.low, row.estimate.high) == (kind, low, high)
    made = comparisons(config, now)
    assert {c.verdict for c in made} == {TOO_FEW}
    assert {(c.p, c.p_adjusted) for c in made} == {(None, None)}
    assert {c.difference.mean for c in made if c.against == 16 and c.difference} == {1.0}


def test_three_seeds_are_an_interval_and_subset_seeds_never_are() -> None:
    three = estimate([1.0, 2.0, 3.0])
    assert three is not None
    assert three.kind == "interval"
    assert (three.low, three.high) == pytest.approx(stats.t.interval(0.95, 2, 2, 1 / math.sqrt(3)))
    subsets = estimate([1.0, 2.0, 3.0], over="subset seeds")
    assert subsets is not None
    assert (subsets.kind, subsets.low, subsets.high) == ("range", 1.0, 3.0)
    assert estimate([]) is None


def test_an_incomplete_seed_does_not_enter_and_is_counted() -> None:
    config = study()
    # of seed 1 one subset is missing, of seed 2 one is being computed
    now = study_state(
        config,
        lambda cell: 90.0 if cell.seed in (1, 2) else 50.0,
        lambda cell: (
            "missing"
            if cell.seed == 1 and cell.subset_seed == 1
            else "running"
            if cell.seed == 2 and cell.subset_seed == 0
            else "done"
        ),
    )
    for row in rows(config, now):
        if row.source in ("moco", "random-init"):
            assert row.estimate is not None
            assert (row.estimate.mean, row.estimate.seeds, row.estimate.kind) == (50.0, 2, "range")
            assert (row.complete, row.seeds, row.done, row.cells) == (2, 4, 6, 8)
            assert [seed for seed, _ in row.values] == [0, 3]
            assert row.state == "running"
            assert row.provisional is None


def test_values_of_incomplete_seeds_alone_are_provisional_and_never_an_interval() -> None:
    config = study(subset_seeds=(0, 1, 2))
    now = study_state(
        config,
        lambda cell: 50.0 + cell.seed if cell.seed is not None else 30.0,
        lambda cell: "done" if cell.subset_seed == 0 else "missing",
    )
    row = find(
        rows(config, now), source="moco", queue_size=16, task="ten", fraction=0.1, head="linear"
    )
    assert row.estimate is None
    assert row.provisional is not None
    assert (row.provisional.mean, row.provisional.kind) == (51.5, "range")
    assert (row.complete, row.done) == (0, 4)
    assert {c.difference for c in comparisons(config, now)} == {None}
    assert {c.verdict for c in comparisons(config, now)} == {TOO_FEW}


def test_what_is_no_number_is_not_done() -> None:
    config = study()
    now = study_state(config, lambda cell: math.nan if cell.seed == 0 else 50.0)
    for row in rows(config, now):
        if row.source == "moco":
            assert (row.complete, row.seeds) == (3, 4)


def test_nothing_done_has_no_numbers() -> None:
    config = study()
    now = study_state(config, lambda cell: 0.0, lambda cell: "waiting")
    made = rows(config, now)
    assert {(row.estimate, row.provisional, row.state) for row in made} == {(None, None, "waiting")}
    assert majority(now) == {}
    assert curves(made) == ()
    assert {c.difference for c in comparisons(config, now)} == {None}


def test_the_majority_share_is_that_of_each_task() -> None:
    config = study()
    now = study_state(config, noisy(), lambda c: "done" if c.task == "ten" else "missing")
    assert majority(now) == {"ten": MAJORITY["ten"]}


def test_curves_run_over_ascending_fractions_of_one_source() -> None:
    config = study(label_fractions=(0.5, 0.1, 0.2))
    now = study_state(config, lambda c: 10.0, lambda c: "missing" if c.fraction == 0.2 else "done")
    made = curves(rows(config, now))
    assert len({(c.label, c.task, c.head) for c in made}) == len(made) == 2 * (2 * 4 + 1)
    assert {tuple(f for f, _ in curve.points) for curve in made} == {(0.1, 0.5)}


def test_the_metric_can_be_the_balanced_accuracy() -> None:
    config = study()
    now = study_state(config, noisy())
    for top1, balanced in zip(rows(config, now), rows(config, now, "balanced"), strict=True):
        assert top1.estimate is not None
        assert balanced.estimate is not None
        assert balanced.estimate.mean == pytest.approx(top1.estimate.mean - 1.0)


def test_nothing_here_needs_numpy_or_torch() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'numpy', 'scipy'])); "
        "from engine.study import comparisons, formats, intervals, report, table"
    )
    subprocess.run([sys.executable, "-c", code], env=with_packages(), check=True)
