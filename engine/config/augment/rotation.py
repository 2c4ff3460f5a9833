"""Rotation by a random angle: its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from engine.config.augment.augmentation import AugmentationPart, Probability


class RotationConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rotation by an angle uniform in +-degrees; bilinear, corners from outside are black."""

    enabled: Annotated[bool, Meta(description="rotate the crop by a random angle")] = True
    p: Probability = 1.0
    degrees: Annotated[
        float,
        Meta(
            ge=0.0,
            le=180.0,
            description="largest angle either way",
            extra={"unit": "degrees"},
        ),
    ] = 180.0


def _short_label(settings: Mapping[str, Any]) -> str:
    degrees = settings.get("degrees")
    return f"rot{degrees:g}" if degrees else "rotation"


PART = AugmentationPart(
    name="rotation",
    summary="a rotation by a random angle",
    work="engine.augment.rotation:Rotation",
    settings=RotationConfig,
    geometry=True,
    short_label=_short_label,
)
