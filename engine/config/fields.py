"""The fields of a configuration as flat, dotted keys with their help, unit and range.

The form of the app, ``--set`` and every message about a bad value are made from these.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct, inspect

from engine.config.registry import Registry

FieldKind = Literal["int", "float", "bool", "choice", "text", "list", "table"]


class Field(Struct, frozen=True, kw_only=True):
    """One leaf of a configuration.

    Attributes:
        key: dotted name, for example ``moco.queue_size``.
        kind: what a value is; ``list`` and ``table`` hold items of ``item``.
        default: the default value, as builtin types.
        help: one line for the person.
        unit: unit of the value, empty when it has none.
        choices: the values allowed, for ``choice`` (and for lists of choices).
        ge, gt, le, lt: bounds, None where there is none.
        pattern: regular expression that a text must match, or None.
        registry: the registry whose names the value (or each item) may have, or None; ``choices``
            are its names. A path of the user's own is accepted as well.
    """

    key: str
    kind: FieldKind
    default: Any
    help: str = ""
    unit: str = ""
    choices: tuple[str, ...] = ()
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    pattern: str | None = None
    item: str = ""
    registry: Registry[Any] | None = None

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.key.rpartition(".")[2]

    @property
    def section(self) -> str:
        """Everything before the last part of the key; empty at the top level."""
        return self.key.rpartition(".")[0]

    def expectation(self) -> str:
        """What a right value is, in words that finish "it must be ..."."""
        if self.kind == "bool":
            return "true or false"
        if self.registry is not None:
            inner = self.registry.expectation()
            return f"a list, each item {inner}" if self.kind == "list" else inner
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "text":
            # A pattern says nothing to a person; its help lists the forms that it lets through.
            return self.help.split(" (e.g.")[0] if self.pattern else "a text"
        if self.kind == "table":
            return "a table of lists"
        if self.kind == "list":
            inner = f" ({', '.join(self.choices)})" if self.choices else ""
            return f"a list of {self.item}{inner}"
        return ("a whole number" if self.kind == "int" else "a number") + _bounds(self)


def _plain(number: float) -> str:
    """A bound in a sentence; ``:g`` alone would write 4194304 as 4.1943e+06."""
    return f"{number:g}" if abs(number) < 1e6 or number != int(number) else str(int(number))


def _bounds(number: Field | inspect.IntType | inspect.FloatType) -> str:
    """The bounds of a number in words that follow its noun; empty where there are none."""
    lowest = (("of at least", number.ge), ("above", number.gt))
    highest = (("at most", number.le), ("below", number.lt))
    bounds = [f"{word} {_plain(value)}" for word, value in (*lowest, *highest) if value is not None]
    return f" {' and '.join(bounds)}" if bounds else ""


def _leaf(key: str, type_: inspect.Type, default: Any) -> Field:
    """The field of a type as msgspec describes it.

    Raises:
        TypeError: for a type that no form or option can take; a mistake in the schema.
    """
    help_, unit = "", ""
    registry: Registry[Any] | None = None
    # One layer for each Annotated around the type; the bounds of Meta are in the innermost type.
    while isinstance(type_, inspect.Metadata):
        schema = type_.extra_json_schema or {}
        help_ = str(schema.get("description", help_))
        extra = type_.extra or {}
        unit = str(extra.get("unit", unit))
        registry = extra.get("registry", registry)
        type_ = type_.type
    common = {"key": key, "default": default, "help": help_, "unit": unit, "registry": registry}
    match type_:
        case inspect.BoolType():
            return Field(kind="bool", **common)
        case inspect.IntType() | inspect.FloatType():
            kind: FieldKind = "int" if isinstance(type_, inspect.IntType) else "float"
            bounds = {name: getattr(type_, name) for name in ("ge", "gt", "le", "lt")}
            return Field(kind=kind, **bounds, **common)
        case inspect.LiteralType():
            return Field(kind="choice", choices=tuple(str(v) for v in type_.values), **common)
        case inspect.StrType() if registry is None:
            return Field(kind="text", pattern=type_.pattern, **common)
        case inspect.StrType():
            assert registry is not None
            # No choice where a name takes an argument: folder:PATH has to be typed.
            typed = any(part.argument for part in registry.values())
            choices = () if typed else tuple(registry)
            return Field(kind="text" if typed else "choice", choices=choices, **common)
        case inspect.VarTupleType():
            choices, item = _items(type_.item_type, registry)
            return Field(kind="list", choices=choices, item=item, **common)
        case inspect.DictType():
            return Field(kind="table", item="lists", **common)
    raise TypeError(f"{key}: no form for {type_!r}")


def _items(type_: inspect.Type, registry: Registry[Any] | None) -> tuple[tuple[str, ...], str]:
    """What the items of a list may be, and what they are called."""
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    if registry is not None:
        return tuple(registry), "names"
    if isinstance(type_, inspect.LiteralType):
        return tuple(str(value) for value in type_.values), "names"
    if isinstance(type_, inspect.IntType):
        return (), f"whole numbers{_bounds(type_)}"
    if isinstance(type_, inspect.FloatType):
        return (), f"numbers{_bounds(type_)}"
    return (), "texts"


def _walk(type_: type[Struct], prefix: str, out: dict[str, Field]) -> None:
    """Add the leaves of a type, depth first in the order of declaration."""
    info = cast(inspect.StructType, inspect.type_info(type_))
    defaults = msgspec.to_builtins(type_())
    for field in info.fields:
        key = f"{prefix}{field.name}"
        inner = field.type
        while isinstance(inner, inspect.Metadata):
            inner = inner.type
        if isinstance(inner, inspect.StructType):
            _walk(inner.cls, f"{key}.", out)
        else:
            out[key] = _leaf(key, field.type, defaults[field.name])


@functools.cache
def fields(type_: type[Struct]) -> Mapping[str, Field]:
    """All leaves of a configuration type in the order of declaration, by dotted key.

    Cached, since inspecting the types takes 20 ms; the callers share the mapping.
    """
    out: dict[str, Field] = {}
    _walk(type_, "", out)
    return out


def flatten(config: Struct) -> dict[str, Any]:
    """The configuration as dotted keys and builtin values, in the order of declaration."""
    flat: dict[str, Any] = {}

    def walk(table: Struct, prefix: str) -> None:
        # By the values: inspecting the types takes 20 ms, and the first screen waits for this.
        for name in table.__struct_fields__:
            value = getattr(table, name)
            if isinstance(value, Struct):
                walk(value, f"{prefix}{name}.")
            else:
                flat[prefix + name] = msgspec.to_builtins(value)

    walk(config, "")
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of ``flatten``: dotted keys to nested tables."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
        table[name] = value
    return tree


def difference(config: Struct, base: Struct) -> dict[str, Any]:
    """The dotted keys whose value differs from ``base``, with the value in ``config``.

    Args:
        config: the configuration.
        base: of the same type.
    """
    other = flatten(base)
    return {key: value for key, value in flatten(config).items() if value != other.get(key)}
