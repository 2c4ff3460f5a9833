"""The terminal's own notification: what is written for which terminal, and always clean."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from moco_tui.terminal.notice import chosen_way, notice

from ...pseudo_terminal import environment, open_terminal

SHOW = "import sys; from moco_tui.terminal import notice\n" + (
    "print(notice.is_shown(), file=sys.stderr)\n"
    "print(repr(notice.show(sys.argv[1], 'title', sys.argv[2])), file=sys.stderr)\n"
)
HOSTILE = "a\x1b]0;owned\x07b;c\x1b\\d\x9c\u202e\ne"


@pytest.mark.parametrize(
    ("environ", "way"),
    [
        ({"TERM": "xterm-256color"}, "bell"),
        ({}, "bell"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "osc9"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "osc9"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "osc9"),
        ({"TERM": "xterm-kitty"}, "osc9"),
        ({"TERM": "foot-extra"}, "osc777"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, "bell"),
        ({"TERM": "screen", "STY": "1.x", "LC_TERMINAL": "iTerm2"}, "bell"),
    ],
)
def test_what_auto_chooses(environ: Mapping[str, str], way: str) -> None:
    assert chosen_way("auto", environ) == way
    for choice in ("osc9", "osc777", "bell", "off"):
        assert chosen_way(choice, environ) == choice


def test_the_sequences() -> None:
    assert notice("osc9", "t", "x", {}) == "\x1b]9;t: x\x07"
    assert notice("osc777", "t", "x", {}) == "\x1b]777;notify;t;x\x07"
    assert notice("bell", "t", "x", {}) == "\x07"
    assert notice("off", "t", "x", {}) == ""


def test_a_multiplexer_is_asked_to_pass_it_on() -> None:
    """As tmux(1) and screen(1) want it: each escape doubled, or the string as it is."""
    tmux = notice("osc9", "t", "x", {"TMUX": "x"})
    assert tmux == "\x1bPtmux;\x1b\x1b]9;t: x\x07\x1b\\"
    inner = re.fullmatch(r"\x1bPtmux;(.*)\x1b\\", tmux, re.DOTALL)
    assert inner is not None
    assert inner[1].replace("\x1b\x1b", "\x1b") == notice("osc9", "t", "x", {})
    assert notice("osc777", "t", "x", {"STY": "x"}) == "\x1bP\x1b]777;notify;t;x\x07\x1b\\"
    assert notice("bell", "t", "x", {"TMUX": "x"}) == "\x07"


@pytest.mark.parametrize("way", ["osc9", "osc777"])
def test_no_text_ends_a_sequence_or_adds_to_it(way: str) -> None:
    made = notice(way, HOSTILE, HOSTILE * 1000, {})
    assert made.startswith("\x1b]")
    assert made.endswith("\x07")
    inner = made[2:-1]
    assert inner.isprintable()
    assert inner.count(";") == {"osc9": 1, "osc777": 3}[way]
    assert len(made) < 600


def shown(way: str, text: str, **variables: str) -> tuple[bytes, list[str]]:
    """What a process in a pseudo-terminal writes to it, and what it says."""
    master, slave = open_terminal((80, 24))
    bare = dict.fromkeys(("TMUX", "STY", "TERM_PROGRAM", "LC_TERMINAL"), "")
    done = subprocess.run(
        [sys.executable, "-c", SHOW, way, text],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**(bare | variables)),
        timeout=120,
    )
    os.set_blocking(master, False)
    try:
        data = os.read(master, 65536)
    except BlockingIOError:
        data = b""
    os.close(slave)
    os.close(master)
    return data, done.stderr.splitlines()


def test_it_reaches_a_real_terminal() -> None:
    assert shown("osc777", "done") == (b"\x1b]777;notify;title;done\x07", ["True", "''"])
    data, _ = shown("auto", "a\x1b[2Jb", TERM_PROGRAM="ghostty")
    assert data == b"\x1b]9;title: a?[2Jb\x07"
    assert shown("auto", "done", TMUX="x")[0] == b"\x07"


def test_where_there_is_no_terminal_nothing_is_written() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW, "bell", "done"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == "False"
    assert "the terminal takes nothing" in done.stderr
