"""Key bindings with ids, by which a person's configuration gives them other keys."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from textual.binding import Binding, BindingType

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ARGUMENT = re.compile(r"-?\w+")


class NamedKeys:
    """Named before Textual's class among the bases: gives each binding of a class an id.

    The id is made of the class and of the action: ``runs.new`` of ``RunsScreen``, and
    ``monitor.panel.1`` of an action with an argument. Bindings on the same keys share the id of the
    first: Textual moves all that stand on a key together. A dialog has none, since its buttons name
    their keys.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        # Before Textual's own, which merges the bindings of a class with those of its bases.
        found = cls.__dict__.get("BINDINGS")
        if found is not None and not _is_dialog(cls):
            cls.BINDINGS = with_ids(scope_of(cls), found)  # type: ignore[attr-defined]
        super().__init_subclass__(**options)


def scope_of(cls: type) -> str:
    """How the ids of a class begin: ``runs`` of ``RunsScreen``, ``run-table`` of ``RunTable``."""
    name = cls.__name__.removeprefix("Moco").removesuffix("Screen")
    return _HUMP.sub("-", name).lower()


def with_ids(scope: str, bindings: Iterable[BindingType]) -> list[BindingType]:
    """The bindings, with an id where they have none."""
    made: list[BindingType] = []
    of_keys: dict[str, str] = {}
    for binding in bindings:
        if isinstance(binding, Binding) and binding.id is None:
            id_ = of_keys.setdefault(binding.key, f"{scope}.{_spelled(binding.action)}")
            binding = dataclasses.replace(binding, id=id_)
        made.append(binding)
    return made


def _spelled(action: str) -> str:
    """An action as the end of an id: ``panel(1)`` is ``panel.1``."""
    name, _, arguments = action.partition("(")
    return ".".join([name.rpartition(".")[2], *_ARGUMENT.findall(arguments)])


def _is_dialog(cls: type) -> bool:
    from textual.screen import ModalScreen

    return issubclass(cls, ModalScreen)
