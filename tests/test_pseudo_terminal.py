"""The terminal of the tests: a program that is kept waiting has not come to rest."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from .pseudo_terminal import Terminal, environment

PROGRAM = """
import time
print("begun", flush=True)
time.sleep(0.2)
end = time.process_time() + 0.6
while time.process_time() < end:
    pass
print("done", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [0.0, 1.2], ids=["computes", "is-stopped"])
def test_a_terminal_rests_when_its_program_sleeps(stopped: float) -> None:
    """The program is silent for longer than the time of a rest, while it has something to do."""
    terminal = Terminal([sys.executable, "-c", PROGRAM], environment(), (80, 24))
    try:
        terminal.until(lambda text: "begun" in text)
        if stopped:
            os.kill(terminal.pid, signal.SIGSTOP)
            threading.Timer(stopped, os.kill, (terminal.pid, signal.SIGCONT)).start()
        terminal.rest(0.4)
        assert "done" in terminal.text
    finally:
        terminal.close()
