"""What a Slurm job does: trains a run or works on a study, saves at a signal, is queued again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from engine.errors import RunBusyError, RunError, TrainingError, UserError
from engine.history.history import History
from engine.history.index import note_change
from engine.machine import slurm
from engine.machine.slurm import Fate
from engine.runs import RunFolder, own
from engine.runs.owner import ignore_change
from engine.runs.record import ACTIVE
from engine.study.study_state import state_from_entries
from engine.study.workers import new_worker
from moco_tui.cli.output import clean, say
from moco_tui.cli.progress import TerminalSink
from moco_tui.cli.study_join import check_open
from moco_tui.cli.study_settings import begun_study
from moco_tui.cli.user_notifier import notifying

_LOOK_SECONDS = 0.5
_WAIT_SECONDS = 60.0  # for a study that is stopping: until its process has saved


class SlurmSink(TerminalSink):
    """Shows nothing, and has a signal mean that the run goes on elsewhere.

    Attributes:
        number: the first signal that has come; 0 for none.
    """

    def __init__(self) -> None:
        super().__init__("", quiet=True)
        self.number = 0

    def interrupt(self, number: int) -> None:
        """Asks the trainer to save and leave; workers of a study go on meanwhile."""
        if self._ask_for("hand-over"):
            self.number = number

    def begin(self) -> None:
        """Has what came before be answered by the run that begins now."""
        self._acknowledged = False


class SlurmTask:
    """The process of a job, or of one task of an array.

    Args:
        folder: the run.
        data_dir: where data sets and their caches live.
        sink: takes the signals.
    """

    def __init__(self, folder: RunFolder, data_dir: Path, sink: SlurmSink) -> None:
        self._folder, self._data_dir, self._sink = folder, data_dir, sink
        self._job = slurm.own_job()
        self._train: Callable[..., Any] | None = None
        self._left: RunFolder | None = None  # what was handed over

    def run(self) -> int:
        """Works until the run has ended or a signal comes; the exit code of the job."""
        record = self._folder.record()
        why = self._why_not(record.status)
        if why:
            say(clean(why))
            return 0
        work = self._work_on_study if record.kind == "study" else self._work_on_run
        try:
            outcome = work()
        except UserError as error:
            say(clean(str(error)))
            return 1 if isinstance(error, TrainingError) else 2
        if outcome == "handed-over":
            return self._leave()
        return 130 if outcome == "stopped" else 0

    def _why_not(self, status: str) -> str:
        """Why there is nothing to do; empty where there is.

        A job that Slurm starts again goes on whatever it had recorded when it ended; one that
        starts for the first time finds a stopped run where somebody stopped it meanwhile.
        """
        run = f"run {self._folder.id}"
        if status == "finished":
            return f"{run} is finished already"
        if status in ("stopped", "failed") and not slurm.restarts():
            return f"{run} is {status}; moco-tui resume {self._folder.id} goes on with it"
        return ""

    def _work_on_run(self) -> str:
        return self._execute(self._folder)

    def _execute(self, folder: RunFolder) -> str:
        """Trains a run of this process to its end; the outcome."""
        if self._train is None:
            from engine.jobs.execute import execute  # imports torch

            self._train = notifying(execute)
        self._sink.begin()
        outcome: str = self._train(folder, data_dir=self._data_dir, sink=self._sink)
        if outcome == "handed-over":
            self._left = folder
        return outcome

    # ---------------------------------------------------------------------------- a study

    def _work_on_study(self) -> str:
        """Has the study if nobody has it, else is one more worker, until nothing is left."""
        study = self._folder
        while not self._sink.interrupted:
            try:
                return self._execute(study)
            except RunBusyError:
                if not study.alive() and study.record().status not in ("queued", *ACTIVE):
                    raise
            outcome = self._join()
            if outcome != "stopped":
                return outcome
            # Its run was stopped, or the process that had the study has ended or is about to.
            self._wait(lambda: not study.alive())
            if study.record().status in ("finished", "stopped", "failed"):
                return "stopped"
        return "handed-over"

    def _join(self) -> str:
        """Works on the study as one more worker; the outcome."""
        study = self._folder
        # The process that has it may have taken it a moment ago.
        self._wait(lambda: study.record().status != "queued" or not study.alive())
        config = begun_study(study)
        entries = History(study.path.parent, read_only=True).list()
        try:
            check_open(study, config, state_from_entries(config, entries))
        except RunBusyError as error:
            say(clean(str(error)))
            return "finished"
        # All of the job is its own, whatever else this machine computes.
        worker = new_worker(study, replace(config, workers=1, devices=()), f"job {self._job}")
        return self._execute(worker)

    def _wait(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + _WAIT_SECONDS
        while not done() and time.monotonic() < end and not self._sink.interrupted:
            time.sleep(_LOOK_SECONDS)

    # ---------------------------------------------------------------------------- leaving

    def _leave(self) -> int:
        """Records what becomes of the run after a signal, and has the job queued again."""
        name = signal.Signals(self._sink.number).name
        fate = self._fate()
        if fate == "cancelled":
            self._settle(f"{name}: the job was cancelled", again=False)
            return 130
        self._settle(f"{name}: saved; job {self._job} is queued again", again=True)
        if fate == "queued":
            return 0
        try:
            slurm.requeue(self._job)
        except RunError as error:
            self._settle(str(error), again=False)
            say(clean(str(error)))
            return 1
        return 0

    def _fate(self) -> Fate:
        """What becomes of this job; cancelled as well where it is none of Slurm's."""
        if not self._job:
            return "cancelled"
        if self._sink.number == signal.SIGUSR1:  # of the time limit, which this program asked for
            return "runs"
        try:
            return slurm.fate_of(self._job)
        except RunError as error:  # it can be resumed; a job too many cannot be taken back
            say(clean(str(error)))
            return "cancelled"

    def _settle(self, why: str, *, again: bool) -> None:
        """Records the state of what this process had: it waits, or is stopped."""
        left = self._left
        if left is None:  # the signal came between two pieces of work
            return
        is_worker = left != self._folder  # which stands in no index
        with own(left, on_change=ignore_change if is_worker else note_change) as owner:
            owner.log(why)
            owner.transition("queued" if again and not is_worker else "stopped")
