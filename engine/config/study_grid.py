"""What a study varies, and what it judges its pretrainings by: its lists of values.

A module of its own, and a base class: fields of a Struct come in the order of inheritance, so these
stand before the settings of the runs themselves (``StudyConfig``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

from engine.config.baselines import BASELINES, BaselineName
from engine.config.heads import HEADS


class StudyGrid(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The lists of a study."""

    queue_sizes: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=4_194_304)], ...],
        Meta(
            min_length=1,
            description="dictionary sizes to compare, where nothing else is varied",
            extra={"unit": "keys"},
        ),
    ] = (4096, 16384)
    seeds: Annotated[
        tuple[Annotated[int, Meta(ge=0, lt=2**31)], ...],
        Meta(
            min_length=1,
            description="seeds of the pretrainings of each size; three or more for an interval",
        ),
    ] = (0, 1, 2)
    label_fractions: Annotated[
        tuple[Annotated[float, Meta(gt=0.0, le=1.0)], ...],
        Meta(
            min_length=1,
            description="shares of the training labels that may be used; where nobody names them "
            "and the set is known to have a label a class even then, 0.001, 0.01, 0.02 and 0.05 as "
            "well. Not for a folder, whose images are not counted before the study begins",
        ),
    ] = (0.1, 0.2, 0.3, 0.4, 0.5)
    tasks: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=100)], ...],
        Meta(min_length=1, description="binary, five, ten, all; or the name of probe.task.groups"),
    ] = ("binary", "five", "ten")
    heads: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="heads on the frozen features, or finetune, which trains the encoder",
            extra={"registry": HEADS},
        ),
    ] = ("linear", "logistic")
    subset_seeds: Annotated[
        tuple[Annotated[int, Meta(ge=0, lt=2**31)], ...],
        Meta(min_length=1, description="seeds of the labelled subsets"),
    ] = (0, 1, 2)
    baselines: Annotated[
        tuple[BaselineName, ...],
        Meta(description=f"what stands beside the encoders: {', '.join(BASELINES)}"),
    ] = get_args(BaselineName)
    supervised_subsets: Annotated[
        int,
        Meta(
            ge=1,
            description="subset seeds that the supervised baseline is trained for, the first ones: "
            "it is the dearest part; all of them where nobody names it and a head trains the "
            "encoder (finetune)",
        ),
    ] = 1
    axes: Annotated[
        dict[str, tuple[Any, ...]],
        Meta(
            description="settings of the pretraining to vary, and the values of each; recipe names "
            "those of recipes"
        ),
    ] = {}
    recipes: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="settings of the pretraining that change together, by the recipe's name"),
    ] = {}
    ablate: Annotated[
        tuple[str, ...],
        Meta(
            description="augmentations to leave out one by one and to have alone: augment for all "
            "that are on, or augment.NAME"
        ),
    ] = ()
    design: Annotated[
        Literal["grid", "one-at-a-time"],
        Meta(
            description="grid: every combination of the values; one-at-a-time: each value alone "
            "against the settings of pretrain"
        ),
    ] = "grid"
    judge: Annotated[
        Literal["probes", "knn"],
        Meta(
            description="what a pretraining is judged by: probes on the test images, or kNN on "
            "training images whose labels are withheld"
        ),
    ] = "probes"
