"""Horizontal flip: its settings."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from engine.config.augment.augmentation import AugmentationPart, Probability


class FlipConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Horizontal flip."""

    # Off by default, as in the notebook.
    enabled: Annotated[bool, Meta(description="mirror left and right")] = False
    p: Probability = 0.5


PART = AugmentationPart(
    name="flip",
    summary="left and right exchanged",
    work="engine.augment.flip:Flip",
    settings=FlipConfig,
    geometry=True,
)
