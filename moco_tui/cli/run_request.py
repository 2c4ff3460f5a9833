"""What the commands that ask a run for something share: the request and the wait."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import click

from engine.errors import RunError, UserError
from engine.runs import Ack, RunFolder, described
from engine.runs.submission import known_submission
from engine.sink import Request
from engine.study.workers import answered, ask_workers, living_workers, worker_words
from moco_tui.cli.options import JSON, Settings, complete_run, meaning_of_run, shared_options
from moco_tui.cli.output import clean, print_json, say

LOOK_SECONDS = 0.1
"""How often the record is looked at while a command waits for an answer."""
_sleep = time.sleep  # tests put a step of a simulated trainer in its place


def request_command(kind: Request, help_: str, answered: str) -> click.Command:
    """A command that asks a run for something.

    Args:
        kind: what is asked, and the name of the command.
        help_: help of the command.
        answered: what is printed once the trainer has answered; ``{step}`` is its step.
    """

    @click.command(kind, help=f"{help_}\n\n{meaning_of_run()}")
    @click.argument("run", shell_complete=complete_run)
    @click.option(
        "--wait/--no-wait", default=True, show_default=True, help="Wait for the trainer's answer."
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0.0),
        default=15.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait.",
    )
    @JSON
    @shared_options
    @click.pass_obj
    def command(settings: Settings, run: str, wait: bool, timeout: float, as_json: bool) -> None:
        if math.isnan(timeout):  # which no range refuses, and no time is later than
            raise UserError("--timeout is nan; it must be a number of seconds of at least 0.")
        settings.writable()
        folder = settings.find(run)
        facts: dict[str, Any]
        if kind == "stop" and (said := _withdrawn(folder)):
            if as_json:
                facts = {"id": folder.id, "request": kind, "status": folder.status()}
                print_json(facts | {"acknowledged": True, "step": folder.record().step})
            else:
                print(said)
            return
        ack = ask(folder, kind, timeout if wait else None)
        status, what = folder.status(), clean(described(folder))
        if as_json:
            facts = {"id": folder.id, "request": kind, "status": status}
            step = ack["step"] if ack else None
            print_json(facts | {"acknowledged": ack is not None, "step": step})
        elif ack is not None:
            say(f"run {what}")
            print(answered.format(step=ack["step"]))
        elif status == "queued":
            say(f"run {what} has not started yet; it finds the request to {kind} when it does")
        else:
            say(f"asked run {what} to {kind}")

    return command


def _withdrawn(folder: RunFolder) -> str:
    """Takes a run that waits in Slurm out of its queue; empty for one that is to be asked."""
    if known_submission(folder) is None:
        return ""
    from engine.jobs.slurm_submit import withdraw

    return withdraw(folder)


def ask(folder: RunFolder, kind: Request, timeout: float | None) -> Ack | None:
    """Leaves a request in the run's folder and waits for the trainer's answer.

    Args:
        folder: the run.
        kind: what is asked.
        timeout: seconds to wait for the answer; None: do not wait.

    Returns:
        The answer; None when it was not waited for.

    Raises:
        RunError: no process works on the run, or it gave no answer in time.
    """
    if folder.status() == "lost":
        left = ask_workers(folder, kind)
        if left:
            return _ask_left(folder, left, kind, timeout)
    request = folder.request(kind)
    # A queued run has no trainer yet; the one that starts it finds the request.
    if timeout is None or folder.status() == "queued":
        return None
    return wait_for_answer(folder, kind, request, timeout)


def _ask_left(
    folder: RunFolder, workers: Sequence[RunFolder], kind: Request, timeout: float | None
) -> Ack | None:
    """Waits for the workers of a study whose own process is gone; see ``ask``."""
    deadline = time.monotonic() + (timeout or 0.0)
    while timeout is not None:
        waiting = [worker for worker in workers if not answered(worker, kind)]
        if not waiting:
            return Ack(id="", request=kind, step=folder.record().step, time=time.time())
        if time.monotonic() >= deadline:
            raise RunError(_no_answer(folder, "lost", kind, timeout, waiting))
        _sleep(LOOK_SECONDS)
    return None


def _no_answer(
    folder: RunFolder, status: str, kind: Request, timeout: float, workers: Sequence[RunFolder]
) -> str:
    """That a run gave no answer in time; of a study with workers, which of them it waits for."""
    text = (
        f"Run {folder.id} ({status}) gave no answer within {timeout:g} s; the request to {kind} "
        "stays and is answered when its trainer gets to it"
    )
    named = "; ".join(clean(worker_words(worker)) for worker in workers)
    return f"{text}. It waits for {named}." if named else f"{text}."


def wait_for_answer(folder: RunFolder, kind: Request, request: str, timeout: float) -> Ack:
    """Waits until the trainer has answered a request.

    Args:
        folder: the run.
        kind: what was asked.
        request: id of the request.
        timeout: seconds.

    Returns:
        The acknowledgement.

    Raises:
        RunError: the run ended without an answer, or none came in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        # In this order: the trainer writes its answer, removes the request, and only then ends.
        status = folder.status()
        waiting = any(asked.id == request for asked in folder.pending_requests())
        ack = folder.record().ack
        ended = status in ("finished", "stopped", "failed", "lost")
        # An id is larger than all that were there when it was made (engine.runs.requests), so a
        # larger one is of a later request. Of a run that has ended an earlier stop counts as well:
        # somebody else asked for it a moment before.
        counts_earlier = ended and kind == "stop"
        if ack is not None and ack["request"] == kind and (ack["id"] >= request or counts_earlier):
            return ack
        if ack is not None and ack["id"] >= request and not waiting:
            return ack  # of a later request, before which this one was answered and removed
        if ended:
            raise RunError(f"Run {folder.id} is {status}; it did not answer the request to {kind}.")
        if not waiting:
            raise RunError(f"The request to {kind} run {folder.id} was dropped without an answer.")
        if time.monotonic() >= deadline:
            waited = [worker for worker in living_workers(folder) if not answered(worker, kind)]
            raise RunError(_no_answer(folder, status, kind, timeout, waited))
        _sleep(LOOK_SECONDS)
