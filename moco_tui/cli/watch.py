"""The command that follows a run as plain lines, from its folder alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from engine.errors import RunError
from engine.files import is_gone
from engine.runs import Record, RunFolder
from moco_tui.cli.options import RUN, Settings, shared_options
from moco_tui.cli.output import clean, cut, print_json, say, terminal_width
from moco_tui.cli.user_notifier import tell_that_lost
from moco_tui.present.diagnoses import diagnose
from moco_tui.present.run_progress import progress_facts, progress_text

LOOK_SECONDS = 1.0
"""Seconds between two looks at the run, where its lines are further apart."""
_sleep = time.sleep  # tests put a clock of their own in place of both
_monotonic = time.monotonic

EXIT_CODES = {"finished": 0, "failed": 1, "lost": 1, "stopped": 130}
"""The code of the command by the state in which the run ended."""


@click.command()
@RUN
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05),
    default=None,
    metavar="SECONDS",
    help="Seconds between lines. [default: 10, in a terminal 1]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@shared_options
@click.pass_obj
def watch(settings: Settings, run: str, interval: float | None, as_json: bool) -> int:
    """Print the progress of RUN until it ends.

    Ends with 0 when the run finished, 1 when it failed or was lost, 130 when it was stopped.
    Ctrl-C ends the watching only.
    """
    folder = settings.find(run)
    width = None if as_json or not _updates_a_line() else terminal_width()
    printer = _Printer(as_json=as_json, width=width)
    seconds = interval or (10.0 if width is None else 1.0)
    try:
        return follow(folder, printer, seconds, None if settings.read_only else tell_that_lost)
    except KeyboardInterrupt:
        printer.end()
        say(f"no longer watching run {folder.id}{_state_now(folder)}")
        return 130


def _state_now(folder: RunFolder) -> str:
    """What becomes of a run when nobody watches it, as the end of a sentence."""
    try:
        status = folder.status()
    except RunError:
        return ""
    return "; it goes on" if status in ("running", "handed-over") else f"; it is {status}"


def _updates_a_line() -> bool:
    import os

    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def follow(
    folder: RunFolder,
    printer: _Printer,
    seconds: float,
    told: Callable[[RunFolder], None] | None = None,
) -> int:
    """Prints the progress of a run until it ends; the exit code.

    Args:
        folder: the run.
        printer: prints.
        seconds: between two lines of progress; a change of state is printed when it is seen.
        told: called with a run that is lost; None: nobody else is told.

    Raises:
        RunError: the run folder is gone or damaged.
    """
    log = folder.metrics()
    shown, seen, next_line = "", -1, 0.0
    noticed, said = False, set[str]()
    while True:
        status, record = _look(folder)
        now = _monotonic()
        # A process that resumes a stopped run holds it for seconds, while it imports torch, before
        # the record says that it runs.
        ended = status in EXIT_CODES and (status == "finished" or not folder.alive())
        changed = status != shown
        moved = record.step != seen or record.stage is not None
        if changed or (moved and now >= next_line):
            log.poll()
            if log.notice and not noticed:
                printer.end()
                say(clean(log.notice))
                noticed = True
            facts = progress_facts(record, status, log)
            if changed and shown:
                printer.end()
            printer.line(facts)
            for finding in diagnose(log, record):
                if finding.name not in said:
                    printer.end()
                    say(clean(finding.text))
                    said.add(finding.name)
            shown, seen, next_line = status, record.step, now + seconds
        if ended:
            printer.end()
            _say_end(record, status)
            if status == "lost" and told is not None:
                told(folder)
            return EXIT_CODES[status]
        _sleep(min(seconds, LOOK_SECONDS))


def _look(folder: RunFolder) -> tuple[str, Record]:
    """State and record of one moment.

    Raises:
        RunError: the run folder is gone or damaged.
    """
    try:
        status = folder.status()
        record = folder.record()
    except RunError:
        if is_gone(folder.path):
            raise RunError(f"The folder of run {folder.id} is gone.") from None
        raise
    # The record was read after the status and may be newer; only "lost" does not stand in it.
    return (status if status == "lost" else record.status), record


def _say_end(record: Record, status: str) -> None:
    if status == "failed":
        say(f"run {record.id} failed: {clean(record.error) or 'no reason is recorded'}")
    elif status == "lost":
        say(f"run {record.id} is lost: its process is gone.{_resume_hint(record)}")
    elif status == "stopped":
        say(f"run {record.id} was stopped.{_resume_hint(record)}")


def _resume_hint(record: Record) -> str:
    where = ""
    if record.checkpoint_step is not None and record.kind != "study":
        where = f" from step {record.checkpoint_step}"
    return f" moco-tui resume {record.id} goes on{where}."


class _Printer:
    """Prints lines with the time of day, or one line that is written over.

    Args:
        as_json: print every state of things as a JSON object on a line of its own.
        width: columns of the terminal whose line is written over; None: lines below each other.
    """

    def __init__(self, *, as_json: bool, width: int | None) -> None:
        self._json, self._width = as_json, width
        self._open = False

    def line(self, facts: dict[str, Any]) -> None:
        """Prints the facts."""
        if self._json:
            print_json({"time": time.time(), **facts}, indent=None)
        elif self._width is None:
            print(f"{time.strftime('%H:%M:%S')}  {clean(progress_text(facts))}")
        else:
            width = terminal_width() or self._width  # it may have changed since the last line
            # Back to the first column, and erase what a longer line has left (EL, ECMA-48). The
            # last column stays free: a character there makes some terminals go to the next line.
            sys.stdout.write(f"\r{cut(clean(progress_text(facts)), width - 1)}\x1b[K")
            self._open = True
        sys.stdout.flush()

    def end(self) -> None:
        """Leaves the line that was being written over."""
        if self._open:
            self._open = False
            sys.stdout.write("\n")
            sys.stdout.flush()
