"""What a process keeps of a terminal that is gone, and of the signals of its parent."""

from __future__ import annotations

import os
import pty
import signal
import time
from pathlib import Path

from moco_tui.terminal import descriptors as tty
from moco_tui.training import detached as detach


def test_silencing_leaves_files_alone_and_never_reads_an_end(tmp_path: Path) -> None:
    """In a child: descriptors 0 to 2 are those of this process."""
    master, slave = pty.openpty()
    report = tmp_path / "report"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            out = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
            os.dup2(slave, 0)
            os.dup2(out, 1)
            os.dup2(slave, 2)
            os.close(master)
            os.close(slave)
            while not tty.hung_up(0):  # until the parent has closed its end too
                time.sleep(0.001)
            tty.silence()
            os.write(1, b"kept")
            os.write(2, b"nowhere")
            import select

            readable = bool(select.select([0], [], [], 0.2)[0])
            report.write_text(f"{readable} {(tmp_path / 'out').read_text()}")
            code = 0
        finally:
            os._exit(code)
    os.close(slave)
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert report.read_text() == "False kept"


def test_a_child_of_a_process_that_blocks_signals_takes_them() -> None:
    """Exec keeps the mask: without accept_signals a detached trainer could not be stopped."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        detach.accept_signals()
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGHUP}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
