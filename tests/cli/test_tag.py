"""Tags: added, removed, printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.runs import RunFolder

from .conftest import Call, trained


def test_tags_are_added_and_removed_in_one_call(call: Call, root: Path) -> None:
    folder = trained(root)
    assert call("tag", folder.id, "+slow", "hard", "+best-of").out == "best-of hard slow\n"
    assert call("tag", folder.id, "-hard", "-slow", "+new").out == "best-of new\n"
    assert call("tag", folder.id).out == "best-of new\n"
    assert folder.user().tags == ("best-of", "new")
    assert json.loads(call("tag", folder.id, "--json").out) == {
        "id": folder.id,
        "tags": ["best-of", "new"],
    }
    listed = json.loads(call("runs", "--filter", "tag:new", "--json").out)
    assert [run["id"] for run in listed] == [folder.id]


def test_a_tag_that_looks_like_help_is_a_tag(call: Call, root: Path) -> None:
    folder = trained(root)
    call("tag", folder.id, "+hot", "+v")
    assert call("tag", folder.id, "-hot").out == "v\n"
    called = call("tag", folder.id, "-v", "-v", "-absent")
    assert (called.code, called.out) == (0, "")
    assert "no tag absent" in called.err


@pytest.mark.parametrize("word", ["--long", "+", "-", "", "+\x1b"])
def test_what_is_no_tag_is_refused_and_nothing_changes(call: Call, root: Path, word: str) -> None:
    folder = trained(root)
    called = call("tag", folder.id, "+good", word)
    assert (called.code, called.out) == (2, "")
    assert called.err.count("\n") == 1
    assert folder.user().tags == ()


def test_annotations_of_a_run_without_a_folder_fail_with_a_sentence(call: Call, root: Path) -> None:
    folder = trained(root)
    (folder.path / "user.json").write_text("{")
    called = call("tag", folder.id)
    assert called.code == 2
    assert "damaged" in called.err
    assert called.err.count("\n") == 1
    assert isinstance(folder, RunFolder)
