"""Encoders against training from scratch: pairing, intervals, and the share where they cross."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from statistics import fmean

import pytest
from scipy import stats

from engine.config.resolve import build, resolve
from engine.config.schema import StudyConfig
from engine.study.comparisons import ABOVE_SCRATCH, BELOW_SCRATCH, TOO_FEW
from engine.study.formats import facts, to_csv, to_markdown
from engine.study.from_scratch import crossing_of, crossings, scratch_comparisons
from engine.study.grid import Cell
from engine.study.protocol import protocol
from engine.study.report import report
from engine.study.scratch_tables import CROSSINGS_TITLE
from moco_tui.cli.study_report import report_text

from ..study_states import noisy, study, study_state

SHARES = (0.01, 0.1, 1.0)


def few_labels(**values: object) -> StudyConfig:
    return study(
        **{
            "queue_sizes": (16,),
            "heads": ("logistic", "finetune"),
            "label_fractions": SHARES,
            "tasks": ("ten",),
            **values,
        }
    )


def falling(cell: Cell) -> float:
    """From scratch overtakes the probe between 1 and 10 %, and never the fine-tuned encoder."""
    if cell.source == "supervised":
        return {0.01: 30.0, 0.1: 54.0, 1.0: 80.0}[cell.fraction] + cell.subset_seed
    tuned = 15.0 if cell.head == "finetune" else 0.0
    at = {0.01: 40.0, 0.1: 50.0, 1.0: 66.0}[cell.fraction]
    return at + tuned + (cell.seed or 0) * 1.0 + cell.subset_seed


@pytest.mark.parametrize(
    ("points", "where", "share"),
    [
        ([(0.01, 2.0), (0.1, 1.0)], "at every share", None),
        ([(0.01, -2.0), (0.1, 0.0)], "at none", None),
        # A third of the way from 1 to 10 % along the logarithm: 10 ** (1 / 3) %.
        ([(0.01, 1.0), (0.1, -2.0)], "up to a share", 0.01 * 10 ** (1 / 3)),
        ([(0.01, 3.0), (0.1, 1.0), (0.4, -1.0)], "up to a share", 0.2),
        ([(0.01, 3.0), (0.1, 0.0)], "up to a share", 0.1),
        ([(0.01, -1.0), (0.1, 1.0)], "no single share", None),
        ([(0.01, 1.0), (0.1, -1.0), (0.4, 1.0)], "no single share", None),
        ([(0.5, 1.0)], "at every share", None),
    ],
)
def test_the_crossing_is_that_of_a_hand_calculation(
    points: list[tuple[float, float]], where: str, share: float | None
) -> None:
    got = crossing_of(points)
    assert got[0] == where
    assert got[1] == (None if share is None else pytest.approx(share, rel=1e-12))


def test_a_crossing_has_the_interval_of_the_seeds_in_the_logarithm() -> None:
    config = few_labels(seeds=(0, 1, 2))
    probe, tuned = crossings(config, study_state(config, falling))
    # The differences of seed s: 10 + s, -4 + s, -14 + s; the subset seed cancels.
    logs = [math.log(0.01) + math.log(10) * (10 + s) / 14 for s in (0, 1, 2)]
    half = stats.t.ppf(0.975, 2) * stats.sem(logs)
    assert (probe.head, probe.where, probe.kind, probe.crossed) == (
        "logistic", "up to a share", "interval", 3,
    )  # fmt: skip
    assert probe.share == pytest.approx(math.exp(fmean(logs)))
    assert probe.low == pytest.approx(math.exp(fmean(logs) - half))
    assert probe.high == pytest.approx(math.exp(fmean(logs) + half))
    assert "K 16 with the logistic head (task ten) beats training from scratch" in probe.sentence()
    assert "95 % interval" in probe.sentence()
    assert "3 pretraining seeds" in probe.sentence()
    # 66 + 15 - 80 > 0
    assert (tuned.head, tuned.where, tuned.share) == ("finetune", "at every share", None)
    assert tuned.sentence().endswith("at every share that is measured (1 % to 100 %).")


def test_where_a_seed_does_not_cross_the_means_do_and_the_sentence_says_so() -> None:
    config = few_labels(seeds=(0, 1, 2, 20))  # 10 + 20, -4 + 20, -14 + 20: better everywhere
    probe = crossings(config, study_state(config, falling))[0]
    middle = fmean((0, 1, 2, 20))
    share = 0.1 * 10 ** ((-4 + middle) / ((-4 + middle) - (-14 + middle)))
    assert probe.share == pytest.approx(share)
    assert (probe.low, probe.crossed, probe.seeds) == (None, 3, 4)
    assert "3 of 4 seeds cross" in probe.sentence()


def test_a_mean_that_is_better_everywhere_does_not_hide_seeds_that_are_not() -> None:
    config = few_labels(seeds=(0, 1, 60))  # the mean of 10 + s, -4 + s and -14 + s is above 0
    probe = crossings(config, study_state(config, falling))[0]
    assert (probe.where, probe.crossed, probe.seeds) == ("at every share", 2, 3)
    assert probe.sentence().endswith(
        "at every share that is measured (1 % to 100 %) by the mean, but 2 of 3 seeds up to a "
        "share between them."
    )


def test_differences_are_paired_by_subset_seed_within_a_pretraining_seed() -> None:
    config = few_labels(seeds=(0, 1, 2), subset_seeds=(0, 1, 2), supervised_subsets=2)
    now = study_state(config, noisy(5))
    made = scratch_comparisons(config, now)
    assert [(c.head, c.fraction) for c in made] == [
        (head, share) for head in config.heads for share in SHARES
    ]
    at = {
        (c.source, c.seed, c.fraction, c.head, c.subset_seed): found.top1 or 0.0
        for c, found in now.cells.items()
    }
    ps: list[float] = []
    for c in made:
        assert c.fraction is not None
        assert c.head is not None
        # Subset 2 has no training from scratch.
        expected = [
            fmean(
                at["moco", seed, c.fraction, c.head, subset]
                - at["supervised", None, c.fraction, "", subset]
                for subset in (0, 1)
            )
            for seed in config.seeds
        ]
        assert c.difference is not None
        assert c.difference.mean == pytest.approx(fmean(expected))
        low, high = stats.t.interval(0.95, 2, fmean(expected), stats.sem(expected))
        assert (c.difference.low, c.difference.high) == pytest.approx((low, high))
        assert c.p == pytest.approx(stats.ttest_1samp(expected, 0.0).pvalue)
        assert (c.label, c.family) == ("K 16 - supervised", 6)
        assert c.p is not None
        ps.append(c.p)
    smallest = min(made, key=lambda c: c.p or 1.0)
    assert smallest.p_adjusted == pytest.approx(min(1.0, 6 * min(ps)))
    assert {c.verdict for c in made} == {BELOW_SCRATCH}
    assert all(c.is_worse for c in made)


def test_a_seed_whose_subsets_are_not_all_done_is_left_out() -> None:
    config = few_labels(seeds=(0, 1, 2))

    def state(cell: Cell) -> str:
        late = (cell.source, cell.seed, cell.subset_seed) == ("moco", 1, 1)
        return "missing" if late and cell.fraction == 0.1 else "done"

    now = study_state(config, falling, state)  # type: ignore[arg-type]
    by_share = {c.fraction: c for c in scratch_comparisons(config, now) if c.head == "logistic"}
    assert [by_share[share].complete for share in SHARES] == [3, 2, 3]
    assert by_share[0.1].verdict == TOO_FEW
    assert crossings(config, now)[0].seeds == 2


def test_the_report_and_its_exports_have_differences_crossings_and_protocol() -> None:
    config = few_labels(seeds=(0, 1, 2, 3))
    made = report(config, study_state(config, falling))
    assert any("beats training from scratch on the same labels up to" in s for s in made.answer)
    assert not any("says nothing about larger dictionaries" in s for s in made.answer)
    assert any("Finetune head" in s and "stays frozen" in s for s in made.protocol)
    assert any(s.startswith("Fine-tuning takes 200 epochs, batch 128") for s in made.protocol)
    assert any(s.startswith("Against training from scratch") for s in made.protocol)
    scratch = [c for c in made.comparisons if c.scope == "scratch"]
    assert {c.verdict for c in scratch if c.fraction == 0.01} == {ABOVE_SCRATCH}
    lines = to_csv(made, "comparisons").splitlines()
    assert sum(line.startswith("scratch,16,supervised,ten,") for line in lines) == 6
    assert "### Against training from scratch" in to_markdown(made)
    document = json.loads(json.dumps(facts(made)))
    assert [found["where"] for found in document["crossings"]] == [
        "up to a share", "at every share",
    ]  # fmt: skip


def test_a_study_of_frozen_heads_names_its_shares_as_well() -> None:
    """The study of no preset: linear and logistic heads, beside a training from scratch."""
    config = few_labels(seeds=(0, 1, 2), heads=StudyConfig().heads, tasks=StudyConfig().tasks)
    assert config.baselines == StudyConfig().baselines
    made = report(config, study_state(config, falling))
    assert [(c.task, c.head, c.where) for c in made.crossings] == [
        (task, head, "up to a share") for task in config.tasks for head in config.heads
    ]
    assert len([c for c in made.comparisons if c.scope == "scratch"]) == 3 * 2 * 3
    said = [s for s in made.answer if "beats training from scratch on the same labels up to" in s]
    assert ["task ten" in s for s in said] == [True, True]
    assert made.answer[-1] == "The table of crossings with training from scratch has 4 more."
    (sentence,) = (s for s in made.protocol if s.startswith("Against training from scratch"))
    assert "A head on frozen features is compared with a net whose layers are all" in sentence
    assert "between measured shares along the logarithm" in sentence


def test_many_crossings_are_a_dozen_sentences_and_a_table() -> None:
    config = few_labels(queue_sizes=tuple(range(16, 46)), heads=("logistic",), seeds=(0, 1))
    made = report(config, study_state(config, falling))
    assert len(made.crossings) == 30
    assert sum("beats training from scratch" in s for s in made.answer) == 12
    assert made.answer[-1] == "The table of crossings with training from scratch has 18 more."


def test_of_one_share_there_are_differences_and_no_crossing() -> None:
    config = few_labels(label_fractions=(0.1,), heads=("logistic",), subset_seeds=(0, 1, 2))
    now = study_state(config, falling)
    assert not crossings(config, now)
    (made,) = scratch_comparisons(config, now)
    assert made.difference is not None
    assert made.difference.mean == pytest.approx(fmean(-4 + seed for seed in config.seeds))
    (sentence,) = (s for s in protocol(config) if s.startswith("Against training from scratch"))
    assert "logarithm" not in sentence
    # Two of three subsets are trained from scratch.
    assert "Paired are the subsets that it is trained on, subset seeds 0 and 1." in sentence
    assert "crossings" not in facts(report(config, now))


def test_the_table_of_crossings_is_in_the_text_the_markdown_and_the_csv() -> None:
    config = few_labels(seeds=(0, 1, 2))
    made = report(config, study_state(config, falling))
    probe = made.crossings[0]
    assert probe.share is not None
    assert probe.low is not None
    assert probe.high is not None
    share, low, high = (f"{100 * value:.3g} %" for value in (probe.share, probe.low, probe.high))
    text = report_text(made, width=None)
    assert CROSSINGS_TITLE in text
    assert re.search(rf"K 16 +ten +logistic +up to {share} +\({low} to {high}\) +3/3", text)
    assert re.search(r"K 16 +ten +finetune +at every share +- +0/3", text)
    assert f"| K 16 | ten | logistic | up to {share} | ({low} to {high}) | 3/3 |" in to_markdown(
        made
    )
    narrow = report_text(made, width=40)
    assert all(len(line) <= 40 for line in narrow.partition(CROSSINGS_TITLE)[2].splitlines())
    rows = list(csv.DictReader(io.StringIO(to_csv(made, "crossings"))))
    assert [(row["where"], row["crossed"], row["seeds"]) for row in rows] == [
        ("up to a share", "3", "3"), ("at every share", "0", "3"),
    ]  # fmt: skip
    assert float(rows[0]["share"]) == probe.share
    assert (float(rows[0]["low"]), float(rows[0]["high"])) == (probe.low, probe.high)
    assert (rows[1]["share"], rows[1]["low"]) == ("", "")
    assert (rows[0]["smallest_share"], rows[0]["largest_share"]) == ("0.01", "1.0")


def test_two_seeds_have_a_range_in_square_brackets() -> None:
    config = few_labels(seeds=(0, 1))
    probe = crossings(config, study_state(config, falling))[0]
    ends = [100 * 0.01 * 10 ** ((10 + seed) / 14) for seed in (0, 1)]
    assert probe.span_text() == f"[{ends[0]:.3g} % to {ends[1]:.3g} %]"


def test_pairs_are_the_cells_of_both_sides_by_seed_and_subset() -> None:
    config = few_labels(seeds=(0, 1, 2), subset_seeds=(0, 1, 2), supervised_subsets=2)

    def state(cell: Cell) -> str:
        late = (cell.source, cell.seed, cell.subset_seed, cell.head, cell.fraction)
        return "missing" if late == ("moco", 1, 1, "finetune", 0.1) else "done"

    value = noisy(3)
    now = study_state(config, value, state)  # type: ignore[arg-type]
    rows = list(csv.DictReader(io.StringIO(to_csv(report(config, now), "pairs"))))
    at = {
        (c.source, c.seed, c.fraction, c.head, c.subset_seed): found.top1
        for c, found in now.cells.items()
    }
    wanted = []
    for head in config.heads:
        for share in SHARES:
            for seed in (0, 1, 2):
                for subset in (0, 1):  # subset 2 has no training from scratch
                    ours = at["moco", seed, share, head, subset]
                    theirs = at["supervised", None, share, "", subset]
                    if ours is not None:
                        assert theirs is not None
                        place = ("K 16", str(seed), str(subset), "ten", head, str(share))
                        wanted.append((*place, ours, theirs, ours - theirs))
    names = ("variant", "seed", "subset_seed", "task", "head", "label_fraction")
    numbers = ("top1", "from_scratch", "difference")
    got = [
        (*(row[name] for name in names), *(float(row[name]) for name in numbers)) for row in rows
    ]
    assert len(got) == 2 * 3 * 3 * 2 - 1
    assert sorted(got) == sorted(wanted)


@pytest.mark.parametrize("changes", [{"baselines": ("random-init",)}, {"judge": "knn"}])
def test_other_studies_stay_as_they_are(changes: dict[str, object]) -> None:
    config = few_labels(**changes)
    now = study_state(config, noisy())
    made = report(config, now)
    assert not crossings(config, now)
    assert not scratch_comparisons(config, now)
    assert not made.crossings
    assert not any("Against training from scratch" in s for s in protocol(config))
    assert "crossings" not in facts(made)
    assert CROSSINGS_TITLE not in report_text(made, width=None)
    assert [len(to_csv(made, part).splitlines()) for part in ("crossings", "pairs")] == [1, 1]


def test_the_preset_goes_down_to_a_thousandth_of_the_labels() -> None:
    config = resolve(StudyConfig, preset_name="study-few-labels")
    assert config.label_fractions == (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
    assert (config.heads, config.tasks) == (("logistic", "finetune"), ("ten",))
    # Every subset of an encoder has its training from scratch to be paired with.
    assert config.supervised_subsets == len(config.subset_seeds) == 3
    assert build(StudyConfig, {}).label_fractions == (0.1, 0.2, 0.3, 0.4, 0.5)
