"""The command line: the options before a command, and the exit code and sentence of a failure."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any

import click

from engine.config.renamed import RenamedSetting
from engine.errors import TrainingError, UserError
from moco_tui.cli.command_group import CommandGroup, OutputError
from moco_tui.cli.command_table import COMMANDS

__all__ = ["COMMANDS", "cli", "main"]


def _print_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    """Prints the version; of a checkout that of its files, whatever was installed of it before."""
    if asked and not ctx.resilient_parsing:
        from engine.machine.installation import program_version

        click.echo(f"moco-tui {program_version()}")
        ctx.exit()


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
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
    # Here and not above: --version, the help and the completion of commands need none of it.
    from moco_tui.cli.options import Settings

    if ctx.invoked_subcommand is not None and os.environ.get("WORLD_SIZE"):
        from moco_tui.cli.ranks import check_alone

        check_alone(ctx.invoked_subcommand)
    ctx.obj = Settings(runs_dir=runs_dir, data_dir=data_dir, device=device, read_only=read_only)
    if ctx.invoked_subcommand is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UserError(
                "The app needs a terminal; use a command instead (moco-tui --help lists them)."
            )
        # What is made until the first screen stays, so a collection would find nothing;
        # MocoApp switches the collector on again.
        gc.disable()
        from moco_tui.app_life import run

        ctx.exit(run(ctx.obj.root, data_dir=ctx.obj.data, device=device, read_only=read_only))


def main(args: list[str] | None = None) -> Any:
    """Entry point: every failure becomes one sentence on stderr and an exit code."""
    # cuda:0 is then the card that nvidia-smi and the form call 0. Read when CUDA is begun with.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name with characters that the locale's encoding lacks is printed with "?" for each.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(_exit_code(args))


def _exit_code(args: list[str] | None) -> int:
    """Calls a command, and says in one sentence why it failed if it did.

    Returns:
        0; 1 for a run that failed; 2 for what the caller can set right; 130 after an interruption.
    """
    try:
        with _renamed_settings_in_lines():
            # Not standalone: click would print its own messages and leave with its own codes.
            code = cli.main(args, prog_name="moco-tui", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as early_exit:  # of --help and --version
        return early_exit.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say("interrupted")
        return 130  # 128 + SIGINT, as a shell reports it
    except click.ClickException as error:
        _say(_sentence(error.format_message()))
        return 2
    except UserError as error:
        _say(str(error))
        return 1 if isinstance(error, TrainingError) else 2
    except OutputError as error:
        return _output_failed(error)


def _output_failed(error: OutputError) -> int:
    _discard_output()
    if isinstance(error.__cause__, BrokenPipeError):  # the reader of a pipe has enough
        return 0
    _say(f"The output cannot be written: {error.__cause__}.")
    return 2


@contextlib.contextmanager
def _renamed_settings_in_lines() -> Iterator[None]:
    """Prints a warning of an old name of a setting once, as one plain line on stderr."""
    with warnings.catch_warnings():
        show_other, shown = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, RenamedSetting):
                show_other(message, category, *where, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                _say(str(message))

        warnings.filterwarnings("always", category=RenamedSetting)
        warnings.showwarning = show
        yield


def _sentence(text: str) -> str:
    """A message of click's, which may stand in several lines and end without a full stop."""
    words = " ".join(text.split())
    return words if words.endswith((".", "?", "!")) else words + "."


def _say(text: str) -> None:
    from engine.machine.rank_place import speaks
    from moco_tui.cli.output import clean

    if not speaks():  # of several ranks one says it
        return
    # A sentence may repeat what was typed: line ends and escapes in it must not act.
    print(f"moco-tui: {clean(text)}", file=sys.stderr)


def _open_closed_streams() -> None:
    """Opens /dev/null for streams that were closed when this process was started.

    Python has None for such a stream (``sys.__stdout__`` in the documentation of ``sys``).
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def _discard_output() -> None:
    """Throws away what is buffered: it would fail once more when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
