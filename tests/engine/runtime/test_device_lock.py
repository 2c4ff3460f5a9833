"""The lock of a device: one trainer at a time, who waits says so and can be called off."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.runs.device_holder import locks_folder
from engine.runtime.device_lock import DeviceLock, device_key
from engine.sink import Interrupted, NullSink, Request

from ...environment import with_packages

KEY, NAME = "cuda-1234", "cuda:0 a card"


class Listener(NullSink):
    """Records what it is told; ``asks`` is requested after so many looks."""

    def __init__(self, asks: Request | None = None) -> None:
        self.asks = asks
        self.lines: list[str] = []
        self.stages: list[tuple[str, int, int]] = []
        self.waits = threading.Event()

    def log(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, stage: str, done: int, total: int) -> None:
        self.stages.append((stage, done, total))
        self.waits.set()

    def request(self) -> Request | None:
        return self.asks


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOCO_TUI_LOCKS", str(tmp_path))
    monkeypatch.delenv("MOCO_TUI_SHARE_DEVICE", raising=False)
    monkeypatch.setattr("engine.runtime.device_lock.POLL_SECONDS", 0.001)
    return tmp_path


@pytest.fixture
def held() -> Iterator[DeviceLock]:
    """A lock of the card that somebody else has: another descriptor is another owner."""
    lock = DeviceLock()
    lock.acquire(KEY, name=NAME, holder="run k7m2qx (process 123)", sink=NullSink())
    yield lock
    lock.close()


def acquire(lock: DeviceLock, sink: NullSink, key: str = KEY) -> None:
    lock.acquire(key, name=NAME, holder="run other", sink=sink)


def test_a_free_card_is_taken_without_a_word(folder: Path) -> None:
    lock, sink = DeviceLock(), Listener()
    acquire(lock, sink)
    assert lock.fd is not None
    assert (sink.lines, sink.stages) == ([], [])
    lock.close()
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o666, "another user must be able to lock it too"


def test_who_waits_names_the_other_and_goes_on_when_the_card_is_free(held: DeviceLock) -> None:
    lock, sink = DeviceLock(), Listener()
    thread = threading.Thread(target=acquire, args=(lock, sink))
    thread.start()
    assert sink.waits.wait(60)
    assert "run k7m2qx (process 123)" in sink.lines[0]
    assert sink.stages == [(f"waiting for {NAME}", 0, 1)]
    assert lock.fd is None
    held.close()
    thread.join(60)
    assert lock.fd is not None
    assert sink.stages[-1] == (f"waiting for {NAME}", 1, 1)
    lock.close()


@pytest.mark.parametrize("request_", ["stop", "hand-over"])
def test_who_waits_can_be_called_off(held: DeviceLock, request_: Request) -> None:
    lock = DeviceLock()
    with pytest.raises(Interrupted) as raised:
        acquire(lock, Listener(asks=request_))
    assert raised.value.request == request_
    assert lock.fd is None


def test_other_cards_and_the_cpu_are_not_waited_for(held: DeviceLock) -> None:
    lock = DeviceLock()
    acquire(lock, Listener(), key="cuda-5678")
    assert lock.fd is not None
    lock.close()
    assert device_key(torch.device("cpu")) == ""
    acquire(lock, Listener(), key="")
    assert lock.fd is None


def test_sharing_is_possible_on_purpose(held: DeviceLock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCO_TUI_SHARE_DEVICE", "1")
    lock = DeviceLock()
    acquire(lock, Listener())
    assert lock.fd is None


def test_the_successor_inherits_the_lock_without_a_gap(held: DeviceLock) -> None:
    """Another process that got the descriptor has the card, also when the first lets go."""
    assert held.fd is not None
    code = (
        "import sys\n"
        "from engine.runtime.device_lock import DeviceLock\n"
        "from engine.sink import NullSink\n"
        "lock = DeviceLock(int(sys.argv[1]))\n"
        f"lock.acquire({KEY!r}, name={NAME!r}, holder='the successor', sink=NullSink())\n"
        "assert lock.fd == int(sys.argv[1])\n"
        "print('has it', flush=True); sys.stdin.readline()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(held.fd)],
        pass_fds=[held.fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=with_packages(),
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "has it\n"
        held.close()
        with pytest.raises(Interrupted):
            acquire(DeviceLock(), waiter := Listener(asks="stop"))
        assert "the successor" in waiter.lines[0]
    finally:
        child.communicate("\n", timeout=20)
    acquire(after := DeviceLock(), Listener())
    assert after.fd is not None
    after.close()


def test_a_descriptor_of_something_else_is_closed_and_the_lock_taken_anew(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    lock = DeviceLock(fd)
    acquire(lock, Listener())
    assert lock.fd is not None
    assert os.path.samestat(os.fstat(lock.fd), os.stat(tmp_path / f"moco-tui-{KEY}.lock"))  # noqa: PTH116
    lock.close()


def test_a_lock_file_that_a_cleaner_removed_is_made_anew(held: DeviceLock, folder: Path) -> None:
    """A lock on a removed file keeps nobody out; whoever locks must find its file in its place."""
    (file,) = folder.iterdir()
    file.unlink()
    lock = DeviceLock()
    acquire(lock, Listener())
    with pytest.raises(Interrupted):
        acquire(DeviceLock(), Listener(asks="stop"))
    lock.close()


@pytest.mark.parametrize("obstacle", ["folder", "link", "nowhere"])
def test_where_no_lock_can_be_made_the_run_goes_on_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    path = folder / f"moco-tui-{KEY}.lock"
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "link":  # planted in a folder that everybody may write to
        (folder / "precious").write_text("text")
        path.symlink_to(folder / "precious")
    else:
        monkeypatch.setenv("MOCO_TUI_LOCKS", str(folder / "missing"))
    lock, sink = DeviceLock(), Listener()
    acquire(lock, sink)
    assert lock.fd is None
    assert "going on without it" in sink.lines[0]
    if obstacle == "link":
        assert (folder / "precious").read_text() == "text"


def test_the_folder_does_not_depend_on_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOCO_TUI_LOCKS")
    monkeypatch.setenv("TMPDIR", "/somewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert locks_folder() == Path("/tmp")


@pytest.mark.gpu
def test_the_key_of_a_card_is_its_uuid() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert len(device_key(torch.device("cuda", 0))) > 20


@pytest.mark.timeout(30)  # a pipe would be waited for
@pytest.mark.parametrize("kind", ["link", "hard-link", "pipe", "pipe-to-read", "folder"])
def test_what_another_user_put_in_its_place_is_left_alone(folder: Path, kind: str) -> None:
    path = folder / f"moco-tui-{KEY}.lock"
    mine = folder / "mine"
    mine.write_text("mine")
    {
        "link": lambda: path.symlink_to(mine),
        "hard-link": lambda: path.hardlink_to(mine),
        "pipe": lambda: os.mkfifo(path),
        "pipe-to-read": lambda: os.mkfifo(path, 0o444),
        "folder": lambda: path.mkdir(),
    }[kind]()
    lock, sink = DeviceLock(), Listener()
    acquire(lock, sink)
    assert lock.fd is None
    assert len(sink.lines) == 1
    assert "going on without it" in sink.lines[0]
    assert mine.read_text() == "mine"
