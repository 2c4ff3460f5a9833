"""The registry of augmentations: one line each, for two modules of one name.

``NAME.py`` in this package holds the settings, ranges and rules of an augmentation as its ``PART``;
``engine/augment/NAME.py`` draws its parameters and applies them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from engine.config.augment.augmentation import AugmentationPart
from engine.config.phrases import listed
from engine.config.registry import Registry

# In the default order of ``augment.order``. Blur, jitter and gray do not commute, so another order
# here would change the views of every configuration that leaves it out.
_MODULES = (
    "crop",
    "rotation",
    "flip",
    "blur",
    "color_jitter",
    "grayscale",
)

AUGMENTATIONS: Registry[AugmentationPart] = Registry(
    "augment.order", tuple(import_module(f"{__name__}.{module}").PART for module in _MODULES)
)
"""What ``augment.order`` may name, in the order that it has by default."""

GEOMETRY = tuple(name for name, part in AUGMENTATIONS.items() if part.geometry)
"""Those that are composed into one bilinear sampling, before all others: each sampling of its own
would blur the image once more."""


def augment_problems(config: Any) -> dict[str, str]:
    """Every broken rule over several settings of the augmentations.

    Args:
        config: an ``AugmentConfig``.

    Returns:
        The dotted key at fault and the sentence.
    """
    found: dict[str, str] = {}
    for name, part in AUGMENTATIONS.items():
        if part.problems is not None:
            for setting, wrong in part.problems(getattr(config, name)):
                found[f"augment.{name}.{setting}"] = f"augment.{name}.{setting}{wrong}"
    wrong = _order_problem(config)
    if wrong:
        found["augment.order"] = wrong
    return found


def _order_problem(config: Any) -> str:
    """The sentence about a wrong order; empty when it is right."""
    order: tuple[str, ...] = config.order
    # One that is disabled may be missing: configurations written before an augmentation was added
    # do not name it, and stay valid. Paths of the user's own may stand among the names.
    on = {name for name in AUGMENTATIONS if getattr(config, name).enabled}
    if len(set(order)) != len(order) or not on <= set(order):
        return (
            f"augment.order is {', '.join(order) or 'empty'}; it must name each of "
            f"{', '.join(AUGMENTATIONS)} once."
        )
    first = [name for name in order if name in GEOMETRY]
    if list(order[: len(first)]) != first:
        return (
            f"augment.order must begin with {listed(GEOMETRY)} (in any order among themselves): "
            "they are one sampling."
        )
    return ""


def short_label(name: str, settings: Mapping[str, Any]) -> str:
    """What tables call an augmentation.

    Args:
        name: an item of ``augment.order``; of a path of the user's own, what follows the colon.
        settings: its settings, as far as they are known.
    """
    part = AUGMENTATIONS.get(name)
    if part is not None and part.short_label is not None:
        return part.short_label(settings)
    return name.rpartition(":")[2]
