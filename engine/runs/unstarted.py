"""What becomes of a new run that could not be started: it is not left queued for nobody."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from engine.errors import RunError
from engine.runs.folder import RunFolder
from engine.runs.run_lock import RunLock
from engine.runs.takeover import own


@contextlib.contextmanager
def taken_back_unless_begun(folder: RunFolder) -> Iterator[None]:
    """Start a run within this context that was made a moment ago: an error takes it back.

    Only what left it queued does: a run that began to be trained has a record that says what became
    of it, and stays.

    Args:
        folder: made by this process, so that nobody else counts on it.
    """
    try:
        yield
    except BaseException as error:  # a KeyboardInterrupt, too, leaves nothing behind
        take_back(folder, str(error) or type(error).__name__)
        raise


def take_back(folder: RunFolder, why: str) -> bool:
    """Remove a new run that was not begun; one with something in its log is recorded as failed.

    Nothing happens to a run that is no longer queued, or that another process has taken. Never
    raises: it is called on the way out of another error.

    Args:
        folder: the run.
        why: a sentence for the record of a run whose log says more.

    Returns:
        True when the folder is gone.
    """
    with contextlib.suppress(RunError, OSError):
        if folder.record().status != "queued":
            return False
        if folder.log_tail(1):
            record_failure(folder, why)
            return False
        lock = RunLock(folder.lock_path)
        try:
            with contextlib.suppress(RunError):  # without locks nobody can have taken it
                if not lock.acquire():
                    return False
            # Away under a hidden name first: nobody sees half a run.
            gone = folder.path.with_name(f".{folder.id}.new")
            folder.path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            return True
        finally:
            lock.unlock()
    return False


def record_failure(folder: RunFolder, why: str) -> None:
    """Record a run as failed that is still queued though its process has ended. Never raises."""
    with contextlib.suppress(RunError):
        if folder.record().status == "queued":
            with own(folder) as owner:
                owner.transition("failed", error=why)
