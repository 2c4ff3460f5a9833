"""The commands. Each group lives in a module that is imported only when one of it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from engine.errors import TrainingError, UserError

# Command -> module that defines it, under the attribute of the same name (dashes as underscores).
COMMANDS: dict[str, str] = {
    "pretrain": "train",
    "probe": "train",
    "resume": "train",
    "demo": "demo",
    "presets": "presets",
    "runs": "browse",
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
        from moco_tui.app import run

        ctx.exit(run(ctx.obj.root, data_dir=ctx.obj.data, device=device, read_only=read_only))


def main(args: list[str] | None = None) -> Any:
    """Entry point: every failure becomes one sentence on stderr and an exit code."""
    try:
        code = cli.main(args, prog_name="moco-tui", standalone_mode=False)
        sys.stdout.flush()
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
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is left to say
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)


def _say(text: str) -> None:
    from moco_tui.cli.common import clean

    # A sentence may repeat what was typed: line ends and escapes in it must not act.
    print(f"moco-tui: {clean(text)}", file=sys.stderr)
