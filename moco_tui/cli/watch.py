"""The command that follows a run as plain lines, from its folder alone."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import click

from engine.errors import RunError
from engine.runs import MetricLog, Record, RunFolder
from moco_tui.cli.common import (
    Settings,
    clean,
    complete_run,
    cut,
    print_json,
    say,
    shared_options,
    terminal_width,
)
from moco_tui.present import fmt
from moco_tui.present.health import not_learning

LOOK_SECONDS = 1.0
RATE_SECONDS = 60.0
_sleep = time.sleep
_monotonic = time.monotonic

EXIT_CODES = {"finished": 0, "failed": 1, "lost": 1, "stopped": 130}
_SHORT = {"train/loss": "loss", "train/lr": "lr", "knn/top1": "kNN %"}


@click.command()
@click.argument("run", shell_complete=complete_run)
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
        return follow(folder, printer, seconds)
    except KeyboardInterrupt:
        printer.end()
        say(f"no longer watching run {folder.id}; it goes on")
        return 130


def _updates_a_line() -> bool:
    import os

    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def follow(folder: RunFolder, printer: _Printer, seconds: float) -> int:
    """Prints the progress of a run until it ends; the exit code.

    Args:
        folder: the run.
        printer: prints.
        seconds: between two lines of progress; a change of state is printed when it is seen.

    Raises:
        RunError: the run folder is gone or damaged.
    """
    log = folder.metrics()
    shown, seen, next_line = "", -1, 0.0
    warned = False
    while True:
        status, record = _look(folder)
        now = _monotonic()
        # A process may hold a stopped run already, to resume it: it says so once torch is loaded.
        ended = status in EXIT_CODES and (status == "finished" or not folder.alive())
        changed = status != shown
        moved = record.step != seen or record.stage is not None
        if changed or (moved and now >= next_line):
            log.poll()
            facts = progress(record, status, log)
            if changed and shown:
                printer.end()
            printer.line(facts)
            warning = "" if warned else not_learning(log, record)
            if warning:
                printer.end()
                say(warning)
                warned = True
            shown, seen, next_line = status, record.step, now + seconds
        if ended:
            printer.end()
            _say_end(record, status)
            return EXIT_CODES[status]
        _sleep(min(seconds, LOOK_SECONDS))


def _look(folder: RunFolder) -> tuple[str, Record]:
    """State and record of one moment."""
    try:
        status = folder.status()
        record = folder.record()
    except RunError:
        if not folder.path.exists():
            raise RunError(f"The folder of run {folder.id} is gone.") from None
        raise
    return (status if status == "lost" else record.status), record


def progress(record: Record, status: str, log: MetricLog) -> dict[str, Any]:
    """What is known of a run now, as builtin values."""
    # A study's steps are its cells: one takes a second, another waits for a pretraining.
    rate = None if record.kind == "study" else steps_per_second(log)
    live = status == "running"
    left = record.total_steps - record.step
    facts: dict[str, Any] = {
        "id": record.id,
        "kind": record.kind,
        "state": status,
        "step": record.step,
        "total_steps": record.total_steps,
        "epoch": record.epoch,
        "epochs": record.total_steps // record.steps_per_epoch if record.steps_per_epoch else None,
        "stage": dict(record.stage) if record.stage and live else None,
        "metrics": dict(record.last),
        "steps_per_second": rate if live else None,
        "pairs_per_second": rate * record.pairs_per_step if live and rate else None,
        "eta_seconds": left / rate if live and rate and record.total_steps else None,
    }
    return facts


def steps_per_second(log: MetricLog, window: float = RATE_SECONDS) -> float | None:
    """Rate over the last ``window`` seconds of the metric that is written most often.

    None while fewer than two steps are known.
    """
    names = log.names()
    if not names:
        return None
    name = max(names, key=lambda n: len(log.series(n)[0]))
    steps, times = log.series(name)[0], log.times(name)
    if len(times) < 2:
        return None
    first = len(times) - 2
    while first > 0 and times[-1] - times[first - 1] <= window and times[first - 1] <= times[first]:
        first -= 1
    elapsed = times[-1] - times[first]
    return (steps[-1] - steps[first]) / elapsed if elapsed > 0 else None


def words(facts: dict[str, Any]) -> str:
    """The facts as one line."""
    parts = [facts["state"]]
    if facts["epochs"]:
        epoch = min(int(facts["epoch"]) + 1, facts["epochs"])
        parts.append(f"epoch {epoch}/{facts['epochs']}")
    step = "cells" if facts["kind"] == "study" else "step"
    if facts["total_steps"]:
        parts.append(f"{step} {facts['step']}/{facts['total_steps']}")
    elif facts["step"]:
        parts.append(f"{step} {facts['step']}")
    metrics = facts["metrics"]
    for name, short in _SHORT.items():
        if name in metrics:
            digits = ".1f" if "top1" in name else ".4g"
            parts.append(f"{short} {_number(metrics[name], digits)}")
    for name, value in metrics.items():
        if name not in _SHORT and ("top1" in name or "accuracy" in name):
            parts.append(f"{clean(name)} {_number(value, '.1f')}")
    if facts["stage"]:
        stage = facts["stage"]
        parts.append(f"{clean(stage['name'])} {stage['done']}/{stage['total']}")
    if facts["pairs_per_second"]:
        parts.append(f"{facts['pairs_per_second']:,.0f} pairs/s")
    elif facts["steps_per_second"]:
        parts.append(f"{facts['steps_per_second']:,.3g} steps/s")
    if facts["eta_seconds"] is not None and facts["eta_seconds"] > 0:
        parts.append(f"ETA {fmt.duration(facts['eta_seconds'])}")
    return "  ".join(parts)


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else fmt.number(value)


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
            print(f"{time.strftime('%H:%M:%S')}  {words(facts)}")
        else:
            # The width may have changed since the last line.
            width = terminal_width() or self._width
            sys.stdout.write(f"\r{cut(words(facts), width - 1)}\x1b[K")
            self._open = True
        sys.stdout.flush()

    def end(self) -> None:
        """Leaves the line that was being written over."""
        if self._open:
            self._open = False
            sys.stdout.write("\n")
            sys.stdout.flush()
