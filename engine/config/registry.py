"""Registries: the names that a setting may take, and where the work of each is done.

A registry stands on the floor without torch, since the form, the commands and every message about
a bad value are made from its names. What does the work lies above and is imported when it is first
needed. Beside the names a setting takes the path of something of the user's own (see
``engine.config.own_code``).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from engine.config import own_code
from engine.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """Something that a setting can name.

    Attributes:
        name: what the setting holds.
        summary: one line on what it is, for people.
        work: ``package.module:name`` of what does the work, above this floor.
        settings: the type of its own settings; None where it has none.
    """

    name: str
    summary: str
    work: str
    settings: type[Struct] | None = None


class Registry(Mapping[str, Part]):
    """The parts of one kind, by name, in the order in which they are shown.

    Args:
        key: the setting that names one of them, as in ``model.encoder``.
        parts: the parts that come with the program.
    """

    def __init__(self, key: str, parts: tuple[Part, ...]) -> None:
        self.key = key
        self._parts = {part.name: part for part in parts}

    def __getitem__(self, name: str) -> Part:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def accepts(self, value: object) -> bool:
        """Whether the setting may hold this value; nothing is imported to find out."""
        return value in self._parts or own_code.is_path(value)

    def expectation(self) -> str:
        """What a right value is, in words that finish "it must be ..."."""
        return f"one of {', '.join(self)}, or your own as package.module:Name"

    def load(self, name: str) -> Any:
        """What does the work of a part, imported now if it was not before.

        Raises:
            ConfigError: when there is no such part, or a path of the user's own leads nowhere.
        """
        if name in self._parts:
            module, _, attribute = self._parts[name].work.partition(":")
            return getattr(importlib.import_module(module), attribute)
        if own_code.is_path(name):
            return own_code.load(name, self.key)
        raise ConfigError(f"{self.key} is {name}; it must be {self.expectation()}.", self.key)
