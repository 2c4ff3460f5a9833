"""Every binding of the app by its id, and what is wrong with the keys that a person has chosen."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from msgspec import Struct
from textual.app import App
from textual.binding import Binding
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, _normalize_key_list, key_to_character
from textual.screen import Screen

from engine.config.phrases import listed
from engine.text import one_line
from moco_tui.widgets.named_keys import NamedKeys

_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_KEYS = frozenset([*(key.value for key in Keys), *KEY_NAME_REPLACEMENTS.values()])


class BoundKey(Struct, frozen=True):
    """A binding.

    Attributes:
        id: by which the configuration names it.
        keys: that it has when nobody has chosen others.
        description: what it does.
    """

    id: str
    keys: str
    description: str


def bound_keys() -> dict[str, BoundKey]:
    """Every binding that can have other keys, by its id; imports all screens."""
    found: dict[str, BoundKey] = {}
    for cls in _classes():
        for binding in _own(cls):
            assert binding.id is not None
            before = found.get(binding.id)
            text = binding.description or binding.action
            if before is not None and text != before.description:
                text = f"{before.description}; {text}"
            found[binding.id] = BoundKey(binding.id, binding.key, text)
    return found


def key_problems(keys: Mapping[str, str]) -> list[str]:
    """A sentence on each chosen key that names nothing, is no key, or is taken.

    Args:
        keys: by id of a binding, keys between commas.
    """
    known = bound_keys()
    problems = []
    for id_, chosen in keys.items():
        if id_ not in known:
            problems.append(f"keys: there is no binding {id_}; moco-tui config keys lists them.")
        for key in _normalize_key_list(chosen).split(","):
            if not _is_key(key):
                problems.append(f"keys: {id_} is {chosen}, and {key} is no key of a keyboard.")
    return [one_line(problem) for problem in [*problems, *_conflicts(keys)]]


def _is_key(key: str) -> bool:
    *modifiers, name = key.split("+")
    return _MODIFIERS.issuperset(modifiers) and (
        name in _KEYS or key_to_character(name) is not None
    )


def _conflicts(keys: Mapping[str, str]) -> list[str]:
    """Where a chosen key belongs to something else in the same place, or hides a key of the app."""
    app = [cls for cls in _classes() if issubclass(cls, App)]
    found: dict[str, None] = {}
    for cls in _classes():
        places = [cls, *app] if issubclass(cls, Screen) else [cls]
        taken: dict[str, dict[str, str]] = {}
        for binding in [binding for place in places for binding in _merged(place)]:
            assert binding.id is not None
            mine = _normalize_key_list(keys.get(binding.id, binding.key))
            for key in mine.split(","):
                taken.setdefault(key, {}).setdefault(binding.id, binding.description)
        for key, owners in taken.items():
            if len(owners) > 1 and any(_chosen(key, id_, keys) for id_ in owners):
                both = listed([f"{id_} ({text})" for id_, text in owners.items()])
                found[f"keys: {key} stands for {both}; only one of them acts."] = None
    return list(found)


def _chosen(key: str, id_: str, keys: Mapping[str, str]) -> bool:
    return key in _normalize_key_list(keys.get(id_, "")).split(",")


def _classes() -> Iterator[type]:
    """The classes of the app whose bindings have ids, in the order of their names."""
    for room in ("moco_tui.screens", "moco_tui.widgets"):
        for module in pkgutil.iter_modules(importlib.import_module(room).__path__):
            importlib.import_module(f"{room}.{module.name}")
    found: dict[str, type] = {}
    waiting = [NamedKeys]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            if cls.__module__.startswith("moco_tui."):
                found[f"{cls.__module__}.{cls.__name__}"] = cls
    yield from (found[name] for name in sorted(found))


def _own(cls: type) -> list[Binding]:
    """The bindings with an id that stand in a class itself."""
    found = cls.__dict__.get("BINDINGS", ())
    return [binding for binding in found if isinstance(binding, Binding) and binding.id]


def _merged(cls: type) -> list[Binding]:
    """The bindings of a class and its bases; what a class binds again hides those of its bases."""
    found: dict[str, Binding] = {}
    for base in cls.__mro__:
        for binding in _own(base):
            if binding.key not in found:
                found[binding.key] = binding
        if not base.__dict__.get("_inherit_bindings", True):
            break
    return list(found.values())
