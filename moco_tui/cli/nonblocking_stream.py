"""A stream for progress that never holds the trainer up and never fails."""

from __future__ import annotations

import contextlib
import os
from typing import Any, TextIO

from moco_tui.terminal.patient_write import open_again


class NonBlockingStream:
    """Writes to a terminal without waiting for it.

    A terminal that takes no more (a connection that hangs, Ctrl-S) loses what does not fit; the
    next drawing paints over it. One that is gone, or a pipe whose reader is, takes nothing.

    Args:
        stream: a terminal, or a file or pipe, which is written as usual.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._fd = stream, -1
        with contextlib.suppress(OSError, ValueError):
            if stream.isatty():
                self._fd = open_again(os.ttyname(stream.fileno()))

    def write(self, text: str) -> int:
        """Writes what the terminal takes at once and drops the rest.

        Returns:
            The length of the text in any case, so that no caller writes the rest again.
        """
        with contextlib.suppress(OSError, ValueError):
            if self._fd < 0:
                self._stream.write(text)
            else:
                os.write(self._fd, text.encode(self._stream.encoding or "utf-8", "replace"))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def close(self) -> None:
        """Closes what was opened here; the stream stays open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # tqdm asks for encoding, fileno and isatty
