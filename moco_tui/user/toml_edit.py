"""Changing one setting in a TOML text and leaving all else of it, comments included, as it is."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

from engine.errors import ConfigError

_HEADER = re.compile(r"\s*\[(?!\[)")
_MOST_LINES = 200  # that one value may take

Path = tuple[str, ...]


@dataclass(frozen=True)
class _Assignment:
    """Lines ``first`` to ``end`` (exclusive) of a text, and the setting that they assign."""

    path: Path
    first: int
    end: int


def with_value(text: str, path: Path, value: Any) -> str:
    """The text with a setting at this value.

    Args:
        text: TOML.
        path: the names of its tables, then its own.
        value: builtin values.

    Raises:
        ConfigError: when the text is laid out so that it would have to be written anew.
    """
    wanted = _tree_with(tomllib.loads(text), path, value)
    lines = text.splitlines(keepends=True)
    found = _find(lines, path)
    if found is not None:
        head, tail = _around(lines[found.first : found.end])
        made = [*lines[: found.first], f"{head}= {literal(value)}{tail}", *lines[found.end :]]
    else:
        made = _inserted(lines, path, value)
    return _verified("".join(made), wanted)


def has_value(text: str, path: Path) -> bool:
    """Whether a text assigns a setting in lines of its own."""
    return _find(text.splitlines(keepends=True), path) is not None


def without_value(text: str, path: Path) -> str:
    """The text without a setting; unchanged where it has none.

    Raises:
        ConfigError: as ``with_value``.
    """
    lines = text.splitlines(keepends=True)
    found = _find(lines, path)
    wanted = _tree_without(tomllib.loads(text), path)
    made = lines if found is None else [*lines[: found.first], *lines[found.end :]]
    return _verified("".join(made), wanted)


def literal(value: Any) -> str:
    """A value as TOML, in one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_name(key)} = {literal(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").rstrip("\n")


def _name(part: str) -> str:
    """A name as the left side of an assignment, quoted where it must be."""
    return tomli_w.dumps({part: 0}).removesuffix(" = 0\n")


def _verified(text: str, wanted: Mapping[str, Any]) -> str:
    """The text, where it says what it should and nothing else.

    Raises:
        ConfigError: where it does not.
    """
    try:
        if _bare(tomllib.loads(text)) == _bare(wanted):
            return text
    except tomllib.TOMLDecodeError:
        pass
    raise ConfigError(
        "The file is laid out so that this would have to write it anew, without its comments; "
        "moco-tui config edit opens it."
    )


def _bare(tree: Any) -> Any:
    """A tree without empty tables: a heading alone says nothing."""
    if not isinstance(tree, dict):
        return tree
    inner = {name: _bare(value) for name, value in tree.items()}
    return {name: value for name, value in inner.items() if value != {}}


def _tree_with(tree: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    table = made = copy.deepcopy(tree)
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"{'.'.join(path[:-1])} is no table in the file; moco-tui config edit."
            )
    table[path[-1]] = tomllib.loads(f"v = {literal(value)}")["v"]
    return made


def _tree_without(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    table: Any = (made := copy.deepcopy(tree))
    for part in path[:-1]:
        table = table.get(part, {}) if isinstance(table, dict) else {}
    if isinstance(table, dict):
        table.pop(path[-1], None)
    return made


# --------------------------------------------------------------------------------------------
# Lines


def _find(lines: Sequence[str], path: Path) -> _Assignment | None:
    """Where a setting is assigned by lines of its own."""
    section: Path = ()
    number = 0
    while number < len(lines):
        line = lines[number]
        if _HEADER.match(line):
            section = _header(line) or section
            number += 1
            continue
        end, inner = _assigned(lines, number)
        if inner is not None and section + inner == path:
            return _Assignment(path, number, end)
        number = end
    return None


def _header(line: str) -> Path | None:
    """The names in a heading (``[a.b]``); None for a line that is none."""
    try:
        return _only_path(tomllib.loads(line))
    except tomllib.TOMLDecodeError:
        return None


def _assigned(lines: Sequence[str], first: int) -> tuple[int, Path | None]:
    """Where an assignment that begins in a line ends, and what it assigns below its section."""
    if not lines[first].strip() or lines[first].lstrip().startswith("#"):
        return first + 1, None
    head = _left_side(lines[first])
    if head is None:
        return first + 1, None
    for end in range(first + 1, min(len(lines), first + _MOST_LINES) + 1):
        try:
            tomllib.loads("".join(lines[first:end]))
        except tomllib.TOMLDecodeError:
            continue
        return end, _only_path(tomllib.loads(f"{head}= {{}}"))
    return first + 1, None


def _left_side(line: str) -> str | None:
    """What stands before the equals sign of an assignment; None where there is none."""
    for place, character in enumerate(line):
        if character == "=":
            try:
                tomllib.loads(f"{line[:place]}= 0")
            except tomllib.TOMLDecodeError:  # it stands within quotes
                continue
            return line[:place]
    return None


def _only_path(tree: Mapping[str, Any]) -> Path:
    """The names down to the innermost of tables that have one item each."""
    path: list[str] = []
    while tree:
        (name,) = tree
        path.append(name)
        tree = tree[name]
    return tuple(path)


def _around(lines: Sequence[str]) -> tuple[str, str]:
    """What stands before the equals sign of an assignment, and behind its value."""
    head = _left_side(lines[0]) or ""
    last = lines[-1]
    ending = last[len(last.rstrip("\r\n")) :]
    if len(lines) == 1:
        value = tomllib.loads(last)
        for place, character in enumerate(last):
            if character == "#":
                try:
                    if tomllib.loads(last[:place]) == value:
                        space = last[:place][len(last[:place].rstrip()) :]
                        return head, f"{space}{last[place:]}"
                except tomllib.TOMLDecodeError:  # it stands within quotes
                    continue
    return head, ending


def _inserted(lines: list[str], path: Path, value: Any) -> list[str]:
    """The lines with an assignment behind the last one of its section."""
    section, place = path[:-1], None
    current: Path = ()
    last = -1  # the last line of the section that is not empty
    for number, line in enumerate(lines):
        if _HEADER.match(line) and (header := _header(line)) is not None:
            current = header
        if current == section:
            place = last if not line.strip() and place is not None else number
            last = place
    assignment = f"{_name(path[-1])} = {literal(value)}\n"
    if lines and not lines[-1].endswith("\n"):
        lines = [*lines[:-1], lines[-1] + "\n"]
    if place is not None:
        return [*lines[: place + 1], assignment, *lines[place + 1 :]]
    if not section:  # before the first heading
        return [assignment, *lines]
    heading = ".".join(map(_name, section))
    return [*lines, "\n" if lines else "", f"[{heading}]\n", assignment]
