"""The registry's entry of an augmentation, and the settings that all of them have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta

from engine.config.registry import Part

Probability = Annotated[
    float, Meta(ge=0.0, le=1.0, description="share of the images it is drawn for")
]
"""Type of the setting ``p``."""

Problem = tuple[str, str]
"""A setting (``kernel_size``) and what is wrong, to follow the setting's dotted name: " is 4; it
must be odd"."""


class AugmentationPart(Part, frozen=True):
    """An augmentation: its settings, its rules, its label in tables.

    The type of its settings has a field ``enabled`` first, false by default for an augmentation
    that is added later: configurations that do not mention it must go on drawing the same views.

    Attributes:
        geometry: whether it moves pixels and so takes part in the one bilinear sampling; such ones
            come first in ``augment.order``.
        short_label: makes its label in tables from its settings; None: its name.
        problems: checks rules over several of its settings; None: there are none.
    """

    geometry: bool = False
    short_label: Callable[[Mapping[str, Any]], str] | None = None
    problems: Callable[[Any], Iterable[Problem]] | None = None


def above(config: object, low: str, high: str, section: str) -> Iterable[Problem]:
    """The rule that one setting is not larger than another.

    Args:
        config: the settings of an augmentation.
        low: name of the setting that must not be larger.
        high: name of the other one.
        section: where both stand, as in ``augment.crop``.
    """
    below, limit = getattr(config, low), getattr(config, high)
    if below > limit:
        yield low, f" is {below:g}, above {section}.{high} ({limit:g}); it must not be larger."
