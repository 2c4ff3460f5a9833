"""The command that tries the ways in which a person is told that a run has ended."""

from __future__ import annotations

import click

from engine.config.phrases import listed
from engine.errors import UserError
from moco_tui.cli.options import JSON, Settings, shared_options
from moco_tui.cli.output import clean, print_json, print_text, say, table
from moco_tui.cli.user_notifier import command_notifier
from moco_tui.terminal import notice
from moco_tui.user.user_file import read_user_file
from moco_tui.user.user_schema import EVENTS

_WAYS = ("notify.command", "notify.apprise")
_DONE = {"terminal": "written", "command": "done"}


@click.command()
@click.option("--test", is_flag=True, help="Send one in each way that is configured.")
@JSON
@shared_options
@click.pass_obj
def notify(settings: Settings, test: bool, as_json: bool) -> int:
    """Try the notifications of runs that end, fail, are lost or show a fault.

    They are set in your own configuration alone: notify.on, notify.terminal, notify.command,
    notify.apprise (moco-tui config). Ends with 2 when a way has failed.
    """
    if not test:
        raise UserError("moco-tui notify --test sends one in each way that is configured.")
    settings.writable()
    from moco_tui.notify.run_note import sample_note

    user = read_user_file()
    for problem in user.problems:
        say(problem)
    found = command_notifier().send(sample_note(), anyway=True)
    if as_json:
        print_json([{"way": way, "problem": problem} for way, problem in found])
    elif found:
        rows = [(way, clean(problem) or _DONE.get(way, "delivered")) for way, problem in found]
        print_text(table(("way", "what happened"), rows))
    if not notice.is_shown() and user.config.notify.terminal != "off":
        say("terminal: left out, since the output goes to none")
    if not found:
        say(f"no way is configured; moco-tui config set {listed(_WAYS, 'or')} names one")
    left_out = [event for event in EVENTS if event not in user.config.notify.on]
    if left_out:
        say(f"not told, by notify.on: {', '.join(left_out)}")
    return 2 if any(problem for _, problem in found) else 0
