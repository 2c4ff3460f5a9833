"""Paths are completed as a shell does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.present.path_completion import MOST_ENTRIES, complete


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("train", "test", "extra images", ".hidden", "Test"):
        (tmp_path / name).mkdir()
    (tmp_path / "te.txt").write_text("no folder")
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "text", "candidates"),
    [
        ("", "", ("Test/", "extra images/", "test/", "train/")),
        ("t", "t", ("test/", "train/")),
        ("te", "test/", ("test/",)),
        ("ex", "extra images/", ("extra images/",)),
        (".", ".", ()),
        (".h", ".hidden/", (".hidden/",)),
        ("x", "x", ()),
        ("test/", "test/", ()),
        ("gone/x", "gone/x", ()),
    ],
)
def test_what_a_beginning_becomes(
    folders: Path, typed: str, text: str, candidates: tuple[str, ...]
) -> None:
    found = complete(f"{folders}/{typed}")
    expected = f"{folders}/{text}" if typed != "." else f"{folders}/.hidden/"
    assert found.text == expected
    assert found.candidates == (candidates if typed != "." else (".hidden/",))


def test_the_common_part_is_filled_in(tmp_path: Path) -> None:
    for name in ("cifar10", "cifar100", "other"):
        (tmp_path / name).mkdir()
    found = complete(f"{tmp_path}/c")
    assert (found.text, found.candidates) == (f"{tmp_path}/cifar10", ("cifar10/", "cifar100/"))


def test_the_own_folder_and_the_one_of_now(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folders))
    monkeypatch.chdir(folders)
    assert complete("~").text == "~/"
    assert complete("~/tr").text == "~/train/"
    assert complete("tr").text == "train/"


@pytest.mark.parametrize("typed", ["~nobody-of-this-name/x", "a\0b/c", "/" * 5000 + "x/y"])
def test_what_is_no_path_stays_as_it_is(typed: str) -> None:
    assert complete(typed).text == typed


def test_of_a_huge_folder_a_part_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_ENTRIES > 100
    monkeypatch.setattr("moco_tui.present.path_completion.MOST_ENTRIES", 3)
    for number in range(9):
        (tmp_path / f"f{number}").mkdir()
    assert len(complete(f"{tmp_path}/f").candidates) == 3
