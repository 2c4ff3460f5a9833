"""The commands. Each group lives in a module that is imported only when one of it is called."""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any

import click

from engine.config.renamed import RenamedSetting
from engine.errors import TrainingError, UserError

# Command -> module that defines it, under the attribute of the same name (dashes as underscores).
COMMANDS: dict[str, str] = {
    "pretrain": "train",
    "probe": "train",
    "study": "study",
    "resume": "train",
    "demo": "demo",
    "presets": "presets",
    "runs": "runs",
    "show": "show",
    "compare": "compare",
    "watch": "watch",
    "pause": "control",
    "continue": "control",
    "stop": "control",
    "checkpoint": "control",
    "tag": "annotate",
    "note": "annotate",
    "rename": "annotate",
    "delete": "annotate",
    "restore": "annotate",
    "export": "export",
    "reindex": "index",
    "doctor": "doctor",
    "completion": "completion",
    "_train": "train",
    "_estimate": "train",
}


_OUTPUT_ERRNOS = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF})


class OutputError(Exception):
    """What a command prints cannot be written; the cause is its ``__cause__``."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called.

    A start of the app must not pay for the commands that train.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return [name for name in COMMANDS if not name.startswith("_")]

    def get_command(  # noqa: D102
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"moco_tui.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.strip("_").replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: D102
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except OSError as error:  # click would leave with 1, which says that a run failed
            if error.filename is None and error.errno in _OUTPUT_ERRNOS:
                raise OutputError from error
            raise

    def resolve_command(  # noqa: D102
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]}?" if near else " See moco-tui --help."
            raise UserError(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(None, "--version", package_name="moco-tui", message="moco-tui %(version)s")
@click.option("--runs-dir", metavar="DIR", help="Run folders. [default: $MOCO_TUI_RUNS or ./runs]")
@click.option("--data-dir", metavar="DIR", help="Data sets and caches.")
@click.option("--device", metavar="D", help="auto, cuda, cuda:N, cpu or mps.")
@click.option("--read-only", is_flag=True, help="Look only; change nothing.")
@click.pass_context
def cli(
    ctx: click.Context,
    runs_dir: str | None,
    data_dir: str | None,
    device: str | None,
    read_only: bool,
) -> None:
    """MoCo pretraining and label-efficient probes. Without a command: the app."""
    from moco_tui.cli.common import Settings

    ctx.obj = Settings(runs_dir=runs_dir, data_dir=data_dir, device=device, read_only=read_only)
    if ctx.invoked_subcommand is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UserError(
                "The app needs a terminal; use a command instead (moco-tui --help lists them)."
            )
        gc.disable()  # nothing that a start makes is garbage; the app switches it on again
        from moco_tui.app import run

        ctx.exit(run(ctx.obj.root, data_dir=ctx.obj.data, device=device, read_only=read_only))


def main(args: list[str] | None = None) -> Any:
    """Entry point: every failure becomes one sentence on stderr and an exit code."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the locale cannot spell is no crash
            stream.reconfigure(errors="replace")
    try:
        with _warnings_in_lines():
            code = cli.main(args, prog_name="moco-tui", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _say("interrupted")
        sys.exit(130)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        _say(error.format_message())
        sys.exit(2)
    except TrainingError as error:
        _say(str(error))
        sys.exit(1)
    except UserError as error:
        _say(str(error))
        sys.exit(2)
    except OutputError as error:
        _discard_output()
        if isinstance(error.__cause__, BrokenPipeError):  # the reader of a pipe has enough
            sys.exit(0)
        _say(f"The output cannot be written: {error.__cause__}.")
        sys.exit(2)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)


@contextlib.contextmanager
def _warnings_in_lines() -> Iterator[None]:
    """What was typed under an old name is told in one line, not as Python tells its warnings."""
    with warnings.catch_warnings():
        default = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, RenamedSetting):
                _say(str(message))
            else:
                default(message, category, *where, **more)

        warnings.filterwarnings("always", category=RenamedSetting)
        warnings.showwarning = show
        yield


def _say(text: str) -> None:
    from moco_tui.cli.common import clean

    # A sentence may repeat what was typed: line ends and escapes in it must not act.
    print(f"moco-tui: {clean(text)}", file=sys.stderr)


def _open_closed_streams() -> None:
    """Whoever starts a command with closed streams wants to hear nothing; no reason to fail."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def _discard_output() -> None:
    """What is still buffered would fail once more when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
