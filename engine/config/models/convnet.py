"""The registry's entry of the notebook's ConvNet."""

from __future__ import annotations

from engine.config.registry import Part

PART = Part(
    "convnet", "the notebook's: three blocks of 3x3 convolutions", "engine.models.convnet:build"
)

CHANNELS = (32, 64, 128)
"""Of the three blocks."""
AVERAGED_SIDE = 2
"""Height and width to which the last block of more than 32 pixels is averaged, where nobody has
named another: as many places, and features, as it has of 32."""


def last_side(size: int) -> int:
    """Height and width of what the last block gives: 2 of 32 pixels, 26 of 224.

    Args:
        size: height and width of the images, in pixels.
    """
    for _ in CHANNELS:
        size = (size - 2) // 2  # a convolution 3x3 without padding, and pooling over 2x2
    return size


def feature_width(size: int, feature_side: int) -> int:
    """Width of the features: channels of the last block times its places, or their averages.

    Args:
        size: height and width of the images, in pixels.
        feature_side: as in ``ModelConfig``.
    """
    return CHANNELS[-1] * (feature_side or last_side(size)) ** 2
