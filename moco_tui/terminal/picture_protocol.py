"""Which pictures the terminal shows: those of Kitty's protocol, Sixel, half blocks or letters.

The terminal is asked by the running app, when the first picture stands on its screen, and what it
answers is read with the keys: nobody waits for a terminal that answers late, or never.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec

from textual.message import Message

from engine.errors import UserError

VARIABLE = "MOCO_TUI_PICTURES"
"""The environment variable that forces a kind of pictures, or ``auto``."""
CHOICES = ("auto", "kitty", "sixel", "blocks", "letters")
MISSING = "pictures need the extra 'pictures' (pip install 'moco-tui[pictures]')"

# The size of a cell in pixels (xterm's ctlseqs, XTWINOPS 16); whether a picture of one pixel could
# be shown (Kitty's graphics protocol, "Querying support"); the terminal's name (XTVERSION). At last
# the kind of terminal (DA1), which every terminal answers: all answers are there then.
QUESTION = "\x1b[16t\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[>0q\x1b[c"
# Not compiled here: the first screen shows no picture.
_KIND = rb"\x1b\[\?([0-9;]*)c"
_CELL = rb"\x1b\[6;(\d{1,3});(\d{1,3})t"
_NAME = rb"\x1bP>\|([^\x07\x1b]*)\x1b\\"
_VERSION = rb"([a-z]+)\D*(\d+)\.(\d+)"  # in the name: kitty(0.42.1), ghostty 1.2.0
_KITTY = rb"\x1b_Gi=31;OK\x1b\\"
_SIXEL = b"4"  # an ability in the answer to DA1
# Others answer that they know Kitty's protocol, but lack its placeholders, as Kitty once did.
_PLACEHOLDERS_SINCE = {b"kitty": (0, 28), b"ghostty": (0, 0)}
_MOST_HEARD = 4096  # bytes; answers are far shorter, but keys may stand between them

# These draw on terminals of their own, and pass on no pictures unless they are set up for it.
_BETWEEN = ("TMUX", "STY", "ZELLIJ")
_BETWEEN_TERMS = ("tmux", "screen")


def chosen_pictures(environ: Mapping[str, str] | None = None) -> str:
    """What ``MOCO_TUI_PICTURES`` says, one of ``CHOICES``; ``auto`` where it is not set.

    Args:
        environ: environment variables; None: those of this process.

    Raises:
        UserError: it says something else, or what is not installed.
    """
    said = (os.environ if environ is None else environ).get(VARIABLE, "").strip().lower() or "auto"
    if said not in CHOICES:
        raise UserError(f"{VARIABLE} is {said!r}; it can be {', '.join(CHOICES[:-1])} or letters.")
    if said in ("kitty", "sixel") and not has_library():
        raise UserError(f"{VARIABLE} is {said}, but {MISSING}.")
    return said


def has_library() -> bool:
    """Whether the library that draws pictures is installed; it is not imported."""
    return find_spec("textual_image") is not None


def may_ask(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the terminal is one to ask for pictures.

    Not within tmux and its like, and not where no colours are wanted. Apple's terminal has no
    pictures, and writes parts of questions that it does not know on the screen.

    Args:
        environ: environment variables; None: those of this process.
    """
    environ = os.environ if environ is None else environ
    if environ.get("NO_COLOR") or any(environ.get(name) for name in _BETWEEN):
        return False
    if environ.get("TERM", "").startswith(_BETWEEN_TERMS):
        return False
    return environ.get("TERM_PROGRAM", "") != "Apple_Terminal"


class PicturesAnswered(Message):
    """The terminal has said which pictures it shows.

    Args:
        protocol: ``kitty``, ``sixel`` or ``blocks``.
        cell: width and height of a cell in pixels; zeros where it has not said.
    """

    def __init__(self, protocol: str, cell: tuple[int, int]) -> None:
        super().__init__()
        self.protocol, self.cell = protocol, cell


class PictureAnswers:
    """Looks for the answers to ``QUESTION`` in what a terminal sends.

    Attributes:
        waiting: the question has been asked, and its last answer has not come.
    """

    def __init__(self) -> None:
        self.waiting = False
        self._heard = b""

    def hear(self, data: bytes) -> PicturesAnswered | None:
        """What the terminal has said, once its last answer is there.

        Args:
            data: bytes that were read; nothing is taken from them.
        """
        if not self.waiting:
            return None
        self._heard = (self._heard + data)[-_MOST_HEARD:]
        kind = re.search(_KIND, self._heard)
        if kind is None:
            return None
        heard, self._heard, self.waiting = self._heard, b"", False
        cell, name = re.search(_CELL, heard), re.search(_NAME, heard)
        size = (int(cell[2]), int(cell[1])) if cell else (0, 0)
        # Sixel first: those that know both lack the placeholders (WezTerm, Konsole).
        if _SIXEL in kind[1].split(b";")[1:]:
            return PicturesAnswered("sixel", size)
        if re.search(_KITTY, heard) and name and _has_placeholders(name[1]):
            return PicturesAnswered("kitty", size)
        return PicturesAnswered("blocks", size)


def _has_placeholders(name: bytes) -> bool:
    """Whether a terminal draws pictures where placeholders of them stand."""
    found = re.match(_VERSION, name.lower())
    if found is None or found[1] not in _PLACEHOLDERS_SINCE:
        return False
    return (int(found[2][:9]), int(found[3][:9])) >= _PLACEHOLDERS_SINCE[found[1]]
