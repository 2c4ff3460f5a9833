"""Options that commands share, and the places that they name."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.config import own_code
from engine.errors import ConfigError, UserError
from engine.runs import RunFolder, find, folder_names, runs_root
from engine.runs.checkpoint_ref import CheckpointRef, find_checkpoint
from engine.runs.lookup import LatestOf
from engine.runs.root import data_root

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]


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
        return data_root(self.data_dir)

    def find(self, ref: str, *, latest_of: LatestOf = "") -> RunFolder:
        """The run that an id, a name, the beginning of either or ``latest`` means.

        Every command finds its runs by this; see ``engine.runs.find``.
        """
        return find(self.root, ref, latest_of=latest_of)

    def find_checkpoint(self, ref: str, *, latest_of: LatestOf = "") -> CheckpointRef:
        """The same with a checkpoint behind it: ``RUN@5``, ``RUN@best`` or ``RUN@last``."""
        return find_checkpoint(self.root, ref, latest_of=latest_of)

    def writable(self) -> None:
        """Refuses to go on under ``--read-only``."""
        if self.read_only:
            raise UserError("This would change something, and --read-only was given.")


def shared_options(command: F) -> F:
    """Lets ``--runs-dir``, ``--data-dir``, ``--device`` and ``--read-only`` follow the command."""

    def store(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
        # None or False: not given here, so that what stood before the command's name holds.
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
            flag, is_flag=is_flag, help=help_, expose_value=False, callback=store, default=None
        )(command)
    return command


def option_group(
    parameter: str, group: Callable[..., Any], *options: Decorator[Any]
) -> Decorator[Any]:
    """Options that reach a command together, as one value.

    Args:
        parameter: name of the command's parameter that takes the value.
        group: a dataclass with a field for each option, by the option's name.
        options: decorators made with ``click.option``, in the order of the help.
    """
    names = [field.name for field in dataclasses.fields(group)]  # type: ignore[arg-type]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        # click keeps the options declared so far on the function; ``wraps`` copies them.
        @functools.wraps(command)
        def gathered(*args: Any, **values: Any) -> Any:
            own = {name: values.pop(name) for name in names}
            return command(*args, **values, **{parameter: group(**own)})

        for option in reversed(options):  # the outermost decorator comes first in the help
            gathered = option(gathered)
        return gathered

    return decorate


# --------------------------------------------------------------------------------------------
# Single options


def complete_run(
    ctx: click.Context,
    parameter: click.Parameter,  # noqa: ARG001 - as click calls it
    incomplete: str,
) -> list[str]:
    """The ids that begin like a word that a shell wants completed."""
    # While it completes, click parses the options of the group but does not call it: there is no
    # Settings yet.
    root = runs_root(ctx.find_root().params.get("runs_dir"))
    return [name for name in folder_names(root) if name.startswith(incomplete.lower())]


def _name_own_code(
    ctx: click.Context,  # noqa: ARG001 - as click calls it
    parameter: click.Parameter,  # noqa: ARG001
    paths: tuple[str, ...],
) -> None:
    for path in paths:
        if not own_code.is_path(path):
            raise ConfigError(
                f"--allow-code {path}: it must be package.module:Name, as the record has it."
            )
    own_code.name_paths(paths)


def meaning_of_run(latest: str = "the run that was made last") -> str:
    """What the help of a command says of its RUN.

    Args:
        latest: what the word means to the command.
    """
    return f"RUN is an id, a name, the beginning of either, or latest: {latest}."


_CHECKPOINTS = (
    "RUN@5 is its kept checkpoint of epoch 5, RUN@best that of its best kNN, RUN@last its last one."
)


def run_argument(
    *,
    many: bool = False,
    required: bool = True,
    metavar: str | None = None,
    latest: str = "",
    checkpoints: bool = False,
) -> Decorator[Any]:
    """The argument RUN (or several), and below the help of the command what it may be.

    Args:
        many: any number of runs, in a parameter ``runs``; else one, in ``run``.
        required: at least one has to be given.
        metavar: what the help calls it.
        latest: see ``meaning_of_run``.
        checkpoints: a checkpoint may stand behind it.
    """
    name = "runs" if many else "run"
    argument = click.argument(
        name,
        nargs=-1 if many else 1,
        required=required,
        metavar=metavar,
        shell_complete=complete_run,
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        meaning = meaning_of_run(latest) if latest else meaning_of_run()
        if checkpoints:
            meaning += f" {_CHECKPOINTS}"
        command.__doc__ = f"{inspect.cleandoc(command.__doc__ or '')}\n\n{meaning}"
        return argument(command)

    return decorate


RUN = run_argument()
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
OUTCOME_JSON = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
NAME = click.option("--name", default="", help="A name for the run.")
DETACH = click.option("--detach", is_flag=True, help="Train in a process of its own; return now.")
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Check everything and say what it would be; make no run."
)
SETS = click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting; may be repeated."
)
CONFIG = click.option("--config", "toml", type=click.Path(path_type=Path), help="A TOML file.")
ALLOW_CODE = click.option(
    "--allow-code",
    multiple=True,
    metavar="PATH",
    expose_value=False,
    callback=_name_own_code,
    help="Run the code package.module:Name that somebody else's record names; may be repeated.",
)
