"""What the commands share: where runs and data are, how facts and tables are printed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.errors import UserError
from engine.runs import RunFolder, find, folder_names, runs_root

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Settings:
    """The options that every command takes, before or after its name."""

    runs_dir: str | None = None
    data_dir: str | None = None
    device: str | None = None
    read_only: bool = False

    @cached_property
    def root(self) -> Path:
        """Absolute path of the folder of run folders."""
        return runs_root(self.runs_dir)

    @cached_property
    def data(self) -> Path:
        """Absolute path of the folder of data sets: option, $MOCO_TUI_DATA, or the user's cache."""
        chosen = self.data_dir or os.environ.get("MOCO_TUI_DATA")
        if chosen:
            return Path(chosen).expanduser().absolute()
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(cache).expanduser().absolute() / "moco-tui"

    def find(self, ref: str) -> RunFolder:
        """The run that an id, a unique prefix of one, a name or ``latest`` means."""
        return find(self.root, ref)

    def writable(self) -> None:
        """Refuses to go on under ``--read-only``."""
        if self.read_only:
            raise UserError("This would change something, and --read-only was given.")


def shared_options(command: F) -> F:
    """Lets ``--runs-dir``, ``--data-dir``, ``--device`` and ``--read-only`` follow the command."""

    def keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        if value not in (None, False) and parameter.name:
            setattr(ctx.ensure_object(Settings), parameter.name, value)
        return value

    for flag, help_, is_flag in (
        ("--read-only", "Look only; change nothing.", True),
        ("--device", "auto, cuda, cuda:N, cpu or mps.", False),
        ("--data-dir", "Data sets and caches.", False),
        ("--runs-dir", "Run folders. [default: $MOCO_TUI_RUNS or ./runs]", False),
    ):
        command = click.option(
            flag, is_flag=is_flag, help=help_, expose_value=False, callback=keep, default=None
        )(command)
    return command


def complete_run(
    ctx: click.Context,
    parameter: click.Parameter,  # noqa: ARG001 - as click calls it
    incomplete: str,
) -> list[str]:
    """The ids that begin like a word that a shell wants completed."""
    root = runs_root(ctx.find_root().params.get("runs_dir"))
    return [name for name in folder_names(root) if name.startswith(incomplete.lower())]


def say(text: str) -> None:
    """Narration: stderr, so that stdout stays data."""
    print(text, file=sys.stderr, flush=True)


def print_json(facts: Any, *, indent: int | None = 2) -> None:
    """Facts on stdout, as JSON that any reader takes (no NaN literals); one line without indent."""
    print(json.dumps(_finite(facts), indent=indent, ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Plain text columns; the columns numbered in ``right`` are aligned to the right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(width_of(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        parts = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - width_of(cell))
            parts.append(space + cell if i in right else cell + space)
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def width_of(text: str) -> int:
    """Columns of the terminal that a text takes; an ideogram or an emoji takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """The text in at most ``width`` columns, the last of them ``~`` when something is missing."""
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    kept, used = [], 0
    for character in text:
        used += width_of(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "~"


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None for a file or a pipe, where nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def clean(text: str) -> str:
    """User text with control characters made visible, for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
