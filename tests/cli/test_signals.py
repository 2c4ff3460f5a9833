"""Signals to the commands that train, and terminals that hang or are gone."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import sys
import threading
import time
import tty as modes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

from engine.errors import RunError, TrainingError
from engine.runs import RunFolder
from engine.sink import Plan
from moco_tui.cli.progress import Terminal, terminal
from moco_tui.terminal import descriptors as tty
from moco_tui.training import detached as detach

from .conftest import Call, trained


def send(number: int) -> None:
    """To this process; Python's handler has run when it returns."""
    os.kill(os.getpid(), number)
    time.sleep(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_asks_for_a_stop_until_it_is_answered(number: int) -> None:
    with terminal("run", quiet=True) as sink:
        assert sink.request() is None
        send(number)
        assert sink.request() == "stop"
        sink.acknowledge("checkpoint", 3)
        assert sink.request() == "stop"
        sink.acknowledge("stop", 3)
        assert sink.request() is None
        assert sink.interrupted


def test_the_signals_are_as_before_afterwards() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with terminal("run", quiet=True):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_interrupt_from_the_keyboard_stops_at_once() -> None:
    with terminal("run", quiet=True) as sink:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert sink.request() == "stop"


def test_the_loss_of_the_terminal_asks_for_a_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    silenced: list[bool] = []
    monkeypatch.setattr(tty, "silence", lambda: silenced.append(True))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with terminal("run", quiet=True, hands_over=True) as sink:
            send(signal.SIGHUP)
            assert sink.request() == "hand-over"
            assert silenced == [True]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminal("run", quiet=True, hands_over=True) as sink:
            send(signal.SIGHUP)
            assert sink.request() is None
    finally:
        signal.signal(signal.SIGHUP, before)


@dataclass
class Screen:
    """A pseudo-terminal: its two descriptors, and the stream that a program writes to."""

    master: int
    slave: int
    stream: TextIO


@pytest.fixture
def screen() -> Iterator[Screen]:
    master, slave = pty.openpty()
    modes.setraw(slave)
    made = Screen(master, slave, os.fdopen(os.dup(slave), "w"))
    yield made
    for close in (lambda: os.close(master), lambda: os.close(slave), made.stream.close):
        with contextlib.suppress(OSError):
            close()


def draw(sink: Terminal, times: int) -> None:
    sink.plan(Plan(total_steps=times, steps_per_epoch=10, pairs_per_step=4))
    for step in range(1, times + 1):
        sink.metrics(step, step / 10, {"train/loss": 9.0, "train/lr": 0.1})
        sink.log("a line that is written above the bars " * 4)


def test_a_terminal_that_takes_no_more_does_not_hold_the_trainer_up(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    sink = Terminal("run")
    thread = threading.Thread(target=draw, args=(sink, 2000), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "nobody reads, and the trainer waits for it"
    assert len(os.read(screen.master, 100)) == 100, "it did draw"


def test_a_terminal_that_is_gone_does_not_fail_the_run(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    sink = Terminal("run")
    os.close(screen.master)
    draw(sink, 20)
    sink.close()


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


def test_a_detached_process_that_dies_at_once_is_a_sentence(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(root, status="stopped")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    called = call("resume", run.id, "--detach")
    assert called.code == 2
    assert f"The detached process for run {run.id} ended before it began" in called.err
    assert not run.alive(), "the lock is free again"


def test_a_detached_process_that_cannot_be_started_is_a_sentence(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(root, status="stopped")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    called = call("resume", run.id, "--detach")
    assert called.code == 2
    assert "could not be started" in called.err
    assert not run.alive()


def test_a_run_that_waits_elsewhere_is_not_resumed(root: Path, call: Call) -> None:
    from engine.config.presets import build
    from engine.config.schema import PretrainConfig
    from engine.runs import create

    run = create(root, "pretrain", build(PretrainConfig, {}))
    held = detach.lock(run)
    with pytest.raises(RunError, match="waits for its turn"):
        detach.lock(RunFolder(run.path))
    called = call("resume", run.id)
    assert called.code == 2
    assert "waits for its turn in another process" in called.err
    held.release()


def test_stderr_that_is_no_terminal_gets_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    sink = Terminal("run")
    draw(sink, 3)
    sink.close()
    assert text.getvalue().count("a line that is written above the bars") == 12


def test_the_runs_of_a_queue_are_trained_in_turn_until_a_signal(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails does not end the queue; a signal does, and leaves the rest queued."""
    runs = [trained(root, status="stopped") for _ in range(4)]
    begun: list[str] = []
    logs: list[Path] = []

    def execute(folder: RunFolder, *, sink: Terminal, **rest: object) -> str:
        begun.append(folder.id)
        if len(begun) == 1:
            raise TrainingError("The loss became nan at step 3.")
        if len(begun) == 3:
            send(signal.SIGTERM)
            assert sink.request() == "stop"
            return "stopped"
        return "finished"

    monkeypatch.setattr("engine.jobs.execute.execute", execute)
    monkeypatch.setattr(detach, "redirect_output", logs.append)
    called = call("_train", *(str(run.path) for run in runs))
    assert begun == [run.id for run in runs[:3]]
    assert called.code == 130
    assert "The loss became nan at step 3." in called.err
    assert logs == [run.log_path for run in runs[1:]], "each says what it says in its own log"
