"""The report of a study in words: the answer to its question, beside its protocol.

Every sentence follows from the numbers, and says no more than they support.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from engine.config.baselines import BASELINES
from engine.config.heads import trains_encoder
from engine.config.phrases import listed
from engine.config.schema import StudyConfig
from engine.study.comparisons import (
    ABOVE_RANDOM,
    BELOW_RANDOM,
    BETTER,
    BETTER_THAN_REFERENCE,
    NO_SPREAD,
    TOO_FEW,
    UNDECIDED,
    WORSE,
    WORSE_THAN_REFERENCE,
    Comparison,
    comparisons,
)
from engine.study.from_scratch import (
    Crossing,
    Pair,
    crossing_sentences,
    crossings,
    pairs,
    scratch_comparisons,
)
from engine.study.from_scratch import applies as compares_with_scratch
from engine.study.grid import reference, settings, varies_queue_alone
from engine.study.intervals import (
    LEAST_SEEDS,
    Estimate,
    LabelCurve,
    ResultRow,
    curves,
    heads,
    majority,
    rows,
)
from engine.study.protocol import count_words, protocol
from engine.study.study_state import StudyState

_MOST_NAMED = 6  # variants in a sentence


class Report(Struct, frozen=True):
    """Everything that a study reports, made from its configuration and state alone.

    Attributes:
        config, study_state: what it is made from.
        rows: see ``intervals.rows``.
        majority: see ``intervals.majority``.
        comparisons: see ``comparisons.comparisons``.
        curves: see ``intervals.curves``.
        crossings: see ``from_scratch.crossings``.
        answer: the sentences that answer the study's question, one each.
        protocol: how the numbers came about and what the intervals are over, one sentence each.
        pairs: see ``from_scratch.pairs``.
    """

    config: StudyConfig
    study_state: StudyState
    rows: tuple[ResultRow, ...]
    majority: dict[str, float]
    comparisons: tuple[Comparison, ...]
    curves: tuple[LabelCurve, ...]
    answer: tuple[str, ...]
    protocol: tuple[str, ...]
    crossings: tuple[Crossing, ...] = ()
    pairs: tuple[Pair, ...] = ()


def report(config: StudyConfig, study_state: StudyState) -> Report:
    """The whole report of a study as it stands now."""
    result_rows = rows(config, study_state)
    compared = comparisons(config, study_state)
    crossed = crossings(config, study_state)
    return Report(
        config=config,
        study_state=study_state,
        rows=result_rows,
        majority=majority(study_state),
        comparisons=(*compared, *scratch_comparisons(config, study_state)),
        curves=curves(result_rows),
        answer=(
            *answer(config, study_state, result_rows, compared),
            *crossing_sentences(crossed, reference_setting(config)[0]),
        ),
        crossings=crossed,
        pairs=pairs(config, study_state),
        protocol=protocol(config),
    )


# --------------------------------------------------------------------------------------------
# The answer


def answer(
    config: StudyConfig,
    study_state: StudyState,
    result_rows: Sequence[ResultRow],
    compared: Sequence[Comparison],
) -> tuple[str, ...]:
    """Whether the variants differ from the reference, and how good few labels are.

    Args:
        config: the study.
        study_state: how far it is.
        result_rows: its ``intervals.rows``.
        compared: its ``comparisons.comparisons``.
    """
    sentences: list[str] = []
    done = sum(found.state == "done" for found in study_state.cells.values())
    if done < len(study_state.cells):
        sentences.append(
            f"The study is not complete ({done:,} of {len(study_state.cells):,} cells): what "
            "follows is what the complete seeds say so far, and may change."
            if done
            else f"Nothing is measured yet (0 of {len(study_state.cells):,} cells)."
        )
    if not done:
        return tuple(sentences)
    # The mean over all settings was decided on beforehand as the answer; single settings only
    # support it.
    overall = [c for c in compared if c.scope == "all" and c.reference is not None]
    queues = varies_queue_alone(config)
    if not overall and not compares_with_scratch(config):
        sentences.append(
            "One queue size alone says nothing about larger dictionaries."
            if queues
            else "One variant alone has nothing to be compared with."
        )
    open_ones = [] if queues else [c for c in overall if c.difference is None]
    for comparison in overall:
        if comparison in open_ones:
            continue
        sentences.append(
            _dictionary_sentence(comparison) if queues else _variant_sentence(config, comparison)
        )
        # Comparisons without a verdict are not counted among those "in which no difference is
        # detected".
        singles = [
            c
            for c in compared
            if c.scope == "setting" and c.variant == comparison.variant and c.p is not None
        ]
        if len(singles) > 1:
            sentences.append(_settings_sentence(comparison, singles, queues=queues))
    sentences += _open_sentences(open_ones)
    sentences += _label_sentences(config, result_rows)
    sentences += [
        _random_weights_sentence(c, queues=queues)
        for c in compared
        if c.reference is None and c.difference
    ]
    return tuple(sentences)


def signed(points: float) -> str:
    """A difference in points with its sign: ``+0.4``."""
    text = f"{points:+.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text  # rounded to zero: no sign, no direction


def span(estimate: Estimate) -> str:
    """The uncertainty in words, for an accuracy; empty for a single value."""
    if estimate.low is None or estimate.high is None:
        return ""
    seeds = f"{estimate.seeds} {estimate.over}"
    if estimate.kind == "interval":
        return f"95 % interval {estimate.low:.1f} to {estimate.high:.1f}, {seeds}"
    return f"from {estimate.low:.1f} to {estimate.high:.1f} over {seeds}"


def _difference_span(estimate: Estimate) -> str:
    """The uncertainty in words, for a difference: with signs."""
    if estimate.low is None or estimate.high is None:
        return "one pretraining seed"
    text = f"{signed(estimate.low)} to {signed(estimate.high)}, {estimate.seeds} pretraining seeds"
    return f"95 % interval {text}" if estimate.kind == "interval" else f"from {text}"


def _settings(comparison: Comparison) -> str:
    if comparison.settings == 1:
        return "in the one setting"
    return f"on average over the {comparison.settings} settings of task, label fraction and head"


def _dictionary_sentence(comparison: Comparison) -> str:
    larger, smaller = f"{comparison.queue_size:,}", f"{comparison.against or 0:,}"
    difference = comparison.difference
    if difference is None:
        return (
            f"No seed is complete for both {smaller} and {larger} keys, so there is nothing to "
            "say yet about the larger dictionary."
        )
    fact = (
        f"With {larger} keys in place of {smaller} the top-1 accuracy differs by "
        f"{signed(difference.mean)} points {_settings(comparison)} "
        f"({_difference_span(difference)})"
    )
    if comparison.verdict == BETTER:
        return f"{fact}: the larger dictionary is better in this study."
    if comparison.verdict == WORSE:
        return f"{fact}: the larger dictionary is worse in this study."
    if comparison.verdict == UNDECIDED:
        return (
            f"{fact}: no difference detected, which does not show that there is none; the "
            "interval says which differences the data leave open."
        )
    if comparison.verdict == NO_SPREAD:
        return f"{fact}: the same in every seed, which leaves nothing to test by; no verdict."
    return f"{fact}: fewer than {count_words(LEAST_SEEDS)} pretraining seeds give no verdict."


def _open_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """One sentence about all variants of which nothing can be said yet, or none."""
    if not comparisons:
        return []
    names = ", ".join(c.variant for c in comparisons)
    reference = comparisons[0].reference
    return [f"No seed is complete yet for the reference ({reference}) together with: {names}."]


def _variant_sentence(config: StudyConfig, comparison: Comparison) -> str:
    what, other = comparison.variant, comparison.reference
    difference = comparison.difference
    assert difference is not None  # _open_sentences
    where = "by kNN" if config.judge == "knn" else _settings(comparison)
    fact = (
        f"{what} against {other}: the top-1 accuracy differs by {signed(difference.mean)} points "
        f"{where} ({_difference_span(difference)})"
    )
    return fact + {
        BETTER_THAN_REFERENCE: ": better than the reference in this study.",
        WORSE_THAN_REFERENCE: ": worse than the reference in this study.",
        UNDECIDED: ": no difference detected, which does not show that there is none; the "
        "interval says which differences the data leave open.",
        NO_SPREAD: ": the same in every seed, which leaves nothing to test by; no verdict.",
    }.get(
        comparison.verdict,
        f": fewer than {count_words(LEAST_SEEDS)} pretraining seeds give no verdict.",
    )


def _settings_sentence(
    comparison: Comparison, singles: Sequence[Comparison], *, queues: bool
) -> str:
    better = sum(c.is_better for c in singles)
    worse = sum(c.is_worse for c in singles)
    verb = "is" if better == 1 else "are"
    undecided = f"{worse} worse, and in {len(singles) - better - worse} no difference is detected."
    family = f"(Holm's correction over {singles[0].family} comparisons)"
    if not queues:
        return (
            f"{comparison.variant}, setting by setting {family}: {better} of {len(singles)} "
            f"{verb} better, {undecided}"
        )
    return (
        f"Taken one by one {family}, {better} of {len(singles)} settings {verb} better with "
        f"{comparison.queue_size:,} keys, {undecided}"
    )


def reference_setting(config: StudyConfig) -> tuple[str, str]:
    """Task and head of the sentences about few labels: ``ten`` and ``logistic``.

    Where the study has not got them, its last task and its last head.
    """
    tasks = list(dict.fromkeys(task for task, _, _ in settings(config)))
    known = heads(config)
    task = "ten" if "ten" in tasks else tasks[-1]
    return task, "logistic" if "logistic" in known else known[-1]


def _label_sentences(config: StudyConfig, result_rows: Sequence[ResultRow]) -> list[str]:
    """How good the smallest and the largest share of the labels are, beside the baselines."""
    if config.judge == "knn":
        return []
    task, head = reference_setting(config)
    tuned = trains_encoder(head)
    what = "the fine-tuned encoder reaches" if tuned else "the frozen features reach"
    sentences = []
    # A set: a study of one fraction has one sentence.
    for fraction in sorted({min(config.label_fractions), max(config.label_fractions)}):
        # Complete seeds only: a provisional mean is nothing to put into a sentence.
        known = [
            row
            for row in result_rows
            if row.task == task
            and row.fraction == fraction
            and row.head in (head, "")  # "" is the head of the supervised baseline
            and row.estimate
        ]
        encoders = _encoders(config, [row for row in known if row.source == "moco"])
        if not encoders:
            continue
        beside = [
            f"{baseline.subject}{f' ({row.variant})' if row.variant else ''} {_figure(row)}"
            for baseline in BASELINES.values()
            for row in known
            if row.source == baseline.name
        ]
        sentences.append(
            f"With {100 * fraction:g} % of the labels (task {task}, {head} head) {what} "
            f"a top-1 accuracy of {encoders}" + (f"; {listed(beside)}." if beside else ".")
        )
    return sentences


def _encoders(config: StudyConfig, known: Sequence[ResultRow]) -> str:
    """The accuracies of the variants; of many the reference, the lowest and the highest."""
    if varies_queue_alone(config):
        return listed([f"{_figure(row)} with {row.queue_size:,} keys" for row in known])
    notes: dict[str, str] = {row.label: "" for row in known}
    if len(known) > _MOST_NAMED:
        by_mean = sorted(known, key=lambda row: row.estimate.mean if row.estimate else 0.0)
        notes = {
            by_mean[-1].label: " (the highest)",
            by_mean[0].label: " (the lowest)",
            reference(config).label: " (the reference)",
        }
    return listed(
        [f"{_figure(row)} for {row.label}{notes[row.label]}" for row in known if row.label in notes]
    )


def _figure(row: ResultRow) -> str:
    estimate = row.estimate
    assert estimate is not None  # the caller leaves the others out
    text = span(estimate)
    if estimate.kind == "single":
        text = f"one {estimate.over[:-1]}"  # without the plural's s
    lacks = f", {row.shortfall}" if row.shortfall else ""
    return f"{estimate.mean:.1f} % ({text}{lacks})"


def _random_weights_sentence(comparison: Comparison, *, queues: bool) -> str:
    difference = comparison.difference
    assert difference is not None  # ``answer`` leaves the others out
    if queues:
        fact = (
            f"With {comparison.queue_size:,} keys the features score {signed(difference.mean)} "
            f"points against those of random weights"
        )
    else:
        fact = (
            f"{comparison.variant} against random weights: the features score "
            f"{signed(difference.mean)} points"
        )
    fact += f" {_settings(comparison)} ({_difference_span(difference)})"
    return fact + {
        ABOVE_RANDOM: ": better.",
        BELOW_RANDOM: ": worse.",
        UNDECIDED: ": no difference detected.",
        TOO_FEW: f": fewer than {count_words(LEAST_SEEDS)} pretraining seeds give no verdict.",
    }.get(comparison.verdict, ": no verdict.")
