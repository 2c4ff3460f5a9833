"""The registry's entry of the notebook's ConvNet."""

from __future__ import annotations

from engine.config.registry import Part

PART = Part(
    "convnet", "the notebook's: three blocks of 3x3 convolutions", "engine.models.convnet:build"
)
