"""The encoders that ``model.encoder`` can name: one more is two files of a name and a line here."""

from __future__ import annotations

from engine.config.models import convnet, resnet
from engine.config.registry import Registry

ENCODERS = Registry("model.encoder", (convnet.PART, *resnet.PARTS))
"""The work of each is ``build(config: ModelConfig) -> nn.Module``: normalised float images
``(N, 3, 32, 32)`` to features ``(N, feature_dim)``, with that width as its ``feature_dim``."""
