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
"""Signals by which the app ends. Batch systems warn of the time limit with SIGUSR1."""
TAKEN = LEAVE | {signal.SIGTSTP}
"""Signals that the guard's thread waits for."""
POLL_SECONDS = 1.0
"""How often the terminal is looked at: one that is gone need not send SIGHUP."""


class Guard:
    """Takes the signals that would end the app, in a thread of its own.

    Python runs signal handlers in the main thread, between two bytecodes (documentation of the
    module ``signal``), and that thread may be blocked in a write to a terminal that takes no more.
    So a thread waits for the signals, and they are blocked in the thread that makes the guard, and
    thereby in every thread and process that is started after it (``detached.accept_signals``
    unblocks them in a trainer).

    Args:
        display: the terminal.
        hand_over: ends the training of this process and lets another one go on, which may take as
            long as a step and a checkpoint; returns a sentence for the person, or nothing.
    """

    def __init__(self, display: tty.Display, hand_over: Callable[[], str]) -> None:
        self._display, self._hand_over = display, hand_over
        self._leaving = threading.Event()
        signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
        self._thread = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._thread.start()

    def wait_if_leaving(self) -> None:
        """Returns if no signal has come; else never: the guard's thread ends this process."""
        if self._leaving.is_set():
            self._thread.join()

    def _watch(self) -> None:
        number = self._next_signal()
        self._leaving.set()
        self._leave(number)

    def _next_signal(self) -> int:
        """Waits for a signal to leave by; SIGHUP stands for a terminal that is gone as well."""
        while True:
            number = _wait(POLL_SECONDS)
            if number in LEAVE:
                return number
            if tty.hung_up(self._display.fd):
                return signal.SIGHUP

    def _leave(self, number: int) -> NoReturn:
        """Hands the runs over and ends this process, as a shell reports it: 128 + the signal."""
        alive = number != signal.SIGHUP
        try:
            # First, so that no thread draws on the terminal, or waits for it, during the hand-over.
            self._display.release(alive=alive)
            sentence = self._hand_over()
            if alive and sentence:
                self._display.write_line(sentence)
        finally:
            # No sys.exit: handlers at exit (flushing, joining threads) could wait for the terminal.
            os._exit(128 + number)


def _wait(seconds: float) -> int:
    """The next signal of those taken, or 0 after some time."""
    if hasattr(signal, "sigtimedwait"):
        info = signal.sigtimedwait(TAKEN, seconds)
        return 0 if info is None else info.si_signo
    deadline = time.monotonic() + seconds  # macOS has no sigtimedwait
    while time.monotonic() < deadline:
        waiting = signal.sigpending() & TAKEN
        if waiting:
            return int(signal.sigwait(waiting))
        time.sleep(0.05)
    return 0
