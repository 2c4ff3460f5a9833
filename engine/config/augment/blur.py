"""Gaussian blur: its settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from engine.config.augment.augmentation import AugmentationPart, Probability, Problem, above


class BlurConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Gaussian blur with a sigma drawn for each image, uniform in [sigma_min, sigma_max] pixels.

    p and the range of sigma are those of MoCo v2 (arXiv:2003.04297), which took them from SimCLR
    (arXiv:2002.05709, appendix A).
    """

    enabled: Annotated[bool, Meta(description="blur with a Gaussian")] = True
    p: Probability = 0.5
    sigma_min: Annotated[
        float, Meta(gt=0.0, le=16.0, description="smallest sigma", extra={"unit": "pixels"})
    ] = 0.1
    sigma_max: Annotated[
        float, Meta(gt=0.0, le=16.0, description="largest sigma", extra={"unit": "pixels"})
    ] = 2.0
    # SimCLR: 10 % of the image's side, which is 3 of 32 pixels; of others see ``size_defaults``.
    kernel_size: Annotated[
        int, Meta(ge=3, le=31, description="width of the kernel, odd", extra={"unit": "pixels"})
    ] = 3


def _problems(config: BlurConfig) -> Iterable[Problem]:
    yield from above(config, "sigma_min", "sigma_max", "augment.blur")
    if config.kernel_size % 2 == 0:
        yield "kernel_size", f" is {config.kernel_size}; it must be odd."


PART = AugmentationPart(
    name="blur",
    summary="a Gaussian blur",
    work="engine.augment.blur:Blur",
    settings=BlurConfig,
    problems=_problems,
)
