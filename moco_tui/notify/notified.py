"""Trains a run as ``engine.jobs.execute`` does, and tells how it ended and what it shows meanwhile.

From the process of the trainer, so that a run is told of when nobody looks. What goes wrong with a
note is a line in the run's log, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.config.metrics import MEASURES
from engine.errors import RunError
from engine.files import open_plain, write_all
from engine.runs import RunFolder
from engine.sink import NullSink, Sink, Tee
from engine.study.workers import study_of
from engine.text import one_line
from moco_tui.notify.findings import NewFindings
from moco_tui.notify.notifier import Notifier
from moco_tui.notify.run_note import RunNote, note_of
from moco_tui.present.run_evidence import KNN
from moco_tui.user.user_schema import Event

Execute = Callable[..., Any]

SETTLE_SECONDS = 2.0
"""How long after a measurement its curves are looked at: the owner of a run writes them by then."""
_TELLING = frozenset({KNN, "train/epoch_loss", *MEASURES})  # what the diagnoses look at
_JOIN_SECONDS = 300.0  # more than all ways of a note may take


def notified(execute: Execute, notifier: Notifier, *, waits: bool = True) -> Execute:
    """A function that trains as ``execute`` does and tells what becomes of the run.

    Runs within a study are not told of: the study itself says which have failed, in one sentence,
    and workers of a study say nothing.

    Args:
        execute: ``engine.jobs.execute.execute``.
        notifier: sends the notes.
        waits: return when they are sent; else a thread sends them while other runs are trained, and
            the process ends after it.
    """

    def send(folder: RunFolder, event: Event) -> None:
        note = note_of(folder, event)
        if waits:
            tell(folder, note, notifier)
        else:
            threading.Thread(target=tell, args=(folder, note, notifier), name="notifier").start()

    def run(folder: RunFolder, *, sink: Sink | None = None, **options: Any) -> Any:
        if study_of(folder) is not None:
            return execute(folder, sink=sink, **options)
        before = _failure(folder)
        try:
            with _watched(folder, sink, notifier, waits=waits) as both:
                outcome = execute(folder, sink=both, **options)
        except Exception:
            after = _failure(folder)
            if after is not None and after != before:  # and not one that was refused as it stood
                send(folder, "failed")
            raise
        if outcome == "finished":
            send(folder, "finished")
        return outcome

    return run


def tell(folder: RunFolder, note: RunNote, notifier: Notifier) -> None:
    """Sends a note; a line in the run's log for each way that has failed. Never raises."""
    with contextlib.suppress(Exception):  # whatever it is, the run has ended as it did
        for way, problem in notifier.send(note, folder):
            if problem:
                _log(folder, f"the notification ({way}) failed: {problem}")


def _log(folder: RunFolder, text: str) -> None:
    """Appends a line to the log of a run, whoever owns it: a line is appended whole (open(2))."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {one_line(text)}\n"
    with contextlib.suppress(OSError):
        fd = open_plain(folder.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            write_all(fd, line.encode("utf-8", errors="replace"))
        finally:
            os.close(fd)


def _failure(folder: RunFolder) -> tuple[float | None, str] | None:
    """When a run failed, and why; None for one that has not."""
    try:
        record = folder.record()
    except RunError:
        return None
    return (record.ended, record.error) if record.status == "failed" else None


@contextlib.contextmanager
def _watched(
    folder: RunFolder, sink: Sink | None, notifier: Notifier, *, waits: bool
) -> Iterator[Sink | None]:
    """The sink of a run, with a look at its curves beside it where it is a pretraining."""
    try:
        pretraining = folder.record().kind == "pretrain"
    except RunError:
        pretraining = False
    if not pretraining:
        yield sink
        return
    watch = FindingWatch(folder, notifier)
    try:
        yield watch if sink is None else Tee([sink, watch])
    finally:
        watch.close(waits=waits)


class FindingWatch(NullSink):
    """Tells of the faults that a pretraining shows, from a thread of its own.

    The trainer's thread only says that something was measured.

    Args:
        folder: the run.
        notifier: sends the notes.
    """

    def __init__(self, folder: RunFolder, notifier: Notifier) -> None:
        self._folder, self._notifier = folder, notifier
        self._measured, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._findings: NewFindings | None = None

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        if _TELLING.isdisjoint(values):
            return
        self._measured.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="findings", daemon=True)
            self._thread.start()

    def close(self, *, waits: bool) -> None:
        """Looks a last time; ``waits``: until the notes that are on their way are sent."""
        self._ended.set()
        self._measured.set()
        if waits and self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        while True:
            self._measured.wait()
            self._ended.wait(SETTLE_SECONDS)
            last = self._ended.is_set()
            self._measured.clear()
            with contextlib.suppress(Exception):  # whatever it is, no run is harmed by it
                self._look()
            if last:
                return

    def _look(self) -> None:
        if not self._notifier.wants("warning"):
            return
        if self._findings is None:
            self._findings = NewFindings(self._folder)
        created = self._folder.record().created
        for finding in self._findings.look():
            key = (self._folder.path.resolve(), created, "warning", finding.name)
            # Once a run, also when it is resumed or handed over; where nothing can be remembered,
            # once a process.
            if self._notifier.told.claim(*key) is not False:
                note = note_of(self._folder, "warning", finding.text, finding.name)
                tell(self._folder, note, self._notifier)
