"""Registries: the names that a setting may take, and where the work of each is done.

A registry must not import torch, since the form, the commands and every message about a bad value
are made from its names before torch is loaded. The module that does the work is named as a text and
imported when it is first needed. Beside the names a setting takes the path of an object of the
user's own (see ``engine.config.own_code``).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from engine.config import own_code
from engine.errors import ConfigError


class Part(Struct, frozen=True):
    """Something that a setting can name.

    Attributes:
        name: what the setting holds.
        summary: one line on what it is, for people.
        work: ``package.module:name`` of the object that does the work; that module may use torch.
        settings: the type of its own settings; None where it has none.
        argument: placeholder for the text after the name and a colon in the setting, as ``PATH``;
            empty where the name stands alone.
    """

    name: str
    summary: str
    work: str
    settings: type[Struct] | None = None
    argument: str = ""

    @property
    def spelling(self) -> str:
        """How a setting names it: ``folder:PATH``."""
        return f"{self.name}:{self.argument}" if self.argument else self.name


P = TypeVar("P", bound=Part)


class Registry(Mapping[str, P]):
    """The parts of one kind, by name, in the order in which they are shown.

    Args:
        key: the setting that names one of them, as in ``model.encoder``.
        parts: the parts that come with the program.
    """

    def __init__(self, key: str, parts: tuple[P, ...]) -> None:
        self.key = key
        self._parts = {part.name: part for part in parts}

    def __getitem__(self, name: str) -> P:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def find(self, value: object) -> tuple[P | None, str]:
        """The part that a value of the setting names, and the argument after its colon.

        None and "" for a path of the user's own and for a value that the setting cannot have.
        """
        if not isinstance(value, str):
            return None, ""
        name, _, argument = value.partition(":")
        part = self._parts.get(name)
        # "cifar10:x" and "folder" are refused: an argument where none belongs, and one missing. So
        # is "cifar10:", whose empty argument looks like none.
        if part is None or bool(part.argument) != bool(argument) or value == f"{name}:":
            return None, ""
        return part, argument

    def is_own(self, value: object) -> bool:
        """Whether a value is the path of an object of the user's own; it is not imported."""
        return self.find(value)[0] is None and own_code.is_path(value)

    def accepts(self, value: object) -> bool:
        """Whether the setting may hold this value; nothing is imported to find out."""
        return self.find(value)[0] is not None or own_code.is_path(value)

    def expectation(self) -> str:
        """What a right value is, in words that finish "it must be ..."."""
        names = ", ".join(part.spelling for part in self.values())
        return f"one of {names}, or your own as package.module:Name"

    def load(self, value: str) -> Any:
        """The object that does the work, imported now if it was not before.

        Args:
            value: of the setting: a name of this registry, or a path of the user's own.

        Raises:
            ConfigError: when there is no such part, or a path of the user's own leads nowhere.
        """
        part, _ = self.find(value)
        if part is not None:
            module, _, attribute = part.work.partition(":")
            return getattr(importlib.import_module(module), attribute)
        if own_code.is_path(value):
            return own_code.load(value, self.key)
        raise ConfigError(f"{self.key} is {value}; it must be {self.expectation()}.", self.key)
