"""Colour jitter: its settings."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from engine.config.augment.augmentation import AugmentationPart, Probability


class ColorJitterConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Brightness, contrast, saturation and hue, in an order drawn for each image.

    The defaults are those of MoCo v2 (facebookresearch/moco, ``--aug-plus``).
    """

    enabled: Annotated[bool, Meta(description="distort the colours")] = True
    p: Probability = 0.8
    brightness: Annotated[
        float, Meta(ge=0.0, le=1.0, description="factor uniform in 1 +- this")
    ] = 0.4
    contrast: Annotated[float, Meta(ge=0.0, le=1.0, description="factor uniform in 1 +- this")] = (
        0.4
    )
    saturation: Annotated[
        float, Meta(ge=0.0, le=1.0, description="factor uniform in 1 +- this")
    ] = 0.4
    hue: Annotated[
        float,
        Meta(
            ge=0.0,
            le=0.5,
            description="shift uniform in +- this",
            extra={"unit": "turns of the colour circle"},
        ),
    ] = 0.1


PART = AugmentationPart(
    name="color_jitter",
    summary="brightness, contrast, saturation and hue at random",
    work="engine.augment.color_jitter:ColorJitter",
    settings=ColorJitterConfig,
    short_label=lambda _: "color",
)
