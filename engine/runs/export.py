"""Runs in other formats: CSV, JSON and TensorBoard event files, after training or during it."""

from __future__ import annotations

import contextlib
import csv
import errno
import importlib
import io
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from engine.errors import RunError
from engine.files import is_folder, opened_folder, replace_file, unwritable
from engine.runs.device_export import devices_to_csv
from engine.runs.encoder_step import EncoderStep
from engine.runs.folder import RunFolder
from engine.runs.heartbeat import host_name
from engine.runs.log_summary import gains
from engine.runs.metric_log import MetricLog
from engine.runs.provenance import commit_at
from engine.runs.record import UserNotes, encode_record, encode_user, spell
from engine.sink import NullSink, Plan, Sink, Tee
from engine.text import csv_cell, printable_json

Format = Literal["csv", "json", "tensorboard", "devices"]
FORMATS: tuple[Format, ...] = get_args(Format)

TAGS: Mapping[str, str] = {
    "train/loss": "Loss/train_batch",
    "train/epoch_loss": "Loss/train_epoch",
}
"""Metrics that have the notebook's tag in TensorBoard, so that runs of both overlay; every other
metric keeps its own name."""

_FLUSH_SECONDS = 5.0  # how far TensorBoard may lag behind; a flush at every step would cost a write
_SUFFIX: Mapping[str, str] = {
    "csv": ".csv",
    "json": ".json",
    "tensorboard": "",
    "devices": ".devices.csv",
}
_EVENTS_NAME = re.compile(r"events\.out\.tfevents\.([0-8][0-9]{19})\.")  # a 9: none of ours
_Point = tuple[int, float, float, dict[str, float]]  # step, epoch, unix seconds, values


