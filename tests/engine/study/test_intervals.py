"""Estimates and comparisons of a study against plain loops, scipy and simulation."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable
from statistics import fmean

import pytest
from scipy import stats

from engine.study.grid import Cell, StudyState, cells
from engine.study.intervals import (
    ABOVE_RANDOM,
    BELOW_RANDOM,
    BETTER,
    NO_SPREAD,
    TOO_FEW,
    UNDECIDED,
    WORSE,
    Comparison,
    ResultRow,
    comparisons,
    curves,
    estimate,
    majority,
    rows,
)

from ..study_states import MAJORITY, study, study_state


def noisy(seed: int = 0, gain: float = 0.0, spread: float = 0.5) -> Callable[[Cell], float]:
    """Values with an effect of each pretraining, noise of each cell, and a gain of K 64."""
    rng = random.Random(seed)
    base = {"moco": 60.0, "random-init": 45.0, "pixels": 35.0, "supervised": 70.0}
    effects: dict[object, float] = {}

    def value(cell: Cell) -> float:
        key = (cell.source, cell.queue_size, cell.seed)
        if key not in effects:
            effects[key] = rng.gauss(0.0, spread)
        more = gain if cell.queue_size == 64 else 0.0
        return base[cell.source] + 10 * cell.fraction + effects[key] + more + rng.gauss(0, 0.2)

    return value


def find(made: tuple[ResultRow, ...], **wanted: object) -> ResultRow:
    found = [r for r in made if all(getattr(r, k) == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def chosen(made: tuple[Comparison, ...], **wanted: object) -> list[Comparison]:
    return [c for c in made if all(getattr(c, k) == v for k, v in wanted.items())]


def values_of(now: StudyState, **wanted: object) -> dict[tuple[int | None, int], float]:
    """Top-1 by seed and subset seed, straight from the cells."""
    return {
        (cell.seed, cell.subset_seed): found.top1
        for cell, found in now.cells.items()
        if found.top1 is not None and all(getattr(cell, k) == v for k, v in wanted.items())
    }


# --------------------------------------------------------------------------------------------
# Estimates


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


# --------------------------------------------------------------------------------------------
# Comparisons


def test_comparisons_are_paired_t_tests_of_the_seed_means() -> None:
    config = study(seeds=(0, 1, 2, 3, 4))
    now = study_state(config, noisy(3, gain=0.8))
    made = comparisons(config, now)

    def seed_means(queue_size: int, settings: list[tuple[str, float, str]]) -> list[float]:
        return [
            fmean(
                fmean(
                    [
                        found.top1 or 0.0
                        for cell, found in now.cells.items()
                        if (cell.source, cell.queue_size, cell.seed) == ("moco", queue_size, seed)
                        and (cell.task, cell.fraction, cell.head) == setting
                    ]
                )
                for setting in settings
            )
            for seed in config.seeds
        ]

    everything = [(t, f, h) for t in config.tasks for f in (0.1, 0.5) for h in config.heads]
    checked = 0
    for c in chosen(made, against=16):
        settings = [
            s
            for s in everything
            if c.scope == "all"
            or (c.scope == "head" and s[2] == c.head)
            or s == (c.task, c.fraction, c.head)
        ]
        small, large = seed_means(16, settings), seed_means(64, settings)
        test = stats.ttest_rel(large, small)
        low, high = test.confidence_interval(0.95)
        assert c.difference is not None
        assert (c.difference.mean, c.difference.low, c.difference.high) == pytest.approx(
            (fmean(large) - fmean(small), low, high)
        )
        assert c.p == pytest.approx(test.pvalue)
        assert (c.settings, c.complete, c.seeds) == (len(settings), 5, 5)
        checked += 1
    assert checked == 1 + 2 + 8


def test_pairing_takes_out_what_both_sizes_share() -> None:
    """Seeds far apart, and a gain of one point that every seed has: found, and only in pairs."""
    config = study()
    rng = random.Random(1)
    now = study_state(
        config,
        lambda c: 30.0 + 10 * (c.seed or 0) + (c.queue_size == 64) * 1.0 + rng.gauss(0, 0.01),
    )
    overall = chosen(comparisons(config, now), scope="all", against=16)[0]
    assert overall.verdict == BETTER
    first, second = (
        find(
            rows(config, now), source="moco", queue_size=k, task="ten", fraction=0.1, head="linear"
        )
        for k in (16, 64)
    )
    assert first.estimate is not None
    assert second.estimate is not None
    assert first.estimate.high is not None
    assert second.estimate.mean < first.estimate.high  # the unpaired intervals overlap widely


def test_only_seeds_that_are_complete_on_both_sides_are_compared() -> None:
    config = study(seeds=(0, 1, 2, 3, 4))

    def state(cell: Cell) -> str:
        hole = (cell.queue_size, cell.seed, cell.subset_seed, cell.task, cell.fraction)
        return "missing" if hole == (64, 1, 0, "ten", 0.5) else "done"

    now = study_state(config, noisy(), state)  # type: ignore[arg-type]
    made = comparisons(config, now)
    for c in chosen(made, against=16):
        holed = c.scope != "setting" or (c.task, c.fraction) == ("ten", 0.5)
        assert (c.complete, c.seeds) == (4 if holed else 5, 5)


@pytest.mark.parametrize(("gain", "verdict"), [(3.0, BETTER), (-3.0, WORSE), (0.0, UNDECIDED)])
def test_the_overall_verdict_finds_a_large_gain_either_way(gain: float, verdict: str) -> None:
    config = study(seeds=(0, 1, 2, 3, 4))
    now = study_state(config, noisy(7, gain=gain, spread=0.3))
    overall = chosen(comparisons(config, now), scope="all", against=16)
    assert [c.verdict for c in overall] == [verdict]
    assert {c.verdict for c in chosen(comparisons(config, now), against=None)} == {ABOVE_RANDOM}


def test_random_weights_may_be_better() -> None:
    config = study()
    rng = random.Random(4)
    now = study_state(config, lambda c: (50.0 if c.source == "moco" else 55.0) + rng.gauss(0, 0.3))
    assert {c.verdict for c in chosen(comparisons(config, now), against=None)} == {BELOW_RANDOM}
    without = study(baselines=("pixels",))
    assert chosen(comparisons(without, study_state(without, noisy())), against=None) == []


def test_every_larger_size_is_compared_with_the_smallest_and_the_families_grow() -> None:
    config = study(queue_sizes=(64, 16, 256))
    made = comparisons(config, study_state(config, noisy()))
    pairs = {(c.queue_size, c.against) for c in made if c.against is not None}
    assert pairs == {(64, 16), (256, 16)}
    families = {(c.scope, c.against is None): c.family for c in made}
    assert families == {
        ("all", False): 2,
        ("head", False): 4,
        ("setting", False): 16,
        ("all", True): 3,
    }


def test_an_unfinished_study_is_corrected_for_all_that_it_plans() -> None:
    config = study()
    now = study_state(config, noisy(), lambda c: "done" if c.head == "linear" else "missing")
    made = chosen(comparisons(config, now), scope="setting", against=16)
    tested = sorted((c for c in made if c.p is not None), key=lambda c: c.p or 0.0)
    assert len(tested) == 4
    assert {c.family for c in made} == {8}
    assert tested[0].p is not None
    assert tested[0].p_adjusted == pytest.approx(min(1.0, 8 * tested[0].p))


def test_one_queue_size_has_nothing_to_be_compared_with() -> None:
    config = study(queue_sizes=(16,), baselines=())
    assert comparisons(config, study_state(config, noisy())) == ()


def test_equal_differences_are_no_proof() -> None:
    config = study()
    same = comparisons(config, study_state(config, lambda c: 50.0))
    assert {(c.verdict, c.p) for c in chosen(same, against=16)} == {(UNDECIDED, 1.0)}
    shifted = study_state(config, lambda c: 50.1 if c.queue_size == 64 else 50.0)
    made = chosen(comparisons(config, shifted), against=16)
    assert {(c.verdict, c.p) for c in made} == {(NO_SPREAD, None)}


def test_false_verdicts_stay_as_rare_as_promised() -> None:
    """With no difference at all, any false verdict in a family of settings: at most 5 %."""
    config = study(seeds=(0, 1, 2), subset_seeds=(0,), baselines=(), supervised_subsets=1)
    grid = cells(config)
    rng = random.Random(8)
    trials = 600
    wrong, one_alone = 0, 0
    for _ in range(trials):
        drawn = {cell: rng.gauss(50, 2) for cell in grid}
        made = comparisons(config, study_state(config, drawn.__getitem__))
        singles = chosen(made, scope="setting")
        assert len(singles) == 8
        wrong += any(c.verdict in (BETTER, WORSE) for c in singles)
        one_alone += any((c.p or 0.0) < 0.05 for c in singles)
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert wrong / trials < limit
    assert one_alone / trials > 0.2  # without the correction it would be one family in three


def test_nothing_here_needs_numpy_or_torch() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'numpy', 'scipy'])); "
        "from engine.study import formats, intervals, report, table"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_scope_that_only_repeats_another_is_left_out() -> None:
    def scopes(**values: object) -> list[str]:
        config = study(baselines=(), **values)
        return [c.scope for c in comparisons(config, study_state(config, noisy()))]

    one = {"label_fractions": (0.1,), "tasks": ("ten",)}
    assert scopes(heads=("linear",)) == ["all", *["setting"] * 4]
    assert scopes(heads=("linear",), **one) == ["all"]
    assert scopes(**one) == ["all", "head", "head", "setting", "setting"]
