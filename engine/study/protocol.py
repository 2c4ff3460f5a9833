"""The protocol of a study: how its numbers come about and what its intervals are over."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.axis_labels import name_of
from engine.config.baselines import BASELINES
from engine.config.heads.finetune import FinetuneConfig
from engine.config.phrases import listed, numbers, plural
from engine.config.schema import PretrainConfig, StudyConfig, head_settings
from engine.config.variants import expand
from engine.study.comparisons import RANDOM
from engine.study.from_scratch import applies as compares_with_scratch
from engine.study.from_scratch import names_shares
from engine.study.grid import reference, source_label, variants, varies_queue_alone
from engine.study.intervals import LEAST_SEEDS, encoder_labels

# Small numbers in sentences are spelled out.
_COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
_MOST_NAMED = 16


def count_words(number: int) -> str:
    """A number in a sentence."""
    return _COUNTS.get(number, str(number))


def protocol(config: StudyConfig) -> tuple[str, ...]:
    """How the numbers come about and what the intervals are over, one sentence each.

    Made from the configuration, so that a study can be described before it is run.

    Args:
        config: the study.
    """
    if config.judge == "knn":
        return (
            _pretraining(config.pretrain, config),
            *_variants(config),
            _knn(config.pretrain),
            *_statistics(config),
        )
    return (
        _pretraining(config.pretrain, config),
        *_variants(config),
        "Features: the frozen query encoder in eval mode, before the projection, standardised on "
        "the labelled images; last checkpoint, not the best.",
        *_heads(config),
        f"Labels: {_percents(config.label_fractions)} of the training labels, stratified and "
        f"nested, {_seeds('subset', config.subset_seeds)}; regularisation and learning rates "
        f"are chosen on {100 * config.probe.validation:g} % of the labelled images, never on test "
        f"images, which are read once for each cell{_untuned(config.probe.tune_from)}.",
        *_baselines(config),
        *_statistics(config),
    )


def _untuned(least: int) -> str:
    """What is done with fewer labels a class; studies of earlier versions did not say it."""
    if least <= 2:
        return ""
    return (
        f"; under {least} labels a class nothing is held out, and every value is fixed, not tuned"
    )


def _pretraining(pretrain: PretrainConfig, config: StudyConfig) -> str:
    optim, moco = pretrain.optim, pretrain.moco
    epochs = plural(optim.epochs, "epoch")
    if optim.stop_epoch and optim.stop_epoch < optim.epochs:
        epochs = f"{plural(optim.stop_epoch, 'epoch')} of a schedule of {optim.epochs:,}"
    images = f"{pretrain.data.limit:,} training images" if pretrain.data.limit else "all images"
    if varies_queue_alone(config):
        queue = f"queues of {numbers(config.queue_sizes)} keys"
        shared = "the queue sizes share everything else"
    else:
        queue = f"a queue of {moco.queue_size:,} keys"
        shared = "the variants share all of this but what they change"
    rate: str = optim.schedule
    if optim.warmup_epochs:
        rate += f" behind a warm-up of {plural(optim.warmup_epochs, 'epoch')}"
    rises = "" if moco.momentum_schedule == "constant" else ", which rises to 1 along a cosine"
    return (
        f"Pretraining: MoCo, {pretrain.model.encoder} with {pretrain.model.dim} dimensions, "
        f"{queue}, {_seeds('', config.seeds)}, "
        f"{epochs} of {images} of {pretrain.data.source}, batch {optim.batch_size}, "
        f"SGD with learning rate {optim.lr:g} ({rate}), temperature "
        f"{moco.temperature:g}, key momentum {moco.momentum:g}{rises}, "
        f"{'symmetric' if moco.symmetric else 'asymmetric'} loss; {shared}."
    )


def _variants(config: StudyConfig) -> list[str]:
    """What the variants are, of a study that varies more than the queue size."""
    if varies_queue_alone(config):
        return []
    made, first = variants(config), reference(config)
    labels = encoder_labels(config)
    shown = labels[:_MOST_NAMED]
    if len(labels) > len(shown):
        shown.append(f"{len(labels) - len(shown)} more")
    changed = dict.fromkeys(name_of(key) for variant in made for key in variant.settings)
    what = f" of {listed(list(changed))}" if changed else ""
    if not config.axes and not config.recipes:
        how = "all augmentations of the settings, each left out, each alone"
    elif config.design == "grid":
        how = f"every combination of the values{what}"
    else:
        how = f"each value{what} alone against the settings of the study"
    sentences = [f"Variants: {'; '.join(shown)} ({how}); the reference is {first.label}."]
    if config.ablate:
        sentences.append(
            "An augmentation that is left out is switched off, without any other change; a crop "
            "that is off gives the whole image."
        )
    return sentences + list(expand(config).merged)


def _knn(pretrain: PretrainConfig) -> str:
    monitor, held = pretrain.monitor, pretrain.data.holdout
    features = "projection's output" if monitor.knn_features == "output" else "backbone's features"
    return (
        f"Judged by kNN at the end of each pretraining: the {monitor.knn_k} nearest of "
        f"{100 * (1 - held):g} % of the training images vote (weighted, temperature "
        f"{monitor.knn_temperature:g}, {features}) on the other {100 * held:g} %, whose labels are "
        "withheld, the same ones for every variant of a seed; pretraining sees all of these images "
        "without labels. No test image is read."
    )


def _heads(config: StudyConfig) -> list[str]:
    sentences = [head_settings(config.probe, head).sentence() for head in config.heads]
    if "finetune" in config.heads:
        supervised = config.probe.supervised
        length = f"{supervised.length_text()}, batch {supervised.batch_size}"
        settings = head_settings(config.probe, "finetune")
        assert isinstance(settings, FinetuneConfig)  # the sections have the types of the registry
        sentences.append(settings.lengths_sentence(length))
    return sentences


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
        else f"Fewer than {count_words(LEAST_SEEDS)} pretraining seeds: ranges (smallest to "
        "largest seed) and no verdict"
    )
    if config.judge == "knn":
        sentences = [
            f"{over}. They hold for these images: pretrainings of one seed share the images whose "
            "labels are withheld, and the intervals say nothing about other images or other data."
        ]
    else:
        sentences = [
            f"{over}, subset seeds averaged within a seed first; a seed counts once all of its "
            "subset seeds are done. They are conditional on the labelled subsets, whose seeds are "
            "fixed, and on the test images: they say nothing about other subsets, other test "
            "images or other data."
        ]
    single = [
        name
        for name, baseline in BASELINES.items()
        if name in config.baselines and not baseline.has_pretraining_seed
    ]
    if single and config.judge == "probes":
        sentences.append(
            f"{' and '.join(single).capitalize()} {'have' if len(single) > 1 else 'has'} no "
            "pretraining seed: the range is over the subset seeds."
        )
    if len(variants(config)) > 1:
        sentences.append(_comparison(config))
    if RANDOM in config.baselines and config.judge == "probes":
        queues = varies_queue_alone(config)
        each, family = ("queue", "queues") if queues else ("variant", "variants")
        sentences.append(
            f"Against random weights: every {each}, paired by seed and tested likewise, mean over "
            f"all settings, Holm's correction over the {family}."
        )
    if compares_with_scratch(config):
        sentences.append(_scratch(config))
    return sentences


def _scratch(config: StudyConfig) -> str:
    text = (
        "Against training from scratch: every encoder at every share of the labels, the "
        "subsets paired by their seed and averaged within a pretraining seed; two-sided t test "
        "over the pretraining seeds, Holm's correction over all of these comparisons. "
        "Training from scratch has no pretraining seed: its own noise is the same for all "
        "seeds and not in the intervals."
    )
    subsets = config.subset_seeds[: config.supervised_subsets]
    if len(subsets) < len(config.subset_seeds):
        text += f" Paired are the subsets that it is trained on, {_seeds('subset', subsets)}."
    if not all(head_settings(config.probe, head).trains_encoder for head in config.heads):
        text += (
            " A head on frozen features is compared with a net whose layers are all trained; with "
            "a head that trains the encoder the start alone differs."
        )
    if names_shares(config):
        text += (
            " The share up to which an encoder is better lies between measured shares along the "
            "logarithm of the share."
        )
    return text


def _comparison(config: StudyConfig) -> str:
    first = source_label("moco", reference(config).label)
    each = "every larger queue" if varies_queue_alone(config) else "every variant"
    if config.judge == "knn":
        return (
            f"Comparison: {each} against {first}, paired by pretraining seed; two-sided t test of "
            "the mean difference at 5 %, Holm's correction over the variants, as many as the study "
            "plans. The intervals themselves are not widened for the number of comparisons."
        )
    return (
        f"Comparison: {each} against {first}, paired by pretraining seed, with "
        "the same subsets; two-sided t test of the mean difference at 5 %, Holm's correction "
        "over each family (all settings; each head; each setting), as many as the study plans. "
        "The intervals themselves are not widened for the number of comparisons. Decided on "
        "beforehand: the comparison that answers the question is the mean over all settings."
    )


def _seeds(kind: str, values: Sequence[int]) -> str:
    noun = "seed" if len(values) == 1 else "seeds"
    return f"{kind} {noun} {listed([str(value) for value in values])}".strip()


def _percents(fractions: Sequence[float]) -> str:
    return listed([f"{100 * fraction:g}" for fraction in sorted(fractions)]) + " %"
