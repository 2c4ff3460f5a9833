"""Class names of the built-in data sets, and the groups of their binary task. No torch here."""

from __future__ import annotations

CIFAR10_CLASSES: tuple[str, ...] = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR10_BINARY_GROUPS: dict[str, tuple[str, ...]] = {
    "vehicles": ("airplane", "automobile", "ship", "truck"),
    "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
}

SHAPES_CLASSES: tuple[str, ...] = (
    "bars",
    "clover",
    "crescent",
    "cross",
    "disc",
    "dots",
    "ring",
    "square",
    "star",
    "triangle",
)
SHAPES_BINARY_GROUPS: dict[str, tuple[str, ...]] = {
    "round": ("clover", "crescent", "disc", "dots", "ring"),
    "straight": ("bars", "cross", "square", "star", "triangle"),
}
