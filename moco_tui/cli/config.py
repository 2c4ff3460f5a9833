"""The command for the user's own configuration: what is in force, from where, and changing it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from engine.config.phrases import shown_value
from engine.errors import ConfigError, UserError
from moco_tui.cli.options import JSON, Settings, shared_options
from moco_tui.cli.output import clean, print_json, print_text, say, table, terminal_width
from moco_tui.cli.user_settings import InForce, in_force, value_text
from moco_tui.user.user_file import config_path, read_user_file

if TYPE_CHECKING:
    from moco_tui.screens.key_table import BoundKey

_INDENT = "    "
_WIDTH = 100  # of descriptions, in columns


@click.group(invoke_without_command=True)
@click.option("--path", "only_path", is_flag=True, help="Print the name of the file alone.")
@JSON
@shared_options
@click.pass_context
def config(ctx: click.Context, only_path: bool, as_json: bool) -> int:
    """Print your own configuration: what is in force, and why.

    It is the file config.toml in your folder for such files, or the one that MOCO_TUI_CONFIG names.
    It changes what you see and are told, never what a run computes. Without the file everything has
    its default; what is wrong in it is named and left out.

    A theme and the columns of the list that are chosen in the app are kept in state.toml beside it,
    and hold until the file names others than it did then.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    if only_path:
        print_text(clean(str(config_path())))
        return 0
    user = read_user_file()
    bound = _bound_keys() if user.config.keys else {}
    found = in_force(user, {id_: one.description for id_, one in bound.items()})
    problems = _problems()
    if as_json:
        facts = [
            {"key": one.key, "value": one.value, "from": one.source, "description": one.description}
            for one in found
        ]
        print_json({"path": str(user.path), "settings": facts, "problems": problems})
        return 0
    say(str(user.path) if user.path.exists() else f"{user.path} (there is no such file yet)")
    print_text(_listing(found, min(terminal_width() or _WIDTH, _WIDTH)))
    for problem in problems:
        say(problem)
    return 0


def _listing(found: list[InForce], width: int) -> str:
    """The settings as a table, each with its description below it."""
    rows = [(one.key, value_text(one, secret=True), one.source) for one in found]
    head, *lines = table(("setting", "value", "from"), rows).split("\n")
    for number, one in enumerate(found):
        words = textwrap.wrap(one.description, max(width - len(_INDENT), 20))
        lines[number] = "\n".join([lines[number], *(f"{_INDENT}{line}" for line in words)])
    return "\n".join([head, *lines])


@config.command()
@click.argument("key")
@shared_options
def get(key: str) -> None:
    """Print the value of KEY that is in force."""
    print_text(value_text(_setting(key)))


def _setting(key: str) -> InForce:
    """A setting that is in force.

    Raises:
        ConfigError: when there is none of this name, or nothing stands in its place.
    """
    from moco_tui.user.user_values import table_of, typed

    for one in in_force(read_user_file()):
        if one.key == key:
            return one
    if table_of(key) == "keys":
        known = _bound_keys()
        name = key.removeprefix("keys.")
        if name not in known:
            raise _no_binding(name)
        return InForce(key, known[name].keys, "default", known[name].description)
    typed(key, [""])  # raises where it is no setting at all
    raise ConfigError(f"{key} is not set; the form begins with what its preset has.", key)


@config.command("set")
@click.argument("key")
@click.argument("values", nargs=-1, required=True, metavar="VALUE...")
@shared_options
@click.pass_obj
def set_(settings: Settings, key: str, values: tuple[str, ...]) -> None:
    """Put KEY into the file with this VALUE; all else in the file stays, comments included.

    A list takes several words, or one TOML list.
    """
    settings.writable()
    from moco_tui.user.toml_edit import literal
    from moco_tui.user.user_edit import set_setting
    from moco_tui.user.user_values import table_of

    if key == "theme" and values[0]:
        from moco_tui.screens.user_choices import theme_problem

        if problem := theme_problem(values[0]):
            raise ConfigError(problem, key)
    name = key.removeprefix("keys.")
    if table_of(key) == "keys" and name not in _bound_keys():
        raise _no_binding(name)
    before = set(_problems())
    path = config_path()
    whole, value = set_setting(path, key, values)
    say(f"{whole} = {literal(value)}, in {path}")
    for problem in _problems():
        if problem not in before:  # such as a key that is taken
            say(problem)


@config.command()
@click.argument("key")
@shared_options
@click.pass_obj
def unset(settings: Settings, key: str) -> None:
    """Take KEY out of the file, so that its default holds."""
    settings.writable()
    from moco_tui.user.user_edit import unset_setting

    path = config_path()
    if unset_setting(path, key):
        say(f"{clean(key)} is no longer in {path}")
    else:
        say(f"{clean(key)} is not in {path}: its default holds")


@config.command()
@shared_options
@click.pass_obj
def edit(settings: Settings) -> int:
    """Open the file in $VISUAL or $EDITOR, and say what is wrong in it afterwards.

    Ends with 2 when something is.
    """
    settings.writable()
    from moco_tui.user.user_edit import make_file

    path = config_path()
    make_file(path)
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.call([*shlex.split(command), str(path)])
    except (OSError, ValueError) as error:
        raise UserError(
            f"The editor {shown_value(command)} cannot be started ({shown_value(str(error))}); "
            "VISUAL or EDITOR names another one."
        ) from None
    if code:
        raise UserError(f"The editor {shown_value(command)} ended with code {code}.")
    problems = _problems()
    for problem in problems:
        say(problem)
    return 2 if problems else 0


@config.command()
@JSON
@shared_options
def keys(as_json: bool) -> None:
    """List every key of the app that can be another: its id, its keys, what it does."""
    chosen = read_user_file().config.keys
    known = _bound_keys()
    if as_json:
        print_json(
            [
                {
                    "id": one.id,
                    "keys": chosen.get(one.id, one.keys).split(","),
                    "default": one.keys.split(","),
                    "description": one.description,
                }
                for one in known.values()
            ]
        )
        return
    rows = [
        (one.id, chosen.get(one.id, one.keys), one.description, "*" * (one.id in chosen))
        for one in known.values()
    ]
    print_text(table(("id", "keys", "what it does", ""), rows))
    if chosen:
        say(f"* from {config_path()}")
    for problem in _problems():
        say(problem)


def _bound_keys() -> dict[str, BoundKey]:
    """Every binding of the app; imports all of it."""
    import moco_tui.app  # noqa: F401 - its keys are among them
    from moco_tui.screens.key_table import bound_keys

    return bound_keys()


def _no_binding(name: str) -> ConfigError:
    import difflib

    near = difflib.get_close_matches(name[:100], _bound_keys(), n=1)
    hint = f"; did you mean keys.{near[0]}?" if near else "; moco-tui config keys lists them."
    return ConfigError(f"There is no binding {shown_value(name)}{hint}", f"keys.{name}")


def _problems() -> list[str]:
    from moco_tui.screens.user_choices import problems_of  # imports Textual

    user = read_user_file()
    if user.config.keys and "moco_tui.app" not in sys.modules:
        import moco_tui.app  # noqa: F401 - a key may be taken by one of its own
    return problems_of(user)