def export(folder: RunFolder, format_: str, target: Path | None = None) -> Path:
    """Write a run in another format; returns the file, or for TensorBoard the folder.

    Args:
        folder: the run; it may still be training.
        format_: ``csv``, ``json``, ``tensorboard``, or ``devices`` for the history of CPU, memory
            and card as CSV.
        target: where to; None: ``<id>.csv``, ``<id>.json``, ``<id>.devices.csv`` or the folder
            ``<id>`` right here. A file that is there is replaced; event files are added to a
            folder.

    Raises:
        RunError: when the format is none, the run cannot be read, the target cannot be written (a
            link, pipe or device is refused too), or TensorBoard is not installed.
    """
    if format_ not in FORMATS:
        raise RunError(f"{format_} is no export format; it must be one of {', '.join(FORMATS)}.")
    folder.record()  # raises for a folder that is no run, before anything is written
    path = target or Path(f"{folder.id}{_SUFFIX[format_]}")
    if format_ == "tensorboard":
        write_tensorboard(folder, path)
        return path
    try:
        _make_folder(path.parent)
        if is_folder(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if format_ == "json":
            data = to_json(folder)
        else:
            lines = devices_to_csv(folder) if format_ == "devices" else to_csv(folder)
            data = "".join(lines).encode()
        replace_file(path, data, follow_folder=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def _make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing.

    Raises:
        OSError: when they cannot be made, or something else stands there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # a file, a device, a link to nothing
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error


# --------------------------------------------------------------------------------------------
# CSV and JSON


def points(log: MetricLog) -> Iterator[_Point]:
    """Step, epoch, unix seconds and values of every step that has any, ascending."""
    # A merge of sorted columns, since a metric has values at its own steps only.
    names = log.names()
    columns = [(*log.series(n), log.epochs(n), log.times(n)) for n in names]
    at = [0] * len(names)  # index of the next point of each column
    while True:
        heads = [c[0][i] for c, i in zip(columns, at, strict=True) if i < len(c[0])]
        if not heads:
            return
        step = min(heads)
        values: dict[str, float] = {}
        epoch = seconds = 0.0
        for k, (steps, numbers, epochs, times) in enumerate(columns):
            i = at[k]
            if i < len(steps) and steps[i] == step:
                values[names[k]] = numbers[i]
                epoch, seconds = epochs[i], times[i]
                at[k] = i + 1
        yield step, epoch, seconds, values


def to_csv(folder: RunFolder) -> Iterator[str]:
    """The metrics as lines of CSV: step, epoch, time and a column for each metric.

    Of a probe whose encoder's step is known, a column behind has that in every line; where the
    program's commit is known, a last one has that which computed the step. A step that lacks a
    metric has an empty cell; NaN and infinities are written as such.

    Raises:
        RunError: when the metric log cannot be read.
    """
    log = folder.metrics()
    log.poll()
    names = log.names()
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")

    def line(cells: list[Any]) -> str:
        writer.writerow(cells)
        text = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return text

    # spell: csv would write "nan" and "inf"; here and in JSON the spellings are the same.
    record = folder.record()
    at, parts = EncoderStep.of(record.result), record.provenance
    known = [] if at is None else [at.step]
    behind = ["encoder_step"] if known else []
    has_commit = any(part["values"].get("program.commit") for part in parts)
    behind += ["commit"] if has_commit else []
    yield line(["step", "epoch", "time", *map(csv_cell, names), *behind])
    for step, epoch, seconds, values in points(log):
        cells = [spell(values[name]) if name in values else "" for name in names]
        commit = [csv_cell(commit_at(parts, step))] if has_commit else []
        yield line([step, spell(epoch), spell(seconds), *cells, *known, *commit])


def to_json(folder: RunFolder) -> bytes:
    """Record, notes and curves as one JSON document; NaN and infinities are strings.

    ``gain`` says how far the best of a metric lies above the untrained encoder's value.

    Raises:
        RunError: when the record or the metric log cannot be read.
    """
    log = folder.metrics()
    log.poll()
    try:
        notes = folder.user()
    except RunError:  # damaged notes must not keep anybody from the curves
        notes = UserNotes()
    curves = {
        name: {
            "step": list(log.series(name)[0]),
            "epoch": [spell(v) for v in log.epochs(name)],
            "time": [spell(v) for v in log.times(name)],
            "value": [spell(v) for v in log.series(name)[1]],
        }
        for name in log.names()
    }
    # Raw: the documents as the files have them, NaN spelled out (msgspec would write null).
    record = folder.record()
    document = {
        "run": msgspec.Raw(encode_record(record)),
        "gain": {n: spell(v) for n, v in gains(record.best, record.untrained).items()},
        "user": msgspec.Raw(encode_user(notes)),
        "metrics": curves,
    }
    return printable_json(msgspec.json.encode(document).decode()).encode() + b"\n"


# --------------------------------------------------------------------------------------------
# TensorBoard


class _EventFile:
    """One event file, written in the calling thread: about 20 microseconds a step.

    Not torch.utils.tensorboard: its SummaryWriter brings a thread of its own, and torch into
    modules that must do without. The parts of TensorBoard's package that know the format are
    imported on first use, since the package is an extra.
    """

    def __init__(self, folder: Path, *, follow: bool) -> None:
        try:
            self._events = importlib.import_module("tensorboard.compat.proto.event_pb2")
            self._summary = importlib.import_module("tensorboard.compat.proto.summary_pb2")
            records = importlib.import_module("tensorboard.summary.writer.record_writer")
        except ImportError as error:
            raise RunError(
                "TensorBoard is not installed; install the extra with "
                "pip install 'moco-tui[tensorboard]'."
            ) from error
        self._folder = folder
        self._next_flush = time.monotonic() + _FLUSH_SECONDS
        # TensorBoard takes any name with "tfevents" in it and reads the files of a folder in the
        # order of their names: hence the leading zeros. A name before that of the file it is at
        # would never be looked at, so a clock that was set back does not count.
        with self._sentence():
            _make_folder(folder)
            number = max([time.time_ns(), *(found + 1 for found in _numbers(folder))])
            name = f"events.out.tfevents.{number:020d}.{host_name()}.{os.getpid()}"
            self.path = folder / name
            with opened_folder(folder, follow=follow) as at:
                # O_EXCL follows no link and opens nothing that is there (open(2)).
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                fd = os.open(name, flags, 0o666, dir_fd=at)
            self._records = records.RecordWriter(os.fdopen(fd, "wb"))
        # From version 2 on TensorBoard obeys the START events of ``forget``; below that it guesses
        # from descending steps what is out of date (its event_accumulator.py).
        self._add(self._events.Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """The values of a step under their tags."""
        value = self._summary.Summary.Value
        summary = self._summary.Summary(
            value=[value(tag=TAGS.get(n, n), simple_value=_float32(v)) for n, v in values.items()]
        )
        self._add(self._events.Event(step=step, wall_time=seconds, summary=summary))

    def forget(self, step: int) -> None:
        """Tell TensorBoard that what it has from ``step`` on does not count."""
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._add(self._events.Event(step=step, wall_time=time.time(), session_log=start))

    def flush(self) -> None:
        """Hand everything to the system."""
        with self._sentence():
            self._records.flush()

    def close(self) -> None:
        """Flush and close."""
        with self._sentence():
            self._records.close()

    def _add(self, event: Any) -> None:
        with self._sentence():
            self._records.write(event.SerializeToString())
            if time.monotonic() >= self._next_flush:
                self._next_flush = time.monotonic() + _FLUSH_SECONDS
                self._records.flush()

    @contextlib.contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._folder, error) from error


def _float32(value: float) -> float:
    """Event files hold single precision; what does not fit is infinite there."""
    return math.copysign(math.inf, value) if abs(value) > 3.4028235e38 else value


def write_tensorboard(folder: RunFolder, target: Path) -> None:
    """Write the metrics of a run as an event file into a folder.

    Raises:
        RunError: when TensorBoard is not installed, the metric log cannot be read, or the folder
            cannot be written.
    """
    log = folder.metrics()
    log.poll()
    events = _EventFile(target, follow=True)  # named by a person, who may mean a link
    try:
        for step, _, seconds, values in points(log):
            events.add(step, seconds, values)
        events.close()
    except BaseException:  # a file that lacks steps looks like a whole one
        with contextlib.suppress(OSError):
            events.path.unlink()
        raise


class TensorBoardSink(NullSink):
    """Writes the metrics of a training as event files while it goes on; for ``Tee``.

    Args:
        folder: folder of the event files; made when it is missing. A resumed run adds a file there
            that makes TensorBoard forget the steps that are trained again.

    Raises:
        RunError: when TensorBoard is not installed or the folder cannot be written; so do the
            methods.
    """

    def __init__(self, folder: Path) -> None:
        self._file = _EventFile(folder, follow=False)
        self._stage = ""

    def plan(self, plan: Plan) -> None:
        """See ``Sink.plan``."""
        # Steps after the checkpoint were written by the earlier part of the run and come again.
        self._file.forget(plan.start_step + 1)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """See ``Sink.metrics``."""
        self._file.add(step, time.time(), values)

    def progress(self, stage: str, done: int, total: int) -> None:
        """See ``Sink.progress``. What was measured before a stage is written when it begins."""
        # Saving a checkpoint is a stage: its steps are not trained again after a kill during it or
        # right behind it, so they have to be in the file before.
        if done == 0 or stage != self._stage:
            self._file.flush()
        self._stage = "" if done >= total else stage

    def checkpointed(self, step: int) -> None:
        """See ``Sink.checkpointed``."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._file.close()


@contextlib.contextmanager
def with_events(sink: Sink, folder: Path | None) -> Iterator[Sink]:
    """The sink of a training, with event files in a folder written alongside; None: it alone.

    Raises:
        RunError: as ``TensorBoardSink`` does.
    """
    if folder is None:
        yield sink
        return
    board = TensorBoardSink(folder)
    try:
        yield Tee([sink, board])
    finally:
        board.close()


def _numbers(folder: Path) -> list[int]:
    """The numbers in the names of the event files in a folder."""
    found = (_EVENTS_NAME.match(name) for name in os.listdir(folder))  # noqa: PTH208 - names alone
    return [int(match[1]) for match in found if match]
