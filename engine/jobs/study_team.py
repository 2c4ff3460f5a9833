"""The workers of a study, as the process sees them that has the study.

It starts them, passes the study's requests on to all of them, waits for them, and puts another in
the place of one that has died. It computes nothing itself. When it dies, each worker ends the unit
that it has and leaves (``study_start.run_worker``); the process that goes on with the study takes
over those that are still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from engine.config.schema import StudyConfig
from engine.errors import TrainingError
from engine.jobs.study_shares import Share, with_share
from engine.runs import RunFolder
from engine.sink import Interrupted, PassingSink, Request, Sink, check_interrupt
from engine.study.workers import (
    answered,
    ask_workers,
    living_workers,
    new_worker,
    remove_ended,
    worker_words,
)

_LOOK_SECONDS = 0.2  # between two looks at the workers
_HISTORY_SECONDS = 1.0  # between two looks at all runs: of ten thousand they cost the workers time


class WorkerProcess(Protocol):
    """A process that was started for a worker, such as a ``subprocess.Popen``."""

    def poll(self) -> int | None:
        """Its exit code; None while it lives."""
        ...


StartWorker = Callable[[RunFolder], WorkerProcess]
"""Starts a detached process that executes the run of a folder, and gives it the run's lock."""


class Team:
    """The workers of a study.

    Args:
        study: its folder; this process has its lock.
        config: the study.
        shares: what each worker computes with.
        start: starts a worker; None where none can be started.
    """

    def __init__(
        self,
        study: RunFolder,
        config: StudyConfig,
        shares: Sequence[Share],
        start: StartWorker | None,
    ) -> None:
        self._study, self._config, self._shares, self._start = study, config, shares, start
        self._members: dict[int, RunFolder] = {}  # by the number of the worker, from 1
        self._processes: dict[int, WorkerProcess] = {}
        self._spare = len(shares)  # how often a dead worker is replaced
        self._ended: list[str] = []  # what those said that were not replaced
        self._stopped = False  # one of them ended because somebody stopped it

    def take_over(self) -> None:
        """Takes over the workers that another process has left, also from a pause."""
        remove_ended(self._study)
        named = {f"worker {number}": number for number in range(1, len(self._shares) + 1)}
        for folder in ask_workers(self._study, "continue"):
            number = named.get(folder.record().name)
            if number is not None:
                self._members[number] = folder

    def oversee(self, left: Callable[[], int], sink: Sink) -> None:
        """Has the workers compute until nothing is left.

        Args:
            left: looks at the history; how many units are left that have not failed.
            sink: of the study, pausable.

        Raises:
            Interrupted: the study was asked to stop or to be handed over.
            TrainingError: all workers have ended, and something is left.
        """
        for number in range(1, min(len(self._shares), left()) + 1):
            if number not in self._members:
                self._begin(number, sink)
        next_look = 0.0
        while True:
            check_interrupt(sink)
            if time.monotonic() >= next_look:
                if not left():
                    break
                next_look = time.monotonic() + _HISTORY_SECONDS
            self._replace_dead(sink)
            if not living_workers(self._study) and left():
                self._raise_ended()
            time.sleep(_LOOK_SECONDS)
        self.wait("continue", sink, until_ended=True)

    def _begin(self, number: int, sink: Sink) -> None:
        assert self._start is not None  # see ``run_study``
        config = with_share(self._config, self._shares[number - 1])
        folder = new_worker(self._study, config, f"worker {number}")
        process = self._start(folder)
        self._members[number], self._processes[number] = folder, process
        sink.log(f"worker {number} started; what it says is in {folder.log_path}")

    def _replace_dead(self, sink: Sink) -> None:
        for number, folder in list(self._members.items()):
            process = self._processes.get(number)
            ended = process is None or process.poll() is not None  # polled: no zombie stays
            if folder.alive() or not ended:
                continue
            del self._members[number]
            record = folder.record()
            if record.status == "finished":
                continue
            self._stopped |= record.status == "stopped"
            why = record.error or f"it is {folder.status(record)}"
            sink.log(f"worker {number} (process {record.pid}) has ended: {why}")
            if record.status != "stopped" and self._spare > 0:
                self._spare -= 1
                self._begin(number, sink)
            else:
                self._ended.append(why)

    def _raise_ended(self) -> None:
        if self._stopped:
            raise Interrupted("stop")
        why = self._ended[-1] if self._ended else "it left in order."
        raise TrainingError(
            f"The workers of the study have ended before it was done, the last: {why} A resume of "
            "the study goes on."
        )

    def ask(self, kind: Request) -> None:
        """Passes a request on to every living worker."""
        ask_workers(self._study, kind)

    def wait(self, kind: Request, sink: Sink, *, until_ended: bool = False) -> None:
        """Waits until every worker does what it was asked for.

        Args:
            kind: what that was.
            sink: is told what is waited for, and ends the wait for a pause when it asks to stop.
            until_ended: wait until all have ended.

        Raises:
            Interrupted: the wait was one for workers that go on, and the study is to stop.
        """
        stage, said = "", False
        while True:
            open_ = [w for w in living_workers(self._study) if until_ended or not answered(w, kind)]
            for process in self._processes.values():
                process.poll()
            if not open_ or (kind == "pause" and sink.request() == "stop"):
                break
            if kind == "continue":
                check_interrupt(sink)
            stage = f"waiting for {len(open_)} workers"
            sink.progress(stage, 0, 1)
            if not said:
                said = True
                sink.log("waiting for " + "; ".join(worker_words(worker) for worker in open_))
            time.sleep(_LOOK_SECONDS)
        if stage:
            sink.progress(stage, 1, 1)


class TeamSink(PassingSink):
    """The sink of a study, whose requests reach all of its workers.

    A pause is acknowledged when all of them have paused.

    Args:
        sink: that of the study.
        team: its workers.
    """

    def __init__(self, sink: Sink, team: Team) -> None:
        super().__init__(sink)
        self._team = team
        self._passed_on: Request | None = None

    def request(self) -> Request | None:
        """See ``Sink.request``. A hand-over is not passed on: the workers go on meanwhile."""
        request = self._sink.request()
        if request != self._passed_on:
            self._passed_on = request
            if request is not None and request != "hand-over":
                self._team.ask(request)
        return request

    def acknowledge(self, request: Request, step: int) -> None:
        """See ``Sink.acknowledge``."""
        if request == "pause":
            self._team.wait("pause", self._sink)
        super().acknowledge(request, step)
        self._passed_on = None


def end_team(team: Team, error: BaseException, sink: Sink) -> None:
    """Has the workers end that a study leaves behind; a hand-over leaves them at work.

    Args:
        team: the workers.
        error: with what the study ends.
        sink: of the study.
    """
    if isinstance(error, Interrupted):
        if error.request == "stop":
            team.ask("stop")  # a worker may have begun since the request was passed on
            team.wait("stop", sink, until_ended=True)
    else:
        team.ask("stop")
