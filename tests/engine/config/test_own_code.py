"""Whose code is run: what counts as named, and what is refused."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config import own_code
from engine.errors import ConfigError

from ...environment import with_packages

CODE = "somebodys_module:Thing"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_code, "_named", set())


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "run.json"
    path.parent.mkdir()
    path.write_text("{}")
    return path


def is_named() -> bool:
    try:
        own_code.check_named(CODE, "model.encoder")
    except ConfigError:
        return False
    return True


def test_nothing_is_named_until_somebody_names_it() -> None:
    with pytest.raises(ConfigError, match=rf"^model\.encoder is {CODE}, .* --allow-code {CODE}\.$"):
        own_code.check_named(CODE, "model.encoder")
    own_code.name_paths([CODE])
    assert is_named()


def test_a_file_of_this_user_names_its_code(record: Path) -> None:
    own_code.name_if_own([CODE], record)
    assert is_named()


def test_a_file_of_another_user_names_nothing(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    own_code.name_if_own([CODE], record)
    assert not is_named()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("given_away", ["run/run.json", "run"])
def test_file_and_folder_both_have_to_be_this_users(
    record: Path, tmp_path: Path, given_away: str
) -> None:
    os.chown(tmp_path / given_away, 12345, -1)
    own_code.name_if_own([CODE], record)
    assert not is_named()


@pytest.mark.parametrize("shared", ["run/run.json", "run"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize(("members", "named"), [((), True), (("someone",), False)])
def test_what_others_may_write_names_nothing(
    record: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: str,
    mode: int,
    members: tuple[str, ...],
    named: bool,
) -> None:
    """A group of one's own, as many systems give each user, is nobody else's."""
    (tmp_path / shared).chmod(0o755 | mode)
    user = pwd.struct_passwd(("me", "x", os.getuid(), os.getgid(), "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user)
    group = grp.struct_group(("me", "x", os.getgid(), [*members]))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    own_code.name_if_own([CODE], record)
    assert is_named() == (named and mode == 0o020)


def test_a_link_and_a_file_that_is_not_there_name_nothing(record: Path) -> None:
    link = record.parent / "link.json"
    link.symlink_to(record)
    own_code.name_if_own([CODE], link)
    own_code.name_if_own([CODE], record.parent / "gone.json")
    assert not is_named()


def test_a_process_that_is_started_here_knows_what_is_named() -> None:
    assert own_code.environment() == {}
    own_code.name_paths([CODE, "a.b:C"])
    ask = (
        "from engine.config import own_code\n"
        f"own_code.check_named({CODE!r}, 'k')\n"
        "own_code.check_named('a.b:C', 'k')\n"
    )
    environment = with_packages(**own_code.environment())
    subprocess.run([sys.executable, "-c", ask], env=environment, check=True)
