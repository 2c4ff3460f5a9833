"""Reading a TOML file that a person names: plain and bounded, whatever it holds."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.files import is_folder, read_plain, reason
from engine.text import plain_text

MOST_BYTES = 1 << 20
"""Bytes that a config file may have; one with every setting has about 4,000."""
_DIGITS = "it holds a number with more digits than can be read"
_DOTTED = "it names tables that stand too deep within each other"
_NESTED = "its tables or lists stand too deep within each other"


def read_toml_file(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Args:
        path: a plain file, or a pipe that the shell has opened for this process (``/dev/fd/63``,
            as ``<(command)`` names it); a link to one of them.

    Raises:
        ConfigError: one sentence, when it cannot be read, is something else or too large, or holds
            no TOML.
    """
    pipe = _own_pipe(path)
    try:
        if is_folder(path):  # "/" has no name to open it by
            raise IsADirectoryError(errno.EISDIR, "", str(path))
        data = read_plain(path, MOST_BYTES, follow=True) if pipe is None else _read_pipe(pipe)
    except FileNotFoundError:
        raise ConfigError(f"There is no config file {path}.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise ConfigError(f"The config file {path} cannot be read: {why}.") from None
    try:
        # utf-8-sig: editors of Windows begin a file with a byte order mark, which TOML has not.
        return parse_toml(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigError(
            f"The config file {path} is not UTF-8, as TOML must be; save it in that encoding."
        ) from None
    except ValueError as error:
        raise ConfigError(f"The config file {path} is not valid TOML: {error}.") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables in a TOML text.

    Raises:
        ValueError: what is wrong with it, in words that follow a colon.
    """
    if _takes_too_long(text):
        raise ValueError(_DOTTED)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(plain_text(str(error), 200)) from None
    except RecursionError:
        raise ValueError(_NESTED) from None
    except ValueError:  # of int(), see sys.get_int_max_str_digits
        raise ValueError(_DIGITS) from None


def _takes_too_long(text: str) -> bool:
    """Whether the parser would take more than a second or two.

    It takes the square of the parts of a dotted key (``a.b.c``), and at each key of a table all
    parts of the table's name. Dots elsewhere count along: a thousand numbers fit in a line.
    """
    dots = [(line.count("."), line.lstrip()[:1] == "[") for line in text.split("\n")]
    return sum(n * n for n, _ in dots) > 10**7 or any(n > 100 for n, head in dots if head)


def _own_pipe(path: Path) -> int | None:
    """The number of a descriptor of this process that is a pipe; None for any other path.

    A pipe with a name in a folder is none: whoever opens it may wait for ever.
    """
    try:
        folder = os.path.realpath(path.parent)
        if path == Path("/dev/stdin"):
            number = 0
        elif folder in ("/dev/fd", f"/proc/{os.getpid()}/fd") and path.name.isdecimal():
            number = int(path.name)
        else:
            return None
        return number if stat.S_ISFIFO(os.fstat(number).st_mode) else None
    except (OSError, ValueError, OverflowError):
        return None


def _read_pipe(number: int) -> bytes:
    """What comes through a pipe.

    Raises:
        OSError: when it is more than a config file may have.
    """
    # The descriptor itself and not its path: opening that could wait where nobody writes any more.
    with os.fdopen(os.dup(number), "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        words = f"it has more than the {MOST_BYTES:,} bytes that such a file may have"
        raise OSError(errno.EFBIG, words)
    return data
