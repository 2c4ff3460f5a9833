"""Settings of a pretraining that follow the size of its images, where nobody has named them.

Every size is known from the configuration alone (``data.image_size``, or the set's own), so they
are filled in before anything is read, and a record holds them as any other setting. At 32 pixels
they are the defaults of the schema. In a study they follow its ``pretrain``: an axis over the size
changes the size alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from engine.config.data import own_size
from engine.config.data.data_set import LARGEST_SIZE, SIZE
from engine.config.models.convnet import AVERAGED_SIDE, last_side
from engine.config.schema import PretrainConfig

IMAGENET_FROM = 96
"""Pixels from which the recipe is that of ImageNet: the stem of 7x7 with stride 2 and pooling, and
crops from 0.2 of the area (facebookresearch/moco, ``main_moco.py``). That stem divides the sides by
32 before the last average: 3x3 places are left of 96 pixels and 7x7 of 224, but 2x2 of 64, where
the stem for CIFAR leaves 8x8, near the 4x4 of CIFAR itself."""

_CROP = 0.2

_SIZE_KEY, _SOURCE, _ENCODER = "data.image_size", "data.source", "model.encoder"
FOLLOWING = (
    *(_SIZE_KEY, "augment.crop.scale_min", "augment.blur.kernel_size"),
    *("model.stem", "model.feature_side"),
)
"""The settings that follow the size, in the order of the schema."""

INPUTS = (_SOURCE, _SIZE_KEY, _ENCODER, "augment.crop.scale_max")
"""The settings that they follow."""


def size_defaults(named: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What the settings that nobody has named become; those that keep their defaults are left out.

    Args:
        named: whole dotted keys and values of everything that is named, by a preset, a file or a
            person; values may be texts.
        prefix: before the keys of a pretraining: ``pretrain.`` for a study.
    """
    values = {key: named[prefix + key] for key in INPUTS if prefix + key in named}
    source = str(values.get(_SOURCE, PretrainConfig().data.source))
    size = int(_number(values.get(_SIZE_KEY))) or own_size(source)
    found: dict[str, Any] = {}
    if not SIZE < size <= LARGEST_SIZE:  # a wrong one is refused where the values are checked
        return found
    if _SIZE_KEY not in values:
        found[_SIZE_KEY] = size
    found["augment.blur.kernel_size"] = blur_kernel(size)
    encoder = str(values.get(_ENCODER, PretrainConfig().model.encoder))
    if encoder == "convnet" and last_side(size) > AVERAGED_SIDE:
        found["model.feature_side"] = AVERAGED_SIDE
    if size >= IMAGENET_FROM:
        if (_number(values.get("augment.crop.scale_max")) or 1.0) >= _CROP:
            found["augment.crop.scale_min"] = _CROP
        if encoder.startswith("resnet"):
            found["model.stem"] = "imagenet"
    return {f"{prefix}{key}": v for key, v in found.items() if prefix + key not in named}


def blur_kernel(size: int) -> int:
    """Width of the kernel of the blur, odd: a tenth of the image (arXiv:2002.05709, appendix A).

    Rounded as the code of SimCLR rounds it: 3 of 32 pixels, 9 of 96, 23 of 224.

    Args:
        size: of the image, in pixels.
    """
    return 2 * (size // 10 // 2) + 1


def _number(value: Any) -> float:
    """A number that may be a text; 0 for none."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) else 0.0
