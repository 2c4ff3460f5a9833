"""Another name for a run."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Call, trained


def test_rename_changes_how_a_run_is_found(call: Call, root: Path) -> None:
    folder = trained(root, name="before")
    trained(root)
    called = call("rename", "before", "after")
    assert (called.out, called.err) == ("after\n", f"renamed {folder.id} (before)\n")
    assert call("show", "before").code == 2
    assert json.loads(call("show", "after", "--json").out)["id"] == folder.id
    assert call("rename", "after", "").out == "before\n"
    called = call("rename", folder.id, "latest")
    assert called.code == 2
    assert folder.title() == "before"
