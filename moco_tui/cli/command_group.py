"""The group of all commands: imports one when it is called, and lists them without importing."""

from __future__ import annotations

import contextlib
import difflib
import errno
import sys
from collections.abc import Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

from engine.errors import UserError
from moco_tui.cli.command_table import COMMANDS, listed_commands, load_command

# What a write to stdout fails with: closed pipe, full disk or quota, gone terminal, closed stream.
_OUTPUT_ERRNOS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF})


class OutputError(Exception):
    """What a command prints cannot be written; ``__cause__`` is the OSError."""


class CommandGroup(click.Group):
    """A group whose commands are imported when they are called.

    The commands that train import much, which neither the app's start nor the help waits for.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return listed_commands()

    def get_command(  # noqa: D102
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands, each line as click would write it."""
        names = listed_commands()
        # As click.Group does it, which would import every command for its help.
        limit = formatter.width - 6 - max(map(len, names))
        with formatter.section("Commands"):
            formatter.write_dl([(name, _short_help(name, limit)) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands and options that begin like a word that a shell wants completed."""
        commands = [
            CompletionItem(name, help=_short_help(name))
            for name in listed_commands()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:  # noqa: D102
        with _output_errors():  # --version and --help print while they are parsed
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: D102
        with _output_errors():
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, not when the interpreter ends: an error is caught below
            return result

    def resolve_command(  # noqa: D102
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], listed_commands(), n=1)
            hint = f" Did you mean {near[0]}?" if near else " See moco-tui --help."
            raise UserError(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    """Tells errors of writing to stdout from those of files: click would leave with 1 for both."""
    try:
        yield
    except OSError as error:
        # An error with a filename is of that file; a write to a stream names none.
        if error.filename is None and error.errno in _OUTPUT_ERRNOS:
            raise OutputError from error
        raise


def _short_help(name: str, limit: int = 45) -> str:
    """The help of a command, cut to so many characters; the default is click's."""
    return click.Command(name, help=COMMANDS[name].help).get_short_help_str(limit)
