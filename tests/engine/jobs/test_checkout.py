"""The state of a checkout: what git says, and that no run suffers where it says nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from engine.jobs import checkout
from engine.jobs.checkout import PATCH_BYTES, Checkout, added_file, patch_name, read_checkout

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str, data: bytes = b"") -> str:
    """Git as a person would call it, whatever is set on this machine."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *who, "-C", str(folder), *words],
        check=True, capture_output=True, env=environment, input=data,
    )  # fmt: skip
    return done.stdout.decode().strip()


def read(file: Path) -> Checkout:
    found = read_checkout(file)
    assert found is not None
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A commit of two modules."""
    place = tmp_path / "project"
    (place / "package").mkdir(parents=True)
    git(place, "init", "-q", "-b", "main")
    (place / "package" / "net.py").write_text("width = 1\n")
    (place / "other.py").write_text("x = 1\n")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "one")
    return place


@pytest.fixture
def net(repository: Path) -> Path:
    return repository / "package" / "net.py"


def test_a_clean_checkout_is_its_commit(repository: Path, net: Path) -> None:
    assert read(net) == Checkout(git(repository, "rev-parse", "HEAD"), "main", 0)


def test_a_patch_leads_from_the_commit_to_the_files(repository: Path, net: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    net.write_text("width = 2\n")
    (repository / "other.py").write_bytes(b"x = 1\n\x00\xff\n")
    git(repository, "add", "other.py")  # staged or not
    found = read(net)
    assert (found.commit, found.changed, found.untracked, found.note) == (commit, 2, 0, "")
    git(repository, "reset", "-q", "--hard")
    git(repository, "apply", "-", data=found.patch)
    assert net.read_text() == "width = 2\n"
    assert (repository / "other.py").read_bytes() == b"x = 1\n\x00\xff\n"


@pytest.mark.parametrize("text", [b"a\nb\n", b"a\nb", b"", b"\n", b"x\r\ny"])
def test_an_imported_module_that_is_not_tracked_is_in_the_patch(
    repository: Path, net: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    new, secret = repository / "new_net.py", repository / "secrets.py"
    new.write_bytes(text)
    secret.write_text("password = 'x'\n")  # nobody has imported it
    (repository / ".env").write_text("TOKEN=x\n")
    module = ModuleType("new_net")
    module.__file__ = str(new)
    monkeypatch.setitem(sys.modules, "new_net", module)
    found = read(net)
    assert (found.changed, found.untracked) == (0, 3)
    assert b"password" not in found.patch
    assert b"TOKEN" not in found.patch
    new.unlink()
    git(repository, "apply", "-", data=found.patch)
    assert new.read_bytes() == text


def test_added_files_are_as_git_writes_them(repository: Path) -> None:
    (repository / "n.py").write_bytes(b"a\nb")
    git(repository, "add", "n.py")
    lines = git(repository, "diff", "--cached").splitlines()
    assert added_file("n.py", b"a\nb").decode().splitlines() == [
        line for line in lines if not line.startswith("index ")
    ]


def test_a_detached_head_is_on_no_branch(repository: Path, net: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert (read(net).branch, len(read(net).commit)) == ("", 40)


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("")
    found = read(tmp_path / "a.py")
    assert (found.commit, found.changed, found.untracked) == ("", 0, 1)


def test_a_huge_patch_is_cut_and_says_so(net: Path) -> None:
    net.write_text("".join(f"line_{i} = {i}\n" for i in range(200_000)))
    found = read(net)
    assert PATCH_BYTES // 2 < len(found.patch) <= PATCH_BYTES + 100
    assert found.note == "The patch is cut: it has more than 256 KiB."
    assert found.patch.endswith(b"# The patch is cut: it has more than 256 KiB.\n")


def test_a_folder_without_a_repository_has_no_checkout(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    assert read_checkout(tmp_path / "a.py") is None


@pytest.mark.parametrize("ignored", [True, False])
def test_a_package_that_is_installed_below_a_project_is_not_of_it(
    repository: Path, ignored: bool
) -> None:
    place = repository / ".venv" / "lib" / "site-packages"
    place.mkdir(parents=True)
    (place / "a.py").write_text("")
    if ignored:
        (repository / ".gitignore").write_text(".venv\n")
    assert read_checkout(place / "a.py") is None


def test_the_repository_of_a_hook_is_not_taken_for_that_of_the_file(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = read(net).commit
    git(tmp_path, "init", "-q", "elsewhere")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere" / ".git"))
    assert read(net).commit == commit


def written(path: Path) -> tuple[int, int, int, int]:
    """What writing a file changes of it; its time of access changes when it is read."""
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def test_nothing_of_the_repository_is_run_or_written(repository: Path, net: Path) -> None:
    trap = repository.parent / "trap"
    script = repository.parent / "script"
    script.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    script.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(script))
    git(repository, "config", "diff.external", str(script))
    git(repository, "config", "diff.x.textconv", str(script))
    (repository / ".git" / "info" / "attributes").write_text("*.py diff=x\n")
    net.write_text("width = 2\n")
    trap.unlink(missing_ok=True)
    before = written(repository / ".git" / "index")
    os.utime(repository / "other.py", (1, 1))  # what would make status refresh the index
    patch = read(net).patch
    assert b"+width = 2" in patch
    assert b"other.py" not in patch
    assert not trap.exists()
    assert written(repository / ".git" / "index") == before


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_without_git_that_is_a_note(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert read(net) == Checkout(note="There is no git here to ask.")


def test_a_git_that_hangs_is_ended_with_all_that_it_started(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "pid"
    fake_git(tmp_path / "bin", monkeypatch, f"sleep 60 & echo $! > {mark}; wait")
    start = time.monotonic()
    found = read_checkout(net, seconds=2.0)
    assert time.monotonic() - start < 40
    assert found is not None
    assert "did not answer" in found.note
    pid = mark.read_text().strip()
    state = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 60
    while _lives(state):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(state: Path) -> bool:
    """Whether a process is there that has not ended, by its ``/proc/PID/stat``."""
    try:
        return state.read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_git_that_fails_is_a_note(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = 'case "$*" in *status*|*check-ignore*) exit 3;; *) exit 0;; esac'
    fake_git(tmp_path / "bin", monkeypatch, words)
    assert read(net).note == "git status failed (exit code 3)."


def test_a_repository_that_git_refuses_is_a_note(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # damaged, as git sees it; one of another user is refused likewise
    (tmp_path / "a.py").write_text("")
    assert "does not read the repository" in read(tmp_path / "a.py").note


def test_what_was_imported_is_asked_for_once(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.checkout_of.cache_clear()
    first = checkout.checkout_of(net)
    net.write_text("width = 2\n")
    assert checkout.checkout_of(net) is first
    checkout.checkout_of.cache_clear()


def test_patches_are_named_by_what_they_hold() -> None:
    assert patch_name(b"a") == patch_name(b"a") != patch_name(b"b")
