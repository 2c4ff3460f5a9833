"""Terminals that hang or are gone: the trainer does not notice."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
import threading
import tty as modes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import pytest

from engine.sink import Plan
from moco_tui.cli.progress import TerminalSink


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


def draw(sink: TerminalSink, times: int) -> None:
    sink.plan(Plan(total_steps=times, steps_per_epoch=10, pairs_per_step=4))
    for step in range(1, times + 1):
        sink.metrics(step, step / 10, {"train/loss": 9.0, "train/lr": 0.1})
        sink.log("a line that is written above the bars " * 4)


def test_a_terminal_that_takes_no_more_does_not_hold_the_trainer_up(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    sink = TerminalSink("run")
    thread = threading.Thread(target=draw, args=(sink, 2000), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "nobody reads, and the trainer waits for it"
    assert len(os.read(screen.master, 100)) == 100, "it did draw"


def test_a_terminal_that_is_gone_does_not_fail_the_run(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", screen.stream)
    sink = TerminalSink("run")
    os.close(screen.master)
    draw(sink, 20)
    sink.close()


def test_stderr_that_is_no_terminal_gets_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    sink = TerminalSink("run")
    draw(sink, 3)
    sink.close()
    assert text.getvalue().count("a line that is written above the bars") == 12
