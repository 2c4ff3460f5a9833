"""What people write of their runs, wherever it is printed."""

from __future__ import annotations

from pathlib import Path

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
