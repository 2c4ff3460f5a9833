"""What keeps a study from being computed, found before any of its runs begins."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.schema import StudyConfig
from engine.config.variants import impossible_text
from engine.data.dataset import Dataset, holdout_split
from engine.errors import ConfigError, DataError, UserError
from engine.evaluate.tasks import prepare_material
from engine.pretrain.loop import check_batch
from engine.probe.head import load_head
from engine.study.grid import ProbePoint, pretrain_config, pretrainings, probe_config, variants


def check_variants(config: StudyConfig, datasets: Mapping[str, Dataset]) -> None:
    """Refuses a study of which some variants cannot be trained on these images.

    Args:
        config: the study.
        datasets: the images of its variants, by ``Variant.data``.

    Raises:
        ConfigError: one sentence on each variant that is impossible.
    """
    found: dict[str, UserError] = {}
    made = variants(config)
    for variant in made:
        pretrain = pretrain_config(config, variant, config.seeds[0])
        try:
            check_batch(pretrain, len(datasets[variant.data].train))
        except UserError as error:
            found[variant.label] = error
    texts = {label: str(error) for label, error in found.items()}
    if len(texts) == len(made) and len(set(texts.values())) == 1:
        raise next(iter(found.values()))  # all alike: no variant is to blame
    if texts:
        raise ConfigError(impossible_text(texts, len(made)))


def check_study(config: StudyConfig, datasets: Mapping[str, Dataset]) -> None:
    """Refuses a study that its data cannot judge.

    Args:
        config: the study.
        datasets: see ``check_variants``.

    Raises:
        DataError: one sentence on what is missing.
        ConfigError: when a head of the user's own is none.
    """
    if config.judge == "knn":
        for dataset in datasets.values():
            _check_knn(config, dataset)
        return
    first = pretrainings(config)[0]
    for head in config.heads:
        point = ProbePoint(config.tasks[0], config.label_fractions[0], head, config.subset_seeds[0])
        load_head(probe_config(config, *first, point))
    least = min(config.label_fractions)
    for task in config.tasks:
        point = ProbePoint(task, least, config.heads[0], config.subset_seeds[0])
        for dataset in datasets.values():
            prepare_material(probe_config(config, *first, point), dataset)


def _check_knn(config: StudyConfig, dataset: Dataset) -> None:
    train = dataset.train
    if not train.labelled:
        raise DataError(
            f"{dataset.name} has no labels, which judge = knn needs; name labelled images."
        )
    _, held = holdout_split(train.labels, config.pretrain.data.holdout, config.seeds[0])
    if not len(held):
        raise DataError(
            f"{dataset.name} has one image of each class, so that no label can be withheld, which "
            "judge = knn needs."
        )
