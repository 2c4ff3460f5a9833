"""The settings of a form that follow the size of the images, while nobody has changed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from engine.config.fields import Field
from engine.config.presets import presets_of
from engine.config.size_defaults import FOLLOWING, size_defaults


class FollowedForm(Protocol):
    """As much of ``FormState`` as this needs."""

    kind: str
    preset: str
    within: str
    base: dict[str, Any]
    values: dict[str, Any]

    @property
    def type(self) -> type[Struct]:
        """The type of its configuration."""

    @property
    def known(self) -> Mapping[str, Field]:
        """Its fields by dotted key."""

    def changed(self) -> dict[str, Any]:
        """The fields whose value differs from the preset."""


def follow_size(form: FollowedForm) -> None:
    """Gives the settings that follow the size the values that a command would fill in.

    They become what "changed from the preset" is told against, so that ``command`` leaves them
    out, as one need not type them.
    """
    if form.kind == "probe":
        return
    changed = form.changed()
    preset = presets_of(form.type)[form.preset].values if form.preset else {}
    follow = size_defaults({**preset, **changed}, form.within)
    for name in FOLLOWING:
        key = form.within + name
        form.base[key] = preset.get(key, follow.get(key, form.known[key].default))
        if key not in changed:
            form.values[key] = form.base[key]
