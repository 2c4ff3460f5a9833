"""The notification of the terminal itself: OSC 9, OSC 777, or the bell.

OSC 9 is iTerm2's, OSC 777 that of rxvt-unicode; neither is a standard. A terminal that does not
know them ignores them (ECMA-48, 5.6), which nobody can see from here: so they are chosen where it
is known to show them, and the bell everywhere else.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping

from engine.text import one_line
from moco_tui.terminal.patient_write import open_again, write_patiently

_MOST_CHARACTERS = 250  # some terminals cut what is longer, others drop it
_SHOW_OSC9 = frozenset({"iTerm.app", "iTerm2", "WezTerm", "ghostty"})
BELL = "\x07"


def chosen_way(choice: str, environ: Mapping[str, str]) -> str:
    """``osc9``, ``osc777``, ``bell`` or ``off``, where ``auto`` leaves it to what the terminal is.

    Args:
        choice: one of these, or ``auto``.
        environ: environment variables.
    """
    if choice != "auto":
        return choice
    term = environ.get("TERM", "")
    if multiplexer(environ):  # it swallows the others, unless its user has allowed them
        return "bell"
    # LC_TERMINAL is iTerm2's, and often passed on over SSH, as are all variables that begin so.
    programs = {environ.get("TERM_PROGRAM", ""), environ.get("LC_TERMINAL", "")}
    if programs & _SHOW_OSC9 or term in ("xterm-kitty", "xterm-ghostty"):
        return "osc9"
    return "osc777" if term.partition("-")[0] == "foot" else "bell"


def multiplexer(environ: Mapping[str, str]) -> str:
    """``tmux``, ``screen`` or nothing: what stands between this process and the terminal."""
    if environ.get("TMUX"):
        return "tmux"
    return "screen" if environ.get("STY") else ""


def notice(choice: str, title: str, text: str, environ: Mapping[str, str]) -> str:
    """What is written to the terminal; empty for ``off``.

    Args:
        choice: see ``chosen_way``.
        title: a few words.
        text: a sentence.
        environ: environment variables.
    """
    way = chosen_way(choice, environ)
    title, text = (_harmless(part) for part in (title, text))
    if way == "osc9":
        return _passed_on(f"\x1b]9;{title}: {text}{BELL}", environ)
    if way == "osc777":
        return _passed_on(f"\x1b]777;notify;{title};{text}{BELL}", environ)
    return BELL if way == "bell" else ""


def _harmless(text: str) -> str:
    """A text that ends no sequence and is no part of one."""
    # ConEmu and others take OSC 9 with a number and a semicolon for commands of their own.
    return one_line(text).replace(";", ",")[:_MOST_CHARACTERS]


def _passed_on(sequence: str, environ: Mapping[str, str]) -> str:
    """A sequence for the terminal behind a multiplexer.

    tmux wants each escape doubled, and ``allow-passthrough`` switched on by its user (tmux(1));
    screen takes the string as it is.
    """
    through = multiplexer(environ)
    if through == "tmux":
        doubled = sequence.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{doubled}\x1b\\"
    return f"\x1bP{sequence}\x1b\\" if through == "screen" else sequence


def is_shown() -> bool:
    """Whether the output of this process goes to a terminal."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return sys.stdout.isatty()
    return False


def show(choice: str, title: str, text: str) -> str:
    """Notify on the terminal that stdout is, waiting a moment at most for one that is busy.

    Returns:
        What went wrong, in words that follow a colon; empty when nothing did.
    """
    data = notice(choice, title, text, os.environ)
    try:
        fd = open_again(os.ttyname(sys.stdout.fileno()))
        try:
            if not write_patiently(fd, data.encode("utf-8", "replace")):
                return "the terminal takes nothing more"
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        return f"the terminal takes nothing ({error})"
    return ""
