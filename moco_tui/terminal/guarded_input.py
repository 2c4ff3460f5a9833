"""What a terminal sends, as Textual's messages; what cannot be read is dropped.

Textual reads strict UTF-8 and lets errors of its parser end the app (its modules ``_xterm_parser``
and ``drivers.linux_driver``), and it types escape sequences that it does not know as single keys,
each of which may be bound to something.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import selectors
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.keys import Keys
from textual.message import Message

from moco_tui.terminal.picture_protocol import QUESTION, PictureAnswers

# A report of the mouse in xterm's first protocol: three bytes that are no text, each 32 more than
# its value, or 0 for a column or row beyond 223 ("Mouse Tracking" in xterm's ctlseqs).
_MOUSE = re.compile(rb"\x1b\[M[\x00\x20-\xff]{3}")
# The beginning of that report, or of an answer about pictures (``picture_protocol.QUESTION``).
_BEGUN = re.compile(rb"\x1b(?:\[M[\x00\x20-\xff]{0,2}|(?:_G|P>)[^\x07\x1b]{0,99}\x1b?)\Z")
# Answers to questions that another program has asked, such as the colour of the background: OSC,
# DCS and their like, up to BEL or ST (ECMA-48, 5.6 and 8.3.89 ff.).
_ANSWER = re.compile(rb"\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)")
# A whole control sequence (ECMA-48, 5.4), or a function key of one letter (SS3). Without those that
# Textual looks at later: reports of the mouse (final m, M) and of modes (y). An opening bracket is
# no end, since the Linux console sends one within its function keys.
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-LN-Z\\-ln-xz{|}~]|\x1bO[A-Za-z]")
_UNREADABLE = "\ufffd"
_MOST_CELLS = 2000  # in width or height: no screen has more


class _TolerantParser(XTermParser):
    """Textual's parser, less the sequences that it does not know or cannot take."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        if alt:  # no key is bound with Alt: a letter came close behind an Escape, as in a burst
            yield events.Key("escape", "\x1b")
        try:
            keys = list(super()._sequence_to_key_events(sequence))
        except (ValueError, OverflowError):  # a number that is no number, or no character
            keys = [events.Key(Keys.Ignore, sequence)]
        if not keys and _SEQUENCE.fullmatch(sequence):
            keys = [events.Key(Keys.Ignore, sequence)]  # Textual's mark of what it shall drop
        yield from keys


class InputReader:
    """Turns bytes of a terminal into messages, whatever they are.

    Args:
        answers: looks for answers about pictures.
    """

    def __init__(self, answers: PictureAnswers | None = None) -> None:
        self._answers = answers or PictureAnswers()
        # Not "ignore": reports count characters, and one that is left out would have the next key
        # taken in its place.
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._parser = _TolerantParser()
        self._begun = b""

    def read(self, data: bytes) -> Iterator[Message]:
        """The messages that these bytes complete.

        Args:
            data: what was read; empty when nothing has come for a while, which ends what has begun.
        """
        if answered := self._answers.hear(data):
            yield answered
        data = _ANSWER.sub(b"", _MOUSE.sub(b"", self._begun + data)) if data else b""
        begun = _BEGUN.search(data)
        self._begun = begun[0] if begun else b""
        for character in self._decode(data.removesuffix(self._begun)):
            yield from self._sound(self._parser.feed(character))
        yield from self._sound(self._parser.tick())

    def _sound(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Those that the app can take; after an error of the parser a new one goes on."""
        try:
            yield from filter(_is_sound, messages)
        except Exception:
            self._parser = _TolerantParser()  # a generator that has raised has ended


def _is_sound(message: Message) -> bool:
    """Whether the app can take a message: no key of unreadable bytes, no size without cells."""
    if isinstance(message, events.Key):
        return _UNREADABLE not in (message.character or "")
    if isinstance(message, events.Resize):
        return all(0 < cells <= _MOST_CELLS for cells in message.size)
    return True


class GuardedDriver(LinuxDriver):
    """Textual's driver with a reader that no byte can end.

    Attributes:
        farewell: gives what is written before the terminal is handed back.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.farewell: Callable[[], str] = str
        self._answers = PictureAnswers()

    def ask_about_pictures(self) -> None:
        """Asks the terminal which pictures it shows; ``PicturesAnswered`` comes when it has said.

        Nothing waits for that, so a terminal that says nothing costs nothing.
        """
        self._answers.waiting = True
        self.write(QUESTION)

    def stop_application_mode(self) -> None:
        """Takes the pictures from the terminal, and switches its modes back."""
        if farewell := self.farewell():
            self.write(farewell)
        super().stop_application_mode()

    def run_input_thread(self) -> None:
        """Reads until the app ends; a terminal that is gone is left to the guard of signals."""
        reader = InputReader(self._answers)
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                ready = selector.select(0.1)
                data = os.read(self.fileno, 4096) if ready else b""
                if ready and not data:  # the end of a file, which would be read again at once
                    self.exit_event.wait(0.1)
                for message in reader.read(data):
                    self.process_message(message)
