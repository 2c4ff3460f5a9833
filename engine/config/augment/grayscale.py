"""Grayscale: its settings."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from engine.config.augment.augmentation import AugmentationPart, Probability


class GrayscaleConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Conversion to gray (three equal channels); p as in MoCo (facebookresearch/moco)."""

    # Off by default, as in the notebook.
    enabled: Annotated[bool, Meta(description="drop the colour")] = False
    p: Probability = 0.2


PART = AugmentationPart(
    name="grayscale",
    summary="a gray image of three equal channels",
    work="engine.augment.grayscale:Grayscale",
    settings=GrayscaleConfig,
    short_label=lambda _: "gray",
)
