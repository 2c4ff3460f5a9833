"""Runs come back from the trash."""

from __future__ import annotations

from pathlib import Path

from .conftest import Call, trained


def test_restore_of_nothing_says_so(call: Call, root: Path) -> None:
    folder = trained(root)
    called = call("restore")
    assert (called.code, called.out) == (0, "")
    assert "empty" in called.err
    called = call("restore", folder.id)
    assert called.code == 2
    assert called.err.count("\n") == 1
    call("delete", folder.id)
    assert call("restore", "nobody").code == 2
    assert call("restore", "../runs").code == 2
