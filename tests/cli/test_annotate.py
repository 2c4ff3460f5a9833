"""What people write of their runs, wherever it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.cli import annotate

from .conftest import Call, trained

NASTY = "[bold]x[/] \x1b[31mred\x1b[0m \u202egnp 😀 名前"


def test_texts_of_people_never_reach_the_terminal_as_commands(call: Call, root: Path) -> None:
    folder = trained(root, name=NASTY)
    for words in (
        ["rename", folder.id, NASTY],
        ["note", folder.id, NASTY],
        ["tag", folder.id, "+" + NASTY],
        ["runs"],
        ["runs", "--csv"],
        ["show", folder.id],
        ["compare", folder.id, trained(root, name=NASTY).id],
        ["delete", folder.id],
        ["restore"],
        ["restore", folder.id],
    ):
        called = call(*words)
        assert called.code == 0
        for character in ("\x1b", "\u202e", "\r"):
            assert character not in called.out + called.err
        if words[0] in ("rename", "note", "runs", "show", "compare"):
            assert "[bold]x[/]" in called.out
            assert "😀 名前" in called.out


@pytest.mark.parametrize("words", [["tag", "+new"], ["note", "new"], ["rename", "new"]])
def test_what_others_keep_locked_is_said_and_nothing_is_written(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    folder = trained(root, name="old")
    call("tag", folder.id, "+old")
    monkeypatch.setattr(annotate, "_PATIENCE", 0.01)
    before = folder.user_path.read_bytes()
    with folder.notes_lock():
        called = call(words[0], folder.id, words[1])
    assert (called.code, called.out) == (2, "")
    assert "is being written by another process; nothing was changed." in called.err
    assert called.err.count("\n") == 1
    assert folder.user_path.read_bytes() == before
