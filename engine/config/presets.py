"""Presets: named sets of values over the defaults."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.phrases import shown_value
from engine.config.schema import GRID_KEYS, PretrainConfig, StudyConfig, title
from engine.errors import ConfigError


class Preset(Struct, frozen=True, kw_only=True):
    """A named set of values over the defaults.

    Attributes:
        name: what ``--preset`` takes.
        summary: one line on what it is for.
        values: dotted keys and values that differ from the defaults.
    """

    name: str
    summary: str
    values: dict[str, Any] = {}


# Augmentations of the CIFAR-10 demo of facebookresearch/moco: crop, flip, jitter and grayscale.
_NO_ROTATION_OR_BLUR = {
    "augment.rotation.enabled": False,
    "augment.blur.enabled": False,
    "augment.flip.enabled": True,
    "augment.grayscale.enabled": True,
}

# What was best for the notebook's ConvNet, one setting at a time (``tests/benchmarks/REPORT.md``).
# Such a small net learns more without rotation, blur and dropout, and probes like crops that are
# not as narrow as the default's.
_FEW_LABELS = {
    **_NO_ROTATION_OR_BLUR,
    "augment.crop.scale_min": 0.2,
    "model.dropout": 0.0,
    "optim.epochs": 100,
    "monitor.knn_every": 5,
}

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="notebook",
            summary="the notebook's values: ConvNet, K 4096, rotation +-180 degrees, 2,500 epochs",
        ),
        Preset(
            name="notebook-large-queue",
            summary="the same with the larger dictionary, K 16384",
            values={"moco.queue_size": 16384},
        ),
        Preset(
            name="notebook-small-angle",
            summary="the same with rotation +-15 degrees, which learns better features",
            values={"augment.rotation.degrees": 15.0},
        ),
        Preset(
            name="few-labels",
            summary="the ConvNet by a recipe that was searched for: no rotation, no blur",
            values=_FEW_LABELS,
        ),
        # That demo: 200 epochs with the asymmetric loss, 82.6 % by its kNN monitor on the test set,
        # which is why ``knn_test`` is on here. What the defaults share with it is not repeated.
        Preset(
            name="resnet18-moco",
            summary="the published CIFAR-10 recipe: ResNet-18, 200 epochs, kNN 82.6 %",
            values={
                **_NO_ROTATION_OR_BLUR,
                "model.encoder": "resnet18",
                "model.dim": 128,
                "moco.temperature": 0.1,
                "moco.symmetric": False,
                "optim.epochs": 200,
                "monitor.knn_every": 5,
                "monitor.knn_test": True,
            },
        ),
        # MoCo v2 (arXiv:2003.04297, and ``--mlp --aug-plus --cos --moco-t 0.2`` of the authors'
        # code): the head of SimCLR, temperature 0.2, a cosine, blur, and crops from 0.2 of the
        # area. Those values are for ImageNet; K, m, lr and batch are those of the demo above. The
        # defaults have its jitter of 0.4, 0.4, 0.4, 0.1 in 0.8 and its blur in 0.5 of the images.
        Preset(
            name="moco-v2",
            summary="MoCo v2 at CIFAR size: ResNet-18, MLP head, T 0.2, blur, 200 epochs",
            values={
                "augment.rotation.enabled": False,
                "augment.crop.scale_min": 0.2,
                "augment.flip.enabled": True,
                "augment.grayscale.enabled": True,
                "model.encoder": "resnet18",
                "model.dim": 128,
                "model.mlp_head": True,
                "moco.temperature": 0.2,
                "moco.symmetric": False,
                "optim.epochs": 200,
                "monitor.knn_every": 5,
                "monitor.knn_test": True,
            },
        ),
        Preset(
            name="quick",
            summary="minutes on two CPU cores with the embedded images",
            values={
                "data.source": "shapes",
                "augment.rotation.degrees": 15.0,
                "model.dim": 128,
                "moco.queue_size": 2048,
                "optim.epochs": 12,
                "optim.batch_size": 256,
                "monitor.knn_every": 2,
                "monitor.knn_features": "backbone",  # what the probes work on
                "log.checkpoint_seconds": 30,
            },
        ),
    )
}


# Studies of one question each, over the defaults.
_OF_AXES = (
    Preset(
        name="study-queue",
        summary="is a larger dictionary better? K 4096 and 16384, labels, tasks and heads",
    ),
    Preset(
        name="study-augmentations",
        summary="which augmentation matters? all of them, each left out, each alone",
        values={"ablate": ["augment"]},
    ),
    # The ablation of arXiv:1911.05722, section 4.1, "Ablation: momentum".
    Preset(
        name="study-momentum",
        summary="how slow must the key encoder be? m of 0, 0.9, 0.99, 0.999 and 0.9999",
        values={"axes": {"moco.momentum": [0.0, 0.9, 0.99, 0.999, 0.9999]}},
    ),
    Preset(
        name="study-temperature",
        summary="which temperature? T of 0.05, 0.07, 0.1, 0.2 and 0.5",
        values={"axes": {"moco.temperature": [0.05, 0.07, 0.1, 0.2, 0.5]}},
    ),
    # A thousandth of CIFAR-10 is five labels a class.
    Preset(
        name="study-few-labels",
        summary="with how few labels does pretraining pay? probe and fine-tuning, 0.1 to 10 %",
        values={
            "queue_sizes": [4096],
            "label_fractions": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1],
            "tasks": ["ten"],
            "heads": ["logistic", "finetune"],
            "baselines": ["supervised"],
            "supervised_subsets": 3,
            **{f"pretrain.{key}": value for key, value in _FEW_LABELS.items()},
        },
    ),
    # Section 3.3: with groups of BatchNorm and keys that are not shuffled, the statistics of a
    # group tell which key belongs to a query. Without groups there is nothing to shuffle.
    Preset(
        name="study-shuffle",
        summary="does BatchNorm cheat? 8 groups with shuffled keys, 8 without, one whole batch",
        values={
            "axes": {"recipe": ["shuffled groups", "groups alone", "whole batch"]},
            "recipes": {
                "shuffled groups": {"model.bn_splits": 8, "moco.shuffle_keys": True},
                "groups alone": {"model.bn_splits": 8, "moco.shuffle_keys": False},
                "whole batch": {"model.bn_splits": 1, "moco.shuffle_keys": False},
            },
        },
    ),
)


def _of_a_study() -> dict[str, Preset]:
    """Presets of studies: those of pretrainings that set nothing the grid varies, and its own."""
    found = {}
    for base in PRESETS.values():
        values = {f"pretrain.{key}": value for key, value in base.values.items()}
        if not values.keys() & GRID_KEYS.keys():
            found[base.name] = msgspec.structs.replace(base, values=values)
    # The queue size is the grid's to set (rules.problems refuses it in ``pretrain``).
    quick = {k: v for k, v in PRESETS["quick"].values.items() if k != "moco.queue_size"}
    study = Preset(
        name="quick-study",
        summary="two small dictionaries on the embedded images: a look at the whole on a CPU",
        values={
            "queue_sizes": [512, 2048],
            "label_fractions": [0.1, 0.5],
            "tasks": ["binary", "ten"],
            "heads": ["logistic"],
            "subset_seeds": [0],
            "baselines": ["random-init", "pixels"],
            **{f"pretrain.{key}": value for key, value in quick.items()},
        },
    )
    return {**found, study.name: study, **{preset.name: preset for preset in _OF_AXES}}


STUDY_PRESETS: Mapping[str, Preset] = _of_a_study()
"""What ``--preset`` takes for a study."""

_PRESETS_OF: Mapping[type[Struct], Mapping[str, Preset]] = {
    PretrainConfig: PRESETS,
    StudyConfig: STUDY_PRESETS,
}


def presets_of(type_: type[Struct]) -> Mapping[str, Preset]:
    """The presets of a type of configuration, by name; none for probes."""
    return _PRESETS_OF.get(type_, {})


def preset(name: str, type_: type[Struct] = PretrainConfig) -> Preset:
    """A preset by its name.

    Raises:
        ConfigError: when there is none of that name for this type of configuration.
    """
    known = presets_of(type_)
    if name not in known:
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        there = f"there are {', '.join(known)}" if known else f"{title(type_)} has none"
        raise ConfigError(f"There is no preset {shown_value(name)}; {there}.{hint}", "preset")
    return known[name]
