"""What the notebook's ConvNet is called and where it is built."""

from __future__ import annotations

from engine.config.registry import Part

PART = Part(
    "convnet", "the notebook's: three blocks of 3x3 convolutions", "engine.models.convnet:build"
)
