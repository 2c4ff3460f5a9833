"""Lines of a run's metrics and log: collected in memory, appended to their files as whole lines."""

from __future__ import annotations

import os
import threading
import time

from engine.errors import RunError
from engine.files import open_plain, unwritable, write_all
from engine.runs.folder import RunFolder
from engine.runs.metric_writer import LogError, MetricWriter


class Journal:
    """Buffers lines of the metric log and of ``log.txt``; any thread may add, any may write.

    Two locks, since the trainer's thread adds a line at every step and must not wait for a disk.

    Args:
        folder: the run. The caller owns it.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._metrics = MetricWriter(folder.metrics_path)
        self._writing = threading.Lock()  # guards the files and _unwritten; taken before _adding
        self._adding = threading.Lock()  # guards _lines and _texts; held for microseconds
        self._lines: list[bytes] = []
        self._texts: list[str] = []
        self._unwritten = b""  # lines that a full disk did not take: they go first the next time

    def add(self, line: bytes) -> None:
        """Add a line of the metric log, with its line end. No file is touched."""
        with self._adding:
            self._lines.append(line)

    def add_text(self, text: str) -> None:
        """Add a line to ``log.txt``, with the time of day before it. No file is touched."""
        line = _dated(text)
        with self._adding:
            self._texts.append(line)

    @property
    def waiting(self) -> bool:
        """True when there is something to write."""
        return bool(self._lines or self._texts)

    def write(self, *, sync: bool = False, look: bool = False) -> None:
        """Write what was added.

        Args:
            sync: also force the metric log to the disk.
            look: see to the metric log although there may be nothing to write into it.

        Raises:
            RunError: when it cannot be written; the metric log ends with a whole line then, and
                the rest is kept for the next time.
        """
        with self._writing:
            data, text = self._take()
            # Both files are tried: the lines of the log matter most when the metrics fail.
            failure = self._append_lines(data, sync=sync, look=look)
            if self._metrics.repaired:
                text += f"cut a half line of {self._metrics.repaired} bytes off the metric log\n"
                self._metrics.repaired = 0
            text += "".join(map(_dated, self._metrics.notices))
            self._metrics.notices.clear()
            if text:
                text_failure = self._append_text(text)
                failure = failure or text_failure
            if failure is not None:
                raise failure

    def _take(self) -> tuple[bytes, str]:
        """Take metric lines and log lines out of memory."""
        with self._adding:
            data = self._unwritten + b"".join(self._lines)
            text = "".join(self._texts)
            self._lines.clear()
            self._texts.clear()
            self._unwritten = b""
            return data, text

    def _append_lines(self, data: bytes, *, sync: bool, look: bool) -> RunError | None:
        try:
            if data or sync or (look and self._metrics.is_open):
                self._metrics.append(data, sync=sync)
        except LogError as error:
            self._unwritten = data[error.written :]
            return error
        except BaseException:  # a line that comes twice does no harm, one that is lost does
            self._unwritten = data
            raise
        return None

    def _append_text(self, text: str) -> RunError | None:
        path = self._folder.log_path
        try:
            # O_APPEND: the output of a detached process goes into this file as well.
            fd = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                write_all(fd, text.encode("utf-8", errors="replace"))
            finally:
                os.close(fd)
        except OSError as error:
            return unwritable(path, error)
        return None

    def close(self) -> None:
        """Close the metric log. What was not written is lost."""
        self._metrics.close()


def _dated(text: str) -> str:
    """A line of the log, with the time of day before it."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n"
