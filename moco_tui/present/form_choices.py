"""What a setting of the form may be chosen from, and what can be typed beside that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from engine.config.data import with_tasks
from engine.config.fields import Field
from moco_tui.present.form import FormState

OWN = "own ..."
"""The choice behind which the value itself is typed."""

AS_PRETRAINED = "as pretrained"


class Choice(Struct, frozen=True):
    """One of the values of a setting, or the beginning of several.

    Attributes:
        name: what the chooser shows.
        start: the value; where ``argument`` is typed, what stands before it.
        argument: what is typed behind ``start``; empty where nothing is.
    """

    name: str
    start: str
    argument: str = ""


def choices_of(field: Field, state: FormState) -> list[Choice]:
    """The values that a field offers where others may be typed; empty for any other field."""
    name = field.key.removeprefix("pretrain.").removeprefix("probe.")
    if name == "runtime.device":
        return [*(Choice(each, each) for each in ("auto", "cpu")), Choice(OWN, "", "device")]
    if name == "task.name":
        return [*(Choice(each, each) for each in _tasks(state)), Choice(OWN, "", "task")]
    if field.registry is None or field.kind not in ("choice", "text"):
        return []
    found = [Choice(AS_PRETRAINED, "")] if field.registry.accepts("") else []
    for part in field.registry.values():
        argument = part.argument.lower()
        found.append(Choice(part.name, f"{part.name}:" * bool(argument) or part.name, argument))
    return [*found, Choice(OWN, "", "code")]


def _tasks(state: FormState) -> list[str]:
    """The tasks of the known data sets, that of all classes, and the one with groups of its own."""
    known = ["ten", *(name for part in with_tasks() for name in part.tasks), "all"]
    named = state.values.get("task.name") if state.values.get("task.groups") else None
    return list(dict.fromkeys([*known, named] if isinstance(named, str) and named else known))


def about_choices(field: Field) -> dict[str, str]:
    """What is said of each choice of a registry, by its name."""
    if field.registry is None:
        return {}
    about = {part.name: part.summary for part in field.registry.values()}
    if field.registry.accepts(""):
        about[AS_PRETRAINED] = "the images of the pretraining"
    return about


def found_in(choices: Sequence[Choice], value: str) -> tuple[Choice, str]:
    """The choice that a value is, and what is typed for it.

    Args:
        choices: of which the last takes any value.
        value: of the setting.
    """
    for choice in choices:
        if not choice.argument and choice.start == value:
            return choice, ""
    for choice in choices[:-1]:
        if choice.argument and value.startswith(choice.start):
            return choice, value.removeprefix(choice.start)
    return choices[-1], value


def several(field: Field) -> list[str]:
    """The items of a list of which any number may be chosen, in the order in which they count."""
    if field.kind != "list" or not field.choices or field.name in ("order", "ablate"):
        return []
    usual = [str(item) for item in field.default if item in field.choices]
    return [*usual, *(item for item in field.choices if item not in usual)]


def switched(items: Sequence[str], chosen: Sequence[Any], item: str) -> list[str]:
    """The chosen items with one more or one less; those that are not offered stay at the end."""
    wanted = {str(each) for each in chosen} ^ {item}
    return [each for each in dict.fromkeys([*items, *map(str, chosen)]) if each in wanted]
