"""What must arrive whole at a terminal that is busy, and a terminal that hangs."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from moco_tui.terminal.patient_write import write_patiently

from ...picture_terminal import SILENT, PictureTerminal
from ...pseudo_terminal import environment, fill, open_terminal

# Fills its terminal to the brim, as an app does whose connection is slow, and leaves it as the app
# does at a signal.
LEAVES = """
import sys, tty
from pathlib import Path
from moco_tui.terminal.descriptors import Display
from tests.pseudo_terminal import fill
display = Display()
display.farewell = lambda: "FAREWELL"
tty.setraw(0)
fill(0)
Path(sys.argv[1]).touch()
display.release(alive=True)
display.write_line("handed over")
"""


@pytest.fixture
def full() -> tuple[int, int, int]:
    """A terminal that has no room: our end, a descriptor to write to, and the bytes it holds."""
    master, slave = open_terminal((80, 24))
    fd, held = fill(slave)
    os.close(slave)
    return master, fd, held


def test_a_busy_terminal_gets_all_of_it(full: tuple[int, int, int]) -> None:
    master, fd, held = full
    data, got = bytes(range(32, 127)) * 300, b""

    def draw() -> None:
        nonlocal got
        time.sleep(0.2)
        while len(got) < held + len(data):
            got += os.read(master, 500)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    assert write_patiently(fd, data, seconds=60)
    thread.join(60)
    assert got[held:] == data


def test_a_terminal_that_hangs_costs_a_moment(full: tuple[int, int, int]) -> None:
    _, fd, _ = full
    began, worked = time.monotonic(), time.thread_time()
    assert not write_patiently(fd, b"x" * 100_000, seconds=0.5)
    assert time.monotonic() - began >= 0.5
    assert time.thread_time() - worked < 0.4, "it spins"


def test_a_terminal_that_is_gone_is_an_error(full: tuple[int, int, int]) -> None:
    master, fd, _ = full
    os.close(master)
    with pytest.raises(OSError, match="Input/output"):
        write_patiently(fd, b"x", seconds=60)


@pytest.mark.parametrize("hangs", [False, True])
def test_the_app_leaves_a_busy_terminal_as_it_was(tmp_path: Path, hangs: bool) -> None:
    full = tmp_path / "full"
    command = [sys.executable, "-c", LEAVES, str(full)]
    app = PictureTerminal(command, environment(), (80, 24), answers=SILENT)
    try:
        while not full.exists():
            assert app.process.poll() is None
            time.sleep(0.02)
        if hangs:
            assert app.process.wait(60) == 0
        else:
            time.sleep(0.3)  # busy with what came before
            assert app.wait() == 0
            assert app.raw.rstrip().endswith(b"\x1b[?25hhanded over")
            assert b"xFAREWELL\x1b[?1000l" in app.raw
        assert app.modes() == app.modes_before
    finally:
        app.close()
