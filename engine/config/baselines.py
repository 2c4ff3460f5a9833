"""The baselines that a probe computes beside its result, each listed once. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from engine.config.phrases import numbers, plural

BaselineName = Literal["random-init", "pixels", "supervised"]


class SupervisedConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Budget of the baseline that is trained from scratch on the same labels.

    In epochs, so that it is as well trained with half of the labels as with a tenth: it is what a
    pretraining must beat. With 5,000 labels of CIFAR-10 (JPEG) the notebook's net still gained 3.4
    points of test accuracy from 25 to 50 epochs, which would be the trials of 100.
    """

    epochs: Annotated[
        int,
        Meta(ge=1, le=100_000, description="epochs, whatever the labels", extra={"unit": "epochs"}),
    ] = 200
    # For large labelled parts on a CPU; the result then says at how many epochs it was cut.
    max_images: Annotated[
        int,
        Meta(
            ge=0,
            description="most images seen in a training, which cuts its epochs; 0: as many as the "
            "epochs take",
            extra={"unit": "images"},
        ),
    ] = 0
    batch_size: Annotated[
        int, Meta(ge=2, le=65536, description="images in a step", extra={"unit": "images"})
    ] = 128
    lr: Annotated[
        tuple[Annotated[float, Meta(gt=0.0, le=1000.0)], ...],
        Meta(min_length=1, description="learning rates to choose from, inside the labelled part"),
    ] = (0.02, 0.1)
    weight_decay: Annotated[float, Meta(ge=0.0, le=1.0, description="weight decay of SGD")] = 5e-4

    def length_text(self) -> str:
        """How long a training is, in words."""
        length = plural(self.epochs, "epoch")
        if self.max_images:
            length = f"at most {length} and {self.max_images:,} images seen"
        return length

    def budget_text(self) -> str:
        """What a training may spend, in words."""
        return f"{self.length_text()}, learning rate from {numbers(self.lr)}"


class Baseline(Struct, frozen=True, kw_only=True):
    """A row of a probe beside that of the pretrained encoder.

    Attributes:
        name: in the settings, the rows and the metrics.
        label: in legends.
        subject: stands before ``46.0 %`` in the sentence of a study that compares it.
        protocol: what it is, in the protocol of a study; ``{budget}`` and ``{subsets}`` stand for
            those of the supervised baseline.
        work: ``package.module:name`` of what makes its row, see ``engine.probe.source_rows``.
        has_head: whether it is a head on features, and so one row for each head.
        has_pretraining_seed: whether a study makes one for each pretraining seed.
        draws_random: whether its row depends on ``runtime.seed``, whatever the head.
        has_encoder: whether it is made from the architecture of the pretraining.
    """

    name: BaselineName
    label: str
    subject: str
    protocol: str
    work: str
    # The others decide how often a study computes it, see study.grid and study.result_keys.
    has_head: bool = True
    has_pretraining_seed: bool = False
    draws_random: bool = False
    has_encoder: bool = True

    def depends_on(self, key: str) -> bool:
        """Whether its row depends on a setting of the pretraining that it stands beside.

        Args:
            key: dotted; the seed, which a study has several of, is left out here.
        """
        # A baseline is built with BatchNorm over whole batches, whatever the groups of MoCo.
        if key.startswith("model.") and key != "model.bn_splits":
            return self.has_encoder
        return key in ("data.source", "data.image_size", "data.limit")


BASELINES: Mapping[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline(
            name="random-init",
            label="random weights",
            subject="random weights give",
            protocol="random-init is the same encoder with random weights, one for each "
            "pretraining seed, BatchNorm statistics set on training images",
            work="engine.probe.source_rows:RANDOM_INIT",
            has_pretraining_seed=True,
            draws_random=True,
        ),
        Baseline(
            name="pixels",
            label="raw pixels",
            subject="raw pixels",
            protocol="pixels is the same head on the image itself",
            work="engine.probe.source_rows:PIXELS",
            has_encoder=False,
        ),
        Baseline(
            name="supervised",
            label="supervised from scratch",
            subject="training from scratch on the same labels",
            protocol="supervised is the same net trained from scratch on the same labels "
            "({budget}; {subsets} only)",
            work="engine.probe.source_rows:SUPERVISED",
            has_head=False,
            draws_random=True,
        ),
    )
}
"""Every baseline by name, in the order of tables."""
