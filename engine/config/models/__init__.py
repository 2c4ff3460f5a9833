"""The registry of encoders; to add one, write two modules of one name and a line here."""

from __future__ import annotations

from engine.config.models import convnet, resnet
from engine.config.registry import Registry

ENCODERS = Registry("model.encoder", (convnet.PART, *resnet.PARTS))
"""What ``model.encoder`` may name.

The work of each is ``build(config: ModelConfig, size: int) -> nn.Module``: normalised float32
images ``(N, 3, size, size)`` to features ``(N, feature_dim)``; the module has that width as its
attribute ``feature_dim``.
"""
