"""What Slurm has of the runs that were submitted to it, asked rarely: its queue is everybody's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from engine.errors import RunError
from engine.runs import RunFolder
from moco_tui.present import fmt
from moco_tui.present.run_rows import LIVE, RunRow

if TYPE_CHECKING:  # most lists have no run of Slurm, and import nothing for it
    from engine.machine.slurm import QueueLine
    from engine.runs.submission import Submission

ASK_SECONDS = 30.0
"""How often Slurm is asked for the same run."""
ANSWER_SECONDS = 5.0
"""How long it may take: what is shown is no reason to wait longer."""
WAITS = LIVE | {"lost"}
"""States of a run whose job may be in the queue."""
_FILE = "slurm.json"

# Of this module, so that tests can put a clock of their own here.
_monotonic = time.monotonic


class SlurmJobs:
    """The jobs of the runs of a folder; any thread may look.

    Args:
        root: the runs folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._words: dict[str, str] = {}  # by run
        # By run: the stamp of what it was submitted as, and when Slurm was asked for that.
        self._asked: dict[str, tuple[int, float]] = {}
        self._told: set[str] = set()
        self._looking = threading.Lock()

    def words(self, run: str) -> str:
        """What is known of the job of a run; empty for none."""
        return self._words.get(run, "")

    def told(self, rows: dict[str, RunRow]) -> dict[str, RunRow]:
        """The rows, each with what is known of its job."""
        return rows | self.news(rows.get)

    def news(self, row_of: Callable[[str], RunRow | None]) -> dict[str, RunRow]:
        """The rows of which something else is known now, as they are with that.

        Args:
            row_of: gives the row of a run, None where there is none.
        """
        words = dict(self._words)
        found = {}
        for run in self._told | words.keys():
            row = row_of(run)
            shown = words.get(run, "") if row is not None and row.status in WAITS else ""
            if row is not None and row.job != shown:
                found[run] = structs.replace(row, job=shown)
        self._told = set(words)
        return found

    def look_behind(self, runs: Iterable[str]) -> None:
        """``look`` in a thread of its own, unless one is looking."""
        due = self._due(runs)
        if due and not self._looking.locked():
            # A daemon: nobody who leaves waits for an answer of Slurm's.
            threading.Thread(target=self.look, args=(list(due),), name="slurm", daemon=True).start()

    def look_behind_one(self, run: str, status: str) -> None:
        """The same for one run in this state."""
        self.look_behind([run] if status in WAITS else [])

    def _due(self, runs: Iterable[str]) -> dict[str, int]:
        """Of these runs those that were submitted and for which it is time to ask, with stamps."""
        now = _monotonic()
        found = {}
        for run in runs:
            try:
                stamp = os.lstat(f"{self._root}/{run}/{_FILE}").st_mtime_ns
            except OSError:
                self._words.pop(run, None)
                continue
            before, asked = self._asked.get(run, (0, 0.0))
            if stamp != before or now - asked >= ASK_SECONDS:
                found[run] = stamp
        return found

    def look(self, runs: Iterable[str]) -> None:
        """Ask Slurm for the jobs of runs, for which it is time; nothing is asked for none."""
        due = self._due(runs)
        if not due or not self._looking.acquire(blocking=False):
            return
        try:
            self._look(due)
        finally:
            self._looking.release()

    def _look(self, runs: Mapping[str, int]) -> None:
        from engine.machine.slurm import queue_lines
        from engine.runs.submission import job_name, known_submission

        found = {run: known_submission(RunFolder(self._root / run)) for run in runs}
        jobs = [submission.job for submission in found.values() if submission is not None]
        lines: Mapping[str, Sequence[QueueLine]] = {}
        answered = True
        try:
            lines = queue_lines(jobs, seconds=ANSWER_SECONDS)
        except RunError:  # of a machine outside the cluster, too: no reason to fill a list
            answered = False
        for run, submission in found.items():
            self._asked[run] = runs[run], _monotonic()
            if submission is None:
                self._words.pop(run, None)
                continue
            name = job_name(RunFolder(self._root / run))
            own = [line for line in lines.get(submission.job, ()) if line.name == name]
            self._words[run] = job_words(submission, own, answered=answered)


def may_wait(rows: Iterable[RunRow]) -> list[str]:
    """The ids of runs that may have a job in the queue."""
    return [row.id for row in rows if row.status in WAITS]


def job_words(submission: Submission, lines: Sequence[QueueLine], *, answered: bool = True) -> str:
    """The job of a run in few words.

    Args:
        submission: as the run folder has it.
        lines: what the queue holds of it.
        answered: whether Slurm could be asked.
    """
    what = f"Slurm {'jobs' if submission.tasks else 'job'} {submission.job}"
    if not answered:
        return f"{what}: Slurm gives no answer here"
    waiting = [line for line in lines if line.state == "PENDING"]
    begun = [line for line in lines if line.state != "PENDING"]
    if not lines:
        verb = "have" if submission.tasks else "has"
        return f"{what} {verb} left the queue"
    if not submission.tasks:
        line = lines[0]
        at = f" on {line.nodes}" if line.nodes else ""
        words = f"waits: {line.reason}" if waiting else f"is {line.state.lower()}{at}"
        return fmt.clean(f"{what} {words}")
    parts = []
    if begun:
        parts.append(f"{sum(line.tasks for line in begun)} run")
    if waiting:
        reasons = ", ".join(dict.fromkeys(line.reason for line in waiting))
        parts.append(f"{sum(line.tasks for line in waiting)} wait ({reasons})")
    return fmt.clean(f"{what}: {', '.join(parts)}")


def submission_words(folder: RunFolder, status: str) -> str:
    """The job of a run that was submitted, with what it asked for; empty for any other run.

    Args:
        folder: the run.
        status: its state. While it may wait, Slurm is asked.
    """
    from engine.runs.submission import known_submission

    submission = known_submission(folder)
    if submission is None:
        return ""
    jobs = SlurmJobs(folder.path.parent)
    if status in WAITS:
        jobs.look([folder.id])
    words = jobs.words(folder.id) or f"was job {submission.job}"
    options = structs.asdict(submission.options)
    asked = [f"{name} {value}" for name, value in options.items() if value and name != "warn"]
    return fmt.clean("; ".join([words, *asked]))
