"""Comparisons of a study against plain loops, scipy and simulation."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
from scipy import stats

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.study.comparisons import (
    ABOVE_RANDOM,
    BELOW_RANDOM,
    BETTER,
    BETTER_THAN_REFERENCE,
    NO_SPREAD,
    UNDECIDED,
    WORSE,
    WORSE_THAN_REFERENCE,
    comparisons,
)
from engine.study.grid import Cell, cells
from engine.study.intervals import (
    rows,
)

from ..study_states import chosen, find, noisy, study, study_state


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


def test_a_scope_that_only_repeats_another_is_left_out() -> None:
    def scopes(**values: object) -> list[str]:
        config = study(baselines=(), **values)
        return [c.scope for c in comparisons(config, study_state(config, noisy()))]

    one = {"label_fractions": (0.1,), "tasks": ("ten",)}
    assert scopes(heads=("linear",)) == ["all", *["setting"] * 4]
    assert scopes(heads=("linear",), **one) == ["all"]
    assert scopes(**one) == ["all", "head", "head", "setting", "setting"]


# --------------------------------------------------------------------- variants of any setting


def momenta(**values: object) -> StudyConfig:
    small = {
        "seeds": (0, 1, 2, 3),
        "label_fractions": (0.1,),
        "tasks": ("ten",),
        "heads": ("linear", "logistic"),
        "subset_seeds": (0, 1),
        "axes": {"moco.momentum": [0.9, 0.99, 0.999]},
    }
    return build(StudyConfig, {**small, **values})


def student_p(differences: list[float]) -> float:
    """Two-sided p of the t test of a mean: the density integrated by Simpson's rule."""
    n = len(differences)
    middle = sum(differences) / n
    spread = math.sqrt(sum((d - middle) ** 2 for d in differences) / (n - 1))
    t, df = abs(middle) * math.sqrt(n) / spread, n - 1
    scale = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    steps = 20_000
    width = t / steps
    area = 0.0
    for i in range(steps + 1):
        weight = 1 if i in (0, steps) else 4 if i % 2 else 2
        area += weight * scale * (1 + (i * width) ** 2 / df) ** (-(df + 1) / 2)
    return 1.0 - 2.0 * area * width / 3


def holm_by_hand(values: list[float]) -> list[float]:
    """Each p times how many are not smaller, never below that of a smaller one."""
    return [
        min(1.0, max(q * sum(r >= q for r in values) for q in values if q <= p)) for p in values
    ]


def test_every_variant_is_paired_with_the_reference_and_corrected_over_its_family() -> None:
    config = momenta()
    rng = random.Random(12)
    gains = {"m 0.9": -3.0, "m 0.99": 0.0, "m 0.999": 2.0}
    shared = {seed: rng.gauss(0, 5) for seed in config.seeds}  # of a seed, in every variant
    now = study_state(
        config,
        lambda c: (
            50.0 + shared[c.seed or 0] + gains.get(c.variant or "", -20.0) + rng.gauss(0, 0.4)
        ),
    )
    made = comparisons(config, now)

    def seed_means(variant: str, heads: tuple[str, ...]) -> list[float]:
        return [
            sum(
                sum(
                    found.top1 or 0.0
                    for c, found in now.cells.items()
                    if (c.source, c.variant, c.seed, c.head) == ("moco", variant, seed, head)
                )
                / 2  # subsets
                for head in heads
            )
            / len(heads)
            for seed in config.seeds
        ]

    for scope, heads in (("all", config.heads), ("setting", ("linear",))):
        family = [c for c in made if c.scope == scope and c.reference and c.head in (None, *heads)]
        assert [(c.variant, c.reference) for c in family] == [
            ("m 0.9", "m 0.99"),
            ("m 0.999", "m 0.99"),
        ]
        ps = []
        for c in family:
            ours, theirs = seed_means(c.variant, heads), seed_means("m 0.99", heads)
            differences = [a - b for a, b in zip(ours, theirs, strict=True)]
            assert c.difference is not None
            assert c.difference.mean == pytest.approx(sum(differences) / 4)
            assert c.p == pytest.approx(student_p(differences), abs=1e-6)
            assert c.p is not None
            ps.append(c.p)
        if scope == "all":
            assert [c.p_adjusted for c in family] == pytest.approx(holm_by_hand(ps))
            assert {c.family for c in family} == {2}
    overall = chosen(made, scope="all", reference="m 0.99")
    assert [c.verdict for c in overall] == [WORSE_THAN_REFERENCE, BETTER_THAN_REFERENCE]
    assert [c.label for c in overall] == ["m 0.9 - m 0.99", "m 0.999 - m 0.99"]
    random_weights = chosen(made, reference=None)
    assert {c.verdict for c in random_weights} == {ABOVE_RANDOM}
    assert [c.family for c in random_weights] == [3, 3, 3]


def test_variants_of_several_architectures_have_random_weights_of_their_own() -> None:
    config = momenta(axes={"model.encoder": ["convnet", "resnet18"], "moco.momentum": [0.9, 0.99]})
    random_weights = {"encoder convnet": 40.0, "encoder resnet18": 30.0}
    rng = random.Random(2)
    now = study_state(
        config,
        lambda c: (
            (50.0 if c.source == "moco" else random_weights.get(c.variant or "", 0.0))
            + rng.gauss(0, 0.1)
        ),
    )
    found = chosen(comparisons(config, now), reference=None)
    assert len(found) == 4
    for c in found:
        assert c.difference is not None
        expected = 10.0 if c.variant.startswith("encoder convnet") else 20.0
        assert c.difference.mean == pytest.approx(expected, abs=0.5)


def test_one_number_a_variant_is_compared_like_any_other() -> None:
    config = momenta(judge="knn")
    rng = random.Random(3)
    now = study_state(config, lambda c: 60.0 - 4.0 * (c.variant == "m 0.9") + rng.gauss(0, 0.2))
    made = comparisons(config, now)
    assert [(c.scope, c.variant, c.verdict) for c in made] == [
        ("all", "m 0.9", WORSE_THAN_REFERENCE),
        ("all", "m 0.999", UNDECIDED),
    ]
