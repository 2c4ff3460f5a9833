"""The report of a study in words: the answer to its question, and its protocol.

Every sentence follows from the numbers, and says no more than they support.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from engine.config.baselines import BASELINES
from engine.config.phrases import listed, numbers, plural
from engine.config.schema import PretrainConfig, StudyConfig, head_settings
from engine.study.comparisons import (
    ABOVE_RANDOM,
    BELOW_RANDOM,
    BETTER,
    NO_SPREAD,
    RANDOM,
    TOO_FEW,
    UNDECIDED,
    WORSE,
    Comparison,
    comparisons,
)
from engine.study.intervals import (
    LEAST_SEEDS,
    Estimate,
    LabelCurve,
    ResultRow,
    curves,
    majority,
    rows,
    source_label,
)
from engine.study.study_state import StudyState

# Small numbers in sentences are spelled out.
_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


class Report(Struct, frozen=True):
    """Everything that a study reports, made from its configuration and state alone.

    Attributes:
        config, study_state: what it is made from.
        rows: see ``intervals.rows``.
        majority: see ``intervals.majority``.
        comparisons: see ``comparisons.comparisons``.
        curves: see ``intervals.curves``.
        answer: the sentences that answer the study's question, one each.
        protocol: how the numbers came about and what the intervals are over, one sentence each.
    """

    config: StudyConfig
    study_state: StudyState
    rows: tuple[ResultRow, ...]
    majority: dict[str, float]
    comparisons: tuple[Comparison, ...]
    curves: tuple[LabelCurve, ...]
    answer: tuple[str, ...]
    protocol: tuple[str, ...]


def report(config: StudyConfig, study_state: StudyState) -> Report:
    """The whole report of a study as it stands now."""
    result_rows = rows(config, study_state)
    compared = comparisons(config, study_state)
    return Report(
        config=config,
        study_state=study_state,
        rows=result_rows,
        majority=majority(study_state),
        comparisons=compared,
        curves=curves(result_rows),
        answer=answer(config, study_state, result_rows, compared),
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
    """Whether a larger dictionary helps, and how good few labels are: one sentence each.

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
    overall = [c for c in compared if c.scope == "all" and c.against is not None]
    if not overall:
        sentences.append("One queue size alone says nothing about larger dictionaries.")
    for comparison in overall:
        sentences.append(_dictionary_sentence(comparison))
        # Comparisons without a verdict are not counted among those "in which no difference is
        # detected".
        singles = [
            c
            for c in compared
            if c.scope == "setting" and c.queue_size == comparison.queue_size and c.p is not None
        ]
        if len(singles) > 1:
            sentences.append(_settings_sentence(comparison, singles))
    sentences += _label_sentences(config, result_rows)
    sentences += [
        _random_weights_sentence(c) for c in compared if c.against is None and c.difference
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
    return f"{fact}: fewer than {_count(LEAST_SEEDS)} pretraining seeds give no verdict."


def _settings_sentence(comparison: Comparison, singles: Sequence[Comparison]) -> str:
    better = sum(c.verdict == BETTER for c in singles)
    worse = sum(c.verdict == WORSE for c in singles)
    return (
        f"Taken one by one (Holm's correction over {singles[0].family} comparisons), "
        f"{better} of {len(singles)} settings {'is' if better == 1 else 'are'} better with "
        f"{comparison.queue_size:,} keys, {worse} worse, and in {len(singles) - better - worse} no "
        "difference is detected."
    )


def _count(number: int) -> str:
    return _COUNTS.get(number, str(number))


def reference_setting(config: StudyConfig) -> tuple[str, str]:
    """Task and head of the sentences about few labels: ``ten`` and ``logistic``.

    Where the study has not got them, its last task and its last head.
    """
    task = "ten" if "ten" in config.tasks else config.tasks[-1]
    return task, "logistic" if "logistic" in config.heads else config.heads[-1]


def _label_sentences(config: StudyConfig, result_rows: Sequence[ResultRow]) -> list[str]:
    """How good the smallest and the largest share of the labels are, beside the baselines."""
    task, head = reference_setting(config)
    sentences = []
    # A set: a study of one fraction has one sentence.
    for fraction in sorted({min(config.label_fractions), max(config.label_fractions)}):
        beside_head = [  # "" is the head of the supervised baseline
            row
            for row in result_rows
            if row.task == task and row.fraction == fraction and row.head in (head, "")
        ]
        # Complete seeds only: a provisional mean is nothing to put into a sentence.
        known = {(row.source, row.queue_size): row for row in beside_head if row.estimate}
        encoders = [
            f"{_figure(row)} with {size:,} keys"
            for (source, size), row in known.items()
            if source == "moco" and size is not None
        ]
        if not encoders:
            continue
        beside = [
            f"{baseline.subject} {_figure(known[baseline.name, None])}"
            for baseline in BASELINES.values()
            if (baseline.name, None) in known
        ]
        sentences.append(
            f"With {100 * fraction:g} % of the labels (task {task}, {head} head) the frozen "
            f"features reach a top-1 accuracy of {listed(encoders)}"
            + (f"; {listed(beside)}." if beside else ".")
        )
    return sentences


def _figure(row: ResultRow) -> str:
    estimate = row.estimate
    assert estimate is not None  # the caller leaves the others out
    text = span(estimate)
    if estimate.kind == "single":
        text = f"one {estimate.over[:-1]}"  # without the plural's s
    lacks = f", {row.shortfall}" if row.shortfall else ""
    return f"{estimate.mean:.1f} % ({text}{lacks})"


def _random_weights_sentence(comparison: Comparison) -> str:
    difference = comparison.difference
    assert difference is not None  # ``answer`` leaves the others out
    fact = (
        f"With {comparison.queue_size:,} keys the features score {signed(difference.mean)} points "
        f"against those of random weights {_settings(comparison)} ({_difference_span(difference)})"
    )
    return fact + {
        ABOVE_RANDOM: ": better.",
        BELOW_RANDOM: ": worse.",
        UNDECIDED: ": no difference detected.",
        TOO_FEW: f": fewer than {_count(LEAST_SEEDS)} pretraining seeds give no verdict.",
    }.get(comparison.verdict, ": no verdict.")


# --------------------------------------------------------------------------------------------
# The protocol


def protocol(config: StudyConfig) -> tuple[str, ...]:
    """How the numbers come about and what the intervals are over, one sentence each.

    Made from the configuration, so that a study can be described before it is run.

    Args:
        config: the study.
    """
    return (
        _pretraining(config.pretrain, config),
        "Features: the frozen query encoder in eval mode, before the projection, standardised on "
        "the labelled images; last checkpoint, not the best.",
        *_heads(config),
        f"Labels: {_percents(config.label_fractions)} of the training labels, stratified and "
        f"nested, {_seeds('subset', config.subset_seeds)}; regularisation and learning rates "
        f"are chosen on {100 * config.probe.validation:g} % of the labelled images, never on test "
        "images, which are read once for each cell.",
        *_baselines(config),
        *_statistics(config),
    )


def _pretraining(pretrain: PretrainConfig, config: StudyConfig) -> str:
    optim, moco = pretrain.optim, pretrain.moco
    epochs = plural(optim.epochs, "epoch")
    if optim.stop_epoch and optim.stop_epoch < optim.epochs:
        epochs = f"{plural(optim.stop_epoch, 'epoch')} of a schedule of {optim.epochs:,}"
    images = f"{pretrain.data.limit:,} training images" if pretrain.data.limit else "all images"
    return (
        f"Pretraining: MoCo, {pretrain.model.encoder} with {pretrain.model.dim} dimensions, "
        f"queues of {numbers(config.queue_sizes)} keys, {_seeds('', config.seeds)}, "
        f"{epochs} of {images} of {pretrain.data.source}, batch {optim.batch_size}, "
        f"SGD with learning rate {optim.lr:g} ({optim.schedule}), temperature "
        f"{moco.temperature:g}, key momentum {moco.momentum:g}, "
        f"{'symmetric' if moco.symmetric else 'asymmetric'} loss; the queue sizes share "
        "everything else."
    )


def _heads(config: StudyConfig) -> list[str]:
    return [head_settings(config.probe, head).sentence() for head in config.heads]


def _baselines(config: StudyConfig) -> list[str]:
    subsets = config.subset_seeds[: config.supervised_subsets]
    texts = [
        BASELINES[name].protocol.format(
            budget=config.probe.supervised.budget_text(), subsets=_seeds("subset", subsets)
        )
        for name in config.baselines
    ]
    return [f"Baselines: {'; '.join(texts)}."] if texts else []


def _statistics(config: StudyConfig) -> list[str]:
    n = len(config.seeds)
    over = (
        f"Intervals: 95 %, Student's t over the {n} pretraining seeds"
        if n >= LEAST_SEEDS
        else f"Fewer than {_count(LEAST_SEEDS)} pretraining seeds: ranges (smallest to largest "
        "seed) and no verdict"
    )
    sentences = [
        f"{over}, subset seeds averaged within a seed first; a seed counts once all of its subset "
        "seeds are done. They say nothing about other test images or other data."
    ]
    single = [
        name
        for name, baseline in BASELINES.items()
        if name in config.baselines and not baseline.has_pretraining_seed
    ]
    if single:
        sentences.append(
            f"{' and '.join(single).capitalize()} {'have' if len(single) > 1 else 'has'} no "
            "pretraining seed: the range is over the subset seeds."
        )
    if len(config.queue_sizes) > 1:
        smallest = source_label("moco", min(config.queue_sizes))
        sentences.append(
            f"Comparison: every larger queue against {smallest}, paired by pretraining seed, with "
            "the same subsets; two-sided t test of the mean difference at 5 %, Holm's correction "
            "over each family (all settings; each head; each setting), as many as the study plans. "
            "The intervals themselves are not widened for the number of comparisons. Decided on "
            "beforehand: the comparison that answers the question is the mean over all settings."
        )
    if RANDOM in config.baselines:
        sentences.append(
            "Against random weights: every queue, paired by seed and tested likewise, mean over "
            "all settings, Holm's correction over the queues."
        )
    return sentences


def _seeds(kind: str, values: Sequence[int]) -> str:
    noun = "seed" if len(values) == 1 else "seeds"
    return f"{kind} {noun} {listed([str(value) for value in values])}".strip()


def _percents(fractions: Sequence[float]) -> str:
    return listed([f"{100 * fraction:g}" for fraction in sorted(fractions)]) + " %"
