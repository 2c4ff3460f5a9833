"""Notes: written, printed, removed."""

from __future__ import annotations

from pathlib import Path

from .conftest import Call, trained


def test_a_note_is_written_printed_and_removed(call: Call, root: Path) -> None:
    folder = trained(root)
    assert call("note", folder.id, "two", "words").out == "two words\n"
    assert call("note", folder.id).out == "two words\n"
    assert folder.user().note == "two words"
    assert call("note", folder.id, "").code == 0
    assert folder.user().note == ""
    assert call("note", folder.id).out == ""
