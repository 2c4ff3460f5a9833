"""A command of a person's that keeps what it was told, for tests of notifications."""

from __future__ import annotations

from pathlib import Path

_SCRIPT = """#!/bin/sh
env -0 > "{folder}/$$.half"
for word in "$@"; do printf '%s\\0' "argument=$word" >> "{folder}/$$.half"; done
mv "{folder}/$$.half" "{folder}/$$.told"
{end}
"""


class Receiver:
    """A script, and the notes that it was called with.

    Args:
        folder: for the script and what it keeps; made.
        end: what the script does at last.
    """

    def __init__(self, folder: Path, end: str = "exit 0") -> None:
        folder.mkdir()
        self._folder = folder
        self.script = folder / "receive"
        self.script.write_text(_SCRIPT.format(folder=folder, end=end))
        self.script.chmod(0o755)

    def configured(self, more: str = "") -> str:
        """A user's configuration with the script as its command."""
        return f'[notify]\nterminal = "off"\ncommand = ["{self.script}", "a b"]\n{more}\n'

    def notes(self) -> list[dict[str, str]]:
        """The variables of the project that each call found, and its arguments."""
        found = []
        for file in sorted(self._folder.glob("*.told"), key=lambda path: path.stat().st_mtime_ns):
            pairs = [text.partition("=") for text in file.read_text().split("\0")]
            told = {name: value for name, _, value in pairs if name.startswith("MOCO_TUI_")}
            arguments = [value for name, _, value in pairs if name == "argument"]
            found.append(told | {"arguments": "|".join(arguments)})
        return found

    def states(self) -> list[str]:
        """Of each call what had happened."""
        return [note["MOCO_TUI_RUN_STATE"] for note in self.notes()]
