"""What torch's compiler starts and keeps: processes that outlive a terminal, a user's own cache.

The processes are asked through torch's own pool, which it makes on a CPU, too, but uses for the
kernels of a card.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from torch._inductor.runtime.cache_dir_utils import cache_dir

from engine.runtime.compiling import compiler_cache, compiling, keep_triton_kernels

from ...environment import with_packages

HANG_UP = """
import contextlib, os, signal, sys
from engine.runtime.compiling import compiling

def main():
    signal.signal(signal.SIGHUP, lambda *_: None)  # as a process that outlives its terminal
    with compiling() if sys.argv[1] == "inside" else contextlib.nullcontext():
        from torch._inductor.async_compile import AsyncCompile
        pool = AsyncCompile.process_pool()
        pool.submit(os.getpid).result(120)
    os.killpg(0, signal.SIGHUP)
    if sys.argv[1] != "inside":
        pool.process.wait(120)
    try:
        print("alive" if pool.submit(os.getpid).result(120) != os.getpid() else "the same process")
    except Exception as error:
        print("gone")

main()
"""


@pytest.mark.parametrize(("where", "expected"), [("inside", "alive"), ("outside", "gone")])
def test_what_compiles_outlives_a_terminal_that_closes(
    where: str, expected: str, tmp_path: Path
) -> None:
    """Outside of ``compiling`` it does not, which shows that the test would see it."""
    done = subprocess.run(
        [sys.executable, "-c", HANG_UP, where],
        env=with_packages(TORCHINDUCTOR_COMPILE_THREADS="2", XDG_CACHE_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        start_new_session=True,
    )
    assert done.stdout.strip() == expected, done.stderr


def test_signals_are_as_before_once_it_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with compiling():
        assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with compiling():
            pass
        assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)  # what a person has set stays
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == "1"


@pytest.mark.parametrize("before", ["", "torchs own"])
def test_torchs_folder_in_tmp_gives_way_to_the_users_cache(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import of torch's compiler names the folder that torch would take."""
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    if before:
        assert Path(cache_dir()).parent == Path(tempfile.gettempdir())
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == cache_dir()
    with compiling():
        assert Path(cache_dir()) == tmp_path / "moco-tui" / "compiled"


def test_what_is_compiled_lies_in_the_users_cache_where_nobody_else_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "moco-tui" / "compiled"
    assert compiler_cache() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert compiler_cache() == folder  # as it stands
    for mode in (0o770, 0o702):
        folder.chmod(mode)
        assert compiler_cache() is None
    folder.rmdir()
    folder.write_text("no folder")
    assert compiler_cache() is None


def test_triton_keeps_its_kernels_there_too_unless_a_person_names_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", "/a/place")
    keep_triton_kernels()
    assert os.environ["TRITON_CACHE_DIR"] == "/a/place"
    monkeypatch.delenv("TRITON_CACHE_DIR")
    keep_triton_kernels()
    assert os.environ["TRITON_CACHE_DIR"] == str(compiler_cache()) + "/triton"
