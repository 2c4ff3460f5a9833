"""The command config: what is in force, from where, and changing one setting of the file."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from moco_tui.user.user_schema import UserConfig

from .conftest import Call

ESCAPE = "\x1b]0;owned\x07"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own" / "config.toml"
    monkeypatch.setenv("MOCO_TUI_CONFIG", str(path))
    return path


def test_what_is_in_force_is_printed_with_where_it_comes_from(call: Call, path: Path) -> None:
    called = call("config")
    assert called.code == 0
    assert str(path) in called.err
    assert "there is no such file yet" in called.err
    assert not path.parent.exists(), "looking makes nothing"
    call("config", "set", "notify.seconds", "7")
    (path.parent / "state.toml").write_text('theme = "nord"\nover = ""\n')
    facts = json.loads(call("config", "--json").out)
    found = {one["key"]: (one["value"], one["from"]) for one in facts["settings"]}
    assert facts["path"] == str(path)
    assert found["notify.seconds"] == (7, "config.toml")
    assert found["theme"] == ("nord", "state.toml")
    assert found["ask_before_stop"] == (True, "default")
    assert all(one["description"] for one in facts["settings"])
    lines = call("config").out.splitlines()
    for name in UserConfig.__struct_fields__:
        assert any(line.startswith(name) for line in lines), name
    assert call("config", "--path").out == f"{path}\n"


def test_setting_and_unsetting_leaves_the_rest_of_the_file(call: Call, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("# mine\n[notify]\nseconds = 5  # short\n")
    assert call("config", "set", "notify.seconds", "9").code == 0
    assert call("config", "set", "notify.command", "notify-send", "a, b", "-u").code == 2
    assert call("config", "set", "--", "notify.command", "notify-send", "a, b", "-u").code == 0
    assert call("config", "set", "notify.on", "failed,lost").code == 0
    assert call("config", "set", "form.pretrain.queue_size", "16384").code == 0
    text = path.read_text()
    assert text.startswith("# mine\n[notify]\nseconds = 9  # short\n")
    assert call("config", "get", "notify.command").out == '["notify-send", "a, b", "-u"]\n'
    assert call("config", "get", "notify.on").out == '["failed", "lost"]\n'
    assert call("config", "get", "form.pretrain.moco.queue_size").out == "16384\n"
    groups = '{a = ["ship"], b = ["cat"]}'
    assert call("config", "set", "form.probe.task.groups", groups).code == 0
    assert call("config", "get", "form.probe.task.groups").out == f"{groups}\n"
    assert call("config", "unset", "notify.seconds").code == 0
    assert call("config", "get", "notify.seconds").out == "10\n"
    assert "is not in" in call("config", "unset", "notify.seconds").err
    assert path.read_text().startswith("# mine\n[notify]\n")


def test_a_setting_in_tables_of_its_own_is_changed_where_it_stands(call: Call, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("[form.pretrain]\noptim.epochs = 5 # few\n")
    assert call("config", "set", "form.pretrain.optim.epochs", "6").code == 0
    assert path.read_text() == "[form.pretrain]\noptim.epochs = 6 # few\n"
    assert call("config", "unset", "form.pretrain.optim.epochs").code == 0
    assert path.read_text() == "[form.pretrain]\n"


def test_the_file_is_its_users_alone_and_keeps_its_rights(call: Call, path: Path) -> None:
    """It may hold passwords, in addresses of Apprise."""
    call("config", "set", "notify.apprise", "mailto://me:secret@example.org")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o640)
    call("config", "set", "theme", "nord")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "secret" not in call("config").out
    assert "mailto://..." in call("config").out
    assert "secret" in call("config", "get", "notify.apprise").out


def test_a_link_is_the_persons_own_and_stays(call: Call, path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "dotfile").write_text("# kept elsewhere\n")
    path.symlink_to(tmp_path / "dotfile")
    assert call("config", "set", "theme", "nord").code == 0
    assert path.is_symlink()
    assert (tmp_path / "dotfile").read_text().splitlines()[0] == "# kept elsewhere"
    assert call("config", "get", "theme").out == "nord\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("set", "theme", "nordd"), "theme is nordd; it must be one of"),
        (("set", "thme", "x"), "did you mean theme?"),
        (("set", "notify.seconds", "100"), "at most 60"),
        (("set", "notify.seconds", "1", "2"), "takes one value"),
        (("set", "notify.terminal", "loud"), "must be one of auto, bell"),
        (("set", "ask_before_stop", "perhaps"), "true or false"),
        (("set", "keys.runs.nwe", "z"), "did you mean keys.runs.new?"),
        (("set", "keys.runs.new", "a b"), "keys between commas"),
        (("set", "keys", "z"), "name one in it"),
        (("set", "form.pretrain.queue_sise", "1"), "did you mean moco.queue_size?"),
        (("set", "form.pretrain.queue_size", "0"), "at least 1"),
        (("set", "notify.command", f"x{ESCAPE}"), "control characters"),
        (("set", f"x{ESCAPE}", "1"), "is not a setting"),
        (("set", "theme"), "VALUE"),
        (("get", "thme"), "did you mean theme?"),
        (("get", "keys.nothing"), "There is no binding nothing"),
        (("get", "form.pretrain.optim.epochs"), "is not set"),
        (("unset", "thme"), "did you mean theme?"),
        (("nonsense",), "nonsense"),
        (("--read-only", "set", "theme", "nord"), "--read-only"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    call: Call, path: Path, args: tuple[str, ...], said: str
) -> None:
    called = call("config", *args)
    assert (called.code, called.out) == (2, "")
    assert said in called.err
    assert called.err.count("\n") == 1
    assert "\x1b" not in called.err
    assert not path.exists()


def test_read_only_writes_nothing(call: Call, path: Path) -> None:
    for args in (("set", "theme", "nord"), ("unset", "theme"), ("edit",)):
        called = call("--read-only", "config", *args)
        assert called.code == 2
        assert "--read-only" in called.err
    assert call("--read-only", "config").code == 0
    assert not path.parent.exists()


def test_a_damaged_file_is_named_printed_and_not_written_over(call: Call, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("theme = \n")
    called = call("config")
    assert called.code == 0
    assert "is not valid TOML" in called.err
    called = call("config", "set", "theme", "nord")
    assert called.code == 2
    assert "moco-tui config edit" in called.err
    assert path.read_text() == "theme = \n"


def test_the_editor_of_the_person_opens_the_file_and_mistakes_are_said(
    call: Call, path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "my editor"
    script.write_text('#!/bin/sh\ntest "$1" = -w || exit 3\nprintf "thme = 1\\n" >> "$2"\n')
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", "false")
    monkeypatch.setenv("VISUAL", f"'{script}' -w")
    called = call("config", "edit")
    assert called.code == 2
    assert "did you mean theme?" in called.err
    assert path.read_text().endswith("thme = 1\n")
    monkeypatch.delenv("VISUAL")
    assert "ended with code 1" in call("config", "edit").err
    monkeypatch.setenv("EDITOR", "/nonexistent/editor")
    assert "cannot be started" in call("config", "edit").err


def test_every_key_is_listed_with_its_id(call: Call, path: Path) -> None:
    called = call("config", "set", "keys.runs.new", "q")
    assert "q stands for" in called.err, "taken keys are named"
    listed = {one["id"]: one for one in json.loads(call("config", "keys", "--json").out)}
    assert listed["runs.new"]["keys"] == ["q"]
    assert listed["runs.new"]["default"] == ["n"]
    assert listed["runs.probe"]["description"] == "Probe"
    assert call("config", "get", "keys.runs.probe").out == "P\n"
    lines = call("config", "keys").out.splitlines()
    (line,) = [line for line in lines if line.startswith("runs.new ")]
    assert line.endswith("*")
