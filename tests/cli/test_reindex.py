"""The index is made anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Call, trained


@pytest.mark.parametrize("damage", [b"", b"{", b'{"runs": 3}', None])
def test_a_damaged_index_is_made_anew(call: Call, root: Path, damage: bytes | None) -> None:
    ids = {trained(root).id for _ in range(3)}
    call("tag", min(ids), "+kept")
    index = root / "history.json"
    if damage is None:
        index.unlink()
    else:
        index.write_bytes(damage)
    called = call("reindex", "--json")
    assert called.code == 0
    assert json.loads(called.out) == {"runs": 3, "root": str(root)}
    called = call("runs", "--json")
    assert called.err == ""  # nothing is wrong with the index any more
    assert {run["id"]: run["tags"] for run in json.loads(called.out)} == {
        id_: ["kept"] if id_ == min(ids) else [] for id_ in ids
    }
