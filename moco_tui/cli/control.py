"""Commands that ask a run for something: pause, continue, stop, checkpoint."""

from __future__ import annotations

import time
from typing import Any

import click

from engine.errors import RunError
from engine.runs import Ack, RunFolder
from engine.sink import Request
from moco_tui.cli.common import Settings, complete_run, print_json, say, shared_options

LOOK_SECONDS = 0.1
_sleep = time.sleep

_HELP: dict[Request, str] = {
    "pause": "Pause RUN after its current step, with a checkpoint.",
    "continue": "Go on with a paused RUN.",
    "stop": "Stop RUN after its current step, with a checkpoint. Resume goes on from there.",
    "checkpoint": "Write a checkpoint of RUN now.",
}
_DONE: dict[Request, str] = {
    "pause": "paused after step {step}",
    "continue": "going on after step {step}",
    "stop": "stopping after step {step}",
    "checkpoint": "checkpoint of step {step} written",
}


def _command(kind: Request) -> click.Command:
    @click.command(kind, help=_HELP[kind])
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
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @shared_options
    @click.pass_obj
    def command(settings: Settings, run: str, wait: bool, timeout: float, as_json: bool) -> None:
        ask(settings, run, kind, timeout=timeout if wait else None, as_json=as_json)

    return command


# One of the names is a keyword of the language, so no def statement can give it.
for _kind in _HELP:
    globals()[_kind] = _command(_kind)


def ask(
    settings: Settings, ref: str, kind: Request, *, timeout: float | None, as_json: bool
) -> None:
    """Leaves a request in the run's folder and prints what the trainer answers.

    Args:
        settings: where the runs are.
        ref: which run.
        kind: what is asked.
        timeout: seconds to wait for the answer; None: do not wait.
        as_json: print JSON.

    Raises:
        RunError: nobody can answer, or nobody did in time.
    """
    settings.writable()
    folder = settings.find(ref)
    request = folder.request(kind)
    ack: Ack | None = None
    status: str = folder.status()
    # A queued run has no trainer yet: its first look, once it starts, finds the request.
    if timeout is not None and status != "queued":
        ack = wait_for_answer(folder, kind, request, timeout)
        status = folder.status()
    if as_json:
        facts: dict[str, Any] = {"id": folder.id, "request": kind, "status": status}
        print_json(facts | {"acknowledged": ack is not None, "step": ack["step"] if ack else None})
    elif ack is not None:
        print(_DONE[kind].format(step=ack["step"]))
    elif status == "queued":
        say(f"run {folder.id} has not started yet; it finds the request to {kind} when it does")
    else:
        say(f"asked run {folder.id} to {kind}")


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
        if ack is not None and ack["request"] == kind and (ack["id"] >= request or ended):
            return ack
        if ack is not None and ack["id"] >= request and not waiting:
            return ack  # of a later request: this one was answered before it
        if ended:
            raise RunError(f"Run {folder.id} is {status}; it did not answer the request to {kind}.")
        if not waiting:
            raise RunError(f"The request to {kind} run {folder.id} was dropped without an answer.")
        if time.monotonic() >= deadline:
            raise RunError(
                f"Run {folder.id} ({status}) gave no answer within {timeout:g} s; the request "
                f"to {kind} stays and is answered when its trainer gets to it."
            )
        _sleep(LOOK_SECONDS)
