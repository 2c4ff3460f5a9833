"""Signals to the commands that train."""

from __future__ import annotations

import os
import signal
import time

import pytest

from moco_tui.cli.progress import terminal_sink
from moco_tui.terminal import descriptors as tty


def send(number: int) -> None:
    """To this process; Python's handler has run when it returns."""
    os.kill(os.getpid(), number)
    time.sleep(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_asks_for_a_stop_until_it_is_answered(number: int) -> None:
    with terminal_sink("run", quiet=True) as sink:
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
    with terminal_sink("run", quiet=True):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_second_interrupt_from_the_keyboard_stops_at_once() -> None:
    with terminal_sink("run", quiet=True) as sink:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert sink.request() == "stop"


def test_the_loss_of_the_terminal_asks_for_a_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    silenced: list[bool] = []
    monkeypatch.setattr(tty, "silence", lambda: silenced.append(True))
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with terminal_sink("run", quiet=True, hands_over=True) as sink:
            send(signal.SIGHUP)
            assert sink.request() == "hand-over"
            assert silenced == [True]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminal_sink("run", quiet=True, hands_over=True) as sink:
            send(signal.SIGHUP)
            assert sink.request() is None
    finally:
        signal.signal(signal.SIGHUP, before)
