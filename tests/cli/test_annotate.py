"""Tags, notes, names, the trash and the index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, create, folder_names

from .conftest import Call, begin, trained

NASTY = "[bold]x[/] \x1b[31mred\x1b[0m \u202egnp 😀 名前"


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


def test_a_note_is_written_printed_and_removed(call: Call, root: Path) -> None:
    folder = trained(root)
    assert call("note", folder.id, "two", "words").out == "two words\n"
    assert call("note", folder.id).out == "two words\n"
    assert folder.user().note == "two words"
    assert call("note", folder.id, "").code == 0
    assert folder.user().note == ""
    assert call("note", folder.id).out == ""


def test_rename_changes_how_a_run_is_found(call: Call, root: Path) -> None:
    folder = trained(root, name="before")
    trained(root)
    assert call("rename", "before", "after").out == "after\n"
    assert call("show", "before").code == 2
    assert json.loads(call("show", "after", "--json").out)["id"] == folder.id
    assert call("rename", "after", "").out == "before\n"
    called = call("rename", folder.id, "latest")
    assert called.code == 2
    assert folder.title() == "before"


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


def test_delete_and_restore(call: Call, root: Path) -> None:
    keep, first, second = trained(root), trained(root, name="named"), trained(root)
    called = call("delete", "named", second.id, second.id)
    assert (called.code, called.out) == (0, f"{first.id}\n{second.id}\n")
    assert folder_names(root) == [keep.id]
    assert [run["id"] for run in json.loads(call("runs", "--json").out)] == [keep.id]
    assert {line.split()[0] for line in call("restore").out.splitlines()} == {first.id, second.id}
    assert call("restore", "named").out == f"{first.id}\n"
    assert (
        call("restore", "latest", "--json").out == json.dumps([{"id": second.id}], indent=2) + "\n"
    )
    assert set(folder_names(root)) == {keep.id, first.id, second.id}
    assert first.record().last["knn/top1"] == 40.0


def test_a_living_run_is_not_deleted_and_nor_are_those_beside_it(call: Call, root: Path) -> None:
    done = trained(root)
    folder = create(root, "pretrain", PretrainConfig())
    with begin(folder):
        called = call("delete", done.id, folder.id)
        assert (called.code, called.out) == (2, "")
        assert "stop it" in called.err
        assert called.err.count("\n") == 1
    assert set(folder_names(root)) == {done.id, folder.id}


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


def test_annotations_of_a_run_without_a_folder_fail_with_a_sentence(call: Call, root: Path) -> None:
    folder = trained(root)
    (folder.path / "user.json").write_text("{")
    called = call("tag", folder.id)
    assert called.code == 2
    assert "damaged" in called.err
    assert called.err.count("\n") == 1
    assert isinstance(folder, RunFolder)
