"""The settings of a form that follow others, while nobody has changed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from engine.config.fields import Field
from engine.config.open_settings import following, open_defaults
from engine.config.presets import presets_of


class FollowedForm(Protocol):
    """As much of ``FormState`` as this needs."""

    preset: str
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


def use_task(form: FollowedForm, task: str) -> None:
    """Has the form of a probe solve this task by default, which suits what is probed."""
    if "task.name" not in form.changed():
        form.values["task.name"] = task
    form.base["task.name"] = task


def follow(form: FollowedForm) -> None:
    """Gives the settings that follow others the values that a command would fill in.

    They become what "changed from the preset" is told against, so that the command of the form
    leaves them out, as one need not type them.
    """
    changed = form.changed()
    preset = presets_of(form.type)[form.preset].values if form.preset else {}
    found = open_defaults(form.type, {**preset, **changed})
    for key in following(form.type):
        form.base[key] = preset.get(key, found.get(key, form.known[key].default))
        if key not in changed:
            form.values[key] = form.base[key]
