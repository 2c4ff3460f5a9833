"""A theme that was chosen in the app holds until the configuration names another one."""

from __future__ import annotations

import json
from pathlib import Path

from moco_tui.user.remembered import (
    ListMemory,
    baseline_of,
    charts_of,
    list_memory,
    remember_baseline,
    remember_charts,
    remember_list,
    remember_theme,
    state_path,
    theme_of,
)
from moco_tui.user.user_file import read_user_file


def test_the_later_choice_holds(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert theme_of(read_user_file(path)) == ("", None)
    assert remember_theme(read_user_file(path), "nord") == ""
    state = state_path(read_user_file(path))
    assert theme_of(read_user_file(path)) == ("nord", state)
    path.write_text("theme = 'dracula' # by hand\n")
    assert theme_of(read_user_file(path)) == ("dracula", path)
    assert remember_theme(read_user_file(path), "gruvbox") == ""
    assert theme_of(read_user_file(path)) == ("gruvbox", state)
    assert path.read_text() == "theme = 'dracula' # by hand\n", "a person's file stays as it is"


def test_a_damaged_memory_is_as_none(tmp_path: Path) -> None:
    user = read_user_file(tmp_path / "config.toml")
    for text in ("theme = 3", "theme = '\\u001b[2J'", "theme =", "[theme]\nx = 1", "theme = ''"):
        state_path(user).write_text(text.replace("'", '"'))
        assert theme_of(user) == ("", None), text


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    user = read_user_file(tmp_path / "file" / "config.toml")
    said = remember_theme(user, "nord")
    assert said.startswith("The theme is not remembered: ")
    assert theme_of(user) == ("", None)


def test_each_thing_that_is_remembered_leaves_the_others(tmp_path: Path) -> None:
    user = read_user_file(tmp_path / "config.toml")
    memory = ListMemory(("name", "moco.queue_size"), "-best", True)
    assert remember_theme(user, "nord") == ""
    assert remember_list(user, memory) == ""
    assert remember_baseline(user, Path("/runs"), "k7m2qx") == ""
    assert remember_theme(user, "gruvbox") == ""
    assert theme_of(user)[0] == "gruvbox"
    assert list_memory(user) == memory
    assert baseline_of(user, Path("/runs")) == "k7m2qx"


def test_columns_that_were_left_alone_stay_those_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[columns]\nruns = ["name"]\n')
    remember_list(read_user_file(path), ListMemory(("name",), "name", False))
    path.write_text('[columns]\nruns = ["best"]\n')
    assert list_memory(read_user_file(path)) == ListMemory(("best",), "name", False)


def test_odd_memories_of_the_list_are_as_none(tmp_path: Path) -> None:
    user = read_user_file(tmp_path / "config.toml")
    for text in (
        "runs = 3",
        "[runs]\ncolumns = 'name'\nsort = 3\nreverse = 'yes'\nbaselines = 3",
        "[runs]\nsort = '\\u001b[2J'\nbaselines = {'/runs' = 3}",
    ):
        state_path(user).write_text(text.replace("'", '"'))
        assert list_memory(user) == ListMemory(), text
        assert baseline_of(user, Path("/runs")) == "", text


def test_theme_and_charts_are_kept_beside_each_other(tmp_path: Path) -> None:
    user = read_user_file(tmp_path / "config.toml")
    assert remember_charts(user, "pretrain", ["loss", "card0/use"]) == ""
    assert remember_theme(user, "nord") == ""
    assert remember_charts(user, "probe", ["accuracy"]) == ""
    assert charts_of(user, "pretrain") == ["loss", "card0/use"]
    assert charts_of(user, "probe") == ["accuracy"]
    assert theme_of(user)[0] == "nord"
    assert not user.path.exists(), "a person's file is never written"


def test_odd_charts_in_the_memory_are_left_out(tmp_path: Path) -> None:
    user = read_user_file(tmp_path / "config.toml")
    for text in ("charts = 3", "charts = ['loss']", "[charts]\npretrain = 'loss'"):
        state_path(user).write_text(text)
        assert charts_of(user, "pretrain") == [], text
    keys = ["loss", 3, "\x1b[2J", "x" * 500, *["a"] * 999]
    state_path(user).write_text(f"[charts]\npretrain = {json.dumps(keys)}")
    assert set(charts_of(user, "pretrain")) == {"loss", "a"}
    assert len(charts_of(user, "pretrain")) < 20
