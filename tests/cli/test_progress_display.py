"""Progress where there is no terminal: a line now and then."""

from __future__ import annotations

import time

import pytest

from engine.sink import Plan
from moco_tui.cli.nonblocking_stream import NonBlockingStream
from moco_tui.cli.progress import TerminalSink


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    monkeypatch.setattr(NonBlockingStream, "write", lambda _, text: written.append(text))
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr(time, "monotonic", tick)
    return written


def test_a_log_file_gets_a_line_of_progress_now_and_then(lines: list[str]) -> None:
    sink = TerminalSink("study")
    sink.plan(Plan(total_steps=900))
    for step in range(1, 61):
        sink.metrics(step, float(step), {"study/cells": float(step)})
    sink.log("K 16, seed 0: done")
    assert lines[0] == "study: 0/900 cells\n"
    assert "K 16, seed 0: done" in "".join(lines)
    assert not any("\r" in line for line in lines)
    moved = [line for line in lines if line.startswith("study: ")]
    assert 4 <= len(moved) <= 6  # a minute, a line every fifteen seconds


@pytest.mark.parametrize("label", ["study", "probe\x1b]0;t\x07"])
def test_no_terminal_obeys_what_a_trainer_says(lines: list[str], label: str) -> None:
    sink = TerminalSink(label)
    sink.plan(Plan(total_steps=9))
    sink.progress("stage\x9b31m", 1, 2)
    sink.progress("stage\x9b31m", 2, 2)
    sink.log("a class called \x1b[2J\u202e\nand a line")
    sink.close()
    text = "".join(lines).replace("\x1b[A", "")  # of tqdm itself, between two bars
    assert "a class called ?[2J?\nand a line" in text
    assert not any(c in text for c in "\x1b\x07\x9b\u202e")
