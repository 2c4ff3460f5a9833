"""Keys that act on runs of Slurm: stopping one that waits, and submitting one again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from textual.dom import DOMNode

from engine.errors import UserError
from engine.runs import RunFolder
from engine.runs.submission import known_submission
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.session import Session
from moco_tui.widgets.background_work import work_behind


def is_submitted(folder: RunFolder) -> bool:
    """Whether a run was submitted to Slurm."""
    return known_submission(folder) is not None


def withdraw_behind(screen: BaseScreen, folder: RunFolder, title: str) -> None:
    """Take the job of a run out of the queue, or ask a run that has begun to stop.

    In a thread: Slurm may take its time.

    Args:
        screen: says what was done.
        folder: the run.
        title: of the run, safe to print.
    """

    def withdraw() -> str:
        from engine.jobs.slurm_submit import withdraw as take_out  # the first screen stops nothing

        said = take_out(folder)
        if not said:
            folder.request("stop")
        return f"{title} is {said}." if said else f"{title} stops after its present step."

    work_behind(screen, partial(_said, withdraw, screen.say), group="slurm")


def submit_again_behind(
    node: DOMNode, session: Session, folder: RunFolder, say: Callable[..., None]
) -> None:
    """Submit a run again, which goes on from its checkpoint; in a thread.

    Args:
        node: runs the thread.
        session: where data sets are.
        folder: the run.
        say: shows a sentence.
    """

    def submit() -> str:
        from moco_tui.training.slurm_runs import submit_again

        submission = submit_again(folder, session.data_dir)
        return f"{folder.title()} is submitted to Slurm again, as job {submission.job}."

    work_behind(node, partial(_said, submit, say), group="slurm")


async def _said(act: Callable[[], str], say: Callable[..., None]) -> None:
    """Act in a thread, then say what was done, or why not."""
    try:
        say(await asyncio.to_thread(act))
    except UserError as error:
        say(str(error), severity="error")
