"""Where and by whom torch.compile has a step compiled: all cores, and a cache of the user's own."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine.machine.cpu_count import available_cpus
from engine.runs.root import user_cache

MOST_COMPILERS = 32
"""Processes that compile at a time; torch starts no more, whatever the machine has."""

_CACHE, _TRITON_CACHE = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Inside, what is compiled is compiled on all cores and kept for later processes.

    torch starts processes of its own for it. The SIGHUP of a terminal that closes, which this
    process survives, would kill them: they begin with it blocked, as their parent has it at that
    moment, and end when their parent does. What was compiled lies in the user's cache, since any
    process that reads it runs it: not in a folder of data, which others may write, and not in
    ``/tmp``, which a restart empties. ``TORCHINDUCTOR_COMPILE_THREADS`` and
    ``TORCHINDUCTOR_CACHE_DIR`` say otherwise where they are set.
    """
    os.environ.setdefault(
        "TORCHINDUCTOR_COMPILE_THREADS", str(min(MOST_COMPILERS, available_cpus()))
    )
    cache = compiler_cache()
    if cache is not None and _is_torchs_own(os.environ.get(_CACHE, "")):
        os.environ[_CACHE] = str(cache)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def keep_triton_kernels() -> None:
    """Has Triton keep the kernels that it compiles from now on in the user's cache, too.

    ``TRITON_CACHE_DIR`` says otherwise where it is set.
    """
    cache = compiler_cache()
    if cache is not None:
        os.environ.setdefault(_TRITON_CACHE, str(cache / "triton"))


def _is_torchs_own(cache: str) -> bool:
    """Whether nobody has named this folder: torch sets the variable itself where it has none."""
    named = Path(cache)
    own = named.name.startswith("torchinductor_") and named.parent == Path(tempfile.gettempdir())
    return own or not cache


def compiler_cache() -> Path | None:
    """The folder for what is compiled, this user's alone; None where there can be none."""
    folder = user_cache() / "compiled"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return None
    private = found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if private and os.access(folder, os.W_OK | os.X_OK) else None
