"""Random resized crop: its settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from engine.config.augment.augmentation import AugmentationPart, Probability, Problem, above


class CropConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Random resized crop, resized back to the image's size by bilinear sampling.

    Both ranges are the defaults of torchvision's ``RandomResizedCrop``, which the notebook and the
    CIFAR-10 demo of facebookresearch/moco take as they are. Its pretraining on ImageNet
    (``main_moco.py``) takes areas from 0.2, an easier task, and so do images of 96 pixels or more
    here where nothing is named (``size_defaults``).
    """

    enabled: Annotated[bool, Meta(description="crop a random part and resize it")] = True
    p: Probability = 1.0
    scale_min: Annotated[
        float, Meta(gt=0.0, le=1.0, description="smallest crop, as a share of the area")
    ] = 0.08
    scale_max: Annotated[
        float, Meta(gt=0.0, le=1.0, description="largest crop, as a share of the area")
    ] = 1.0
    ratio_min: Annotated[
        float, Meta(gt=0.0, le=10.0, description="smallest width / height of the crop")
    ] = 0.75
    ratio_max: Annotated[
        float, Meta(gt=0.0, le=10.0, description="largest width / height of the crop")
    ] = 4.0 / 3.0


def _problems(config: CropConfig) -> Iterable[Problem]:
    yield from above(config, "scale_min", "scale_max", "augment.crop")
    yield from above(config, "ratio_min", "ratio_max", "augment.crop")


PART = AugmentationPart(
    name="crop",
    summary="a random part of the image, resized",
    work="engine.augment.crop:Crop",
    settings=CropConfig,
    geometry=True,
    problems=_problems,
)
