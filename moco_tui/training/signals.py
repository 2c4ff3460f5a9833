"""Signals to the app, and the loss of its terminal: the runs go on in a detached process.

SIGHUP, SIGTERM, SIGINT and SIGUSR1 (and a terminal that hangs up without any) make the training
thread stop at its next step boundary and save; a detached process goes on from that very step,
with the runs that waited behind it; then this process ends. SIGTSTP is ignored: a stopped app
would stop its training.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from moco_tui.terminal import descriptors as tty

LEAVE = frozenset({signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})
TAKEN = LEAVE | {signal.SIGTSTP}
LOOK_SECONDS = 1.0


class Guard:
    """Takes the signals that would end the app, in a thread of its own.

    A handler would have to wait for the main thread, and that waits for the terminal when the
    terminal takes no more. The signals are blocked in the thread that makes the guard and so in
    every thread and process that is started after it (``detach.accept_signals`` undoes it there).

    Args:
        display: the terminal.
        hand_over: ends the training of this process and lets another one go on, which may take as
            long as a step and a checkpoint; says a sentence on it, or nothing.
    """

    def __init__(self, display: tty.Display, hand_over: Callable[[], str]) -> None:
        self._display, self._hand_over = display, hand_over
        self._leaving = threading.Event()
        signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """Returns only when no signal has come: else this process ends in the guard's thread."""
        if self._leaving.is_set():
            self._thread.join()

    def _watch(self) -> None:
        number = self._next()
        self._leaving.set()
        self._leave(number)

    def _next(self) -> int:
        """The signal to leave by; SIGHUP as well for a terminal that is gone."""
        while True:
            number = _wait(LOOK_SECONDS)
            if number in LEAVE:
                return number
            if tty.hung_up(self._display.fd):
                return signal.SIGHUP

    def _leave(self, number: int) -> NoReturn:
        alive = number != signal.SIGHUP
        try:
            self._display.abandon(alive=alive)
            sentence = self._hand_over()
            if alive and sentence:
                self._display.last_words(sentence)
        finally:
            # Nothing is left to tidy, and what would be tidied may wait for the terminal.
            os._exit(128 + number)


def _wait(seconds: float) -> int:
    """The next signal of those taken, or 0 after some time."""
    if hasattr(signal, "sigtimedwait"):
        info = signal.sigtimedwait(TAKEN, seconds)
        return 0 if info is None else info.si_signo
    deadline = time.monotonic() + seconds  # macOS
    while time.monotonic() < deadline:
        waiting = signal.sigpending() & TAKEN
        if waiting:
            return int(signal.sigwait(waiting))
        time.sleep(0.05)
    return 0
