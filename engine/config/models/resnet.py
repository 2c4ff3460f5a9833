"""The registry's entries of torchvision's residual nets."""

from __future__ import annotations

from engine.config.registry import Part

PARTS = tuple(
    Part(name, f"ResNet-{name[6:]} with the CIFAR stem", f"engine.models.resnet:{name}")
    for name in ("resnet18", "resnet34", "resnet50")
)
