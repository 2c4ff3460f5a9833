"""The folder of all runs: where it is, which runs it holds, and making one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.errors import RunError
from engine.files import reason, replace_file
from engine.runs.creation_order import next_order, note_newest
from engine.runs.file_lock import check_locks
from engine.runs.folder import START_NAME, RunFolder
from engine.runs.kept_checkpoints import second_name
from engine.runs.note_limits import checked_name
from engine.runs.record import Branch, Record, encode_record
from engine.runs.run_lock import RunLock, lock_is_held

# No vowels, so that no id is a word; none of l, 1, 0 and o, which look alike.
_ALPHABET = "bcdfghjkmnpqrstvwxyz23456789"
_ID_LENGTH = 6
_MAKING = re.compile(
    rf"\.[{_ALPHABET}]{{{_ID_LENGTH}}}\.new"
)  # a run in the making, or on its way out
_ABANDONED_SECONDS = (
    3600.0  # whoever makes a run needs a moment: an older one is of a killed process
)


class BranchStart(Struct, frozen=True):
    """What a pretraining goes on from.

    Attributes:
        file: a checkpoint of another pretraining, which stays as it is.
        branch: which one it is.
    """

    file: Path
    branch: Branch


def runs_root(option: str | None) -> Path:
    """Where the runs are: the option, else ``$MOCO_TUI_RUNS``, else ``./runs``; absolute."""
    text = option or os.environ.get("MOCO_TUI_RUNS") or "runs"
    # Not Path.resolve: the path is shown to people, who know it by its symlinks; and not
    # Path.absolute, which keeps "..".
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100


def data_root(option: str | None) -> Path:
    """Where data sets and caches are: the option, ``$MOCO_TUI_DATA``, or the user's cache."""
    chosen = option or os.environ.get("MOCO_TUI_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return user_cache()


def user_cache() -> Path:
    """The folder of this program in the user's cache; absolute."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "moco-tui"


def create(
    root: Path,
    kind: str,
    config: Struct,
    *,
    name: str = "",
    preset: str = "",
    parent: str = "",
    study: str = "",
    checkpoint: str = "",
    start: BranchStart | None = None,
) -> RunFolder:
    """Make the folder of a new run, in state ``queued``.

    Args:
        root: folder of all runs; made when it is missing.
        kind: ``pretrain``, ``probe`` or ``study``.
        config: the resolved configuration.
        name: for people; cut to one line of 200 characters.
        preset: preset that the config was made from.
        parent: id of the run whose encoder is used.
        study: id of the study that makes the run.
        checkpoint: which of the parent's, see ``Record``.
        start: what a pretraining goes on from, where it does not begin anew.

    Raises:
        RunError: when the folder cannot be made, its file system has no locks, the name is the
            word ``latest``, or JSON cannot hold the configuration.
    """
    tree = msgspec.to_builtins(config)
    runtime = tree.get("runtime")
    record = Record(
        id="",
        kind=kind,
        name=checked_name(name),
        preset=preset,
        config=tree,
        parent=parent,
        checkpoint=checkpoint,
        began_from=None if start is None else start.branch,
        seed=runtime.get("seed", 0) if isinstance(runtime, dict) else 0,
        created=time.time(),
        untrained={},
        study=study,
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _folder_in_the_making(root) as making:
            record.id = making.name[1:-4]
            record.order = next_order(root, lambda: folder_names(root), record.created)
            replace_file(making / "run.json", encode_record(record))
            # Here, so that it is the owner's: who may not write it cannot remove what it answered.
            (making / "control").mkdir()
            if start is not None:  # its own name: the other run may change or go meanwhile
                second_name(start.file, making / START_NAME)
            note_newest(root, record)
            # Fails where another process has taken the id meanwhile: its folder is not empty.
            return RunFolder(making.rename(root / record.id))
    except UnicodeEncodeError as error:
        raise RunError(
            "The run cannot be recorded: its configuration holds a text that is not UTF-8."
        ) from error
    except OSError as error:
        raise _unwritable(root, error) from error


def check_place(root: Path) -> None:
    """Refuse a place where no run can be made, before somebody waits for what a run needs.

    Args:
        root: folder of all runs; where it is missing, the nearest folder above it is looked at, and
            nothing is made.

    Raises:
        RunError: when it cannot be written, or its file system has no locks.
    """
    try:
        check_locks(root)
    except OSError as error:
        raise _unwritable(root, error) from error


def _unwritable(root: Path, error: OSError) -> RunError:
    return RunError(
        f"The runs folder {root} cannot be written: {reason(error)}; --runs-dir names another "
        "place."
    )


@contextlib.contextmanager
def _folder_in_the_making(root: Path) -> Iterator[Path]:
    """A folder ``.ID.new`` to fill, so that no process sees a run folder without its record.

    The lock of the run is held meanwhile: so others know that it is not abandoned. What an error
    leaves of it is removed.
    """
    making = root / f".{_free_id(root)}.new"
    making.mkdir()
    lock = RunLock(making / "lock")
    try:
        check_locks(making)  # else it would be made, and nobody could ever own it
        lock.acquire()
        _remove_abandoned(root, making.stat().st_mtime)
        yield making
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    finally:
        lock.unlock()


def _remove_abandoned(root: Path, now: float) -> None:
    """Remove what processes that were killed while they made a run have left.

    Args:
        root: folder of all runs.
        now: unix seconds by the clock of the file system, which may be that of another machine.
    """
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if _MAKING.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    # The age counts only beside the lock: the clock may have been set. One from
                    # the future is as old. (A lock alone would not do where locks do not reach
                    # from machine to machine, nor for a folder that has none yet.)
                    old = abs(now - entry.stat().st_mtime) > _ABANDONED_SECONDS
                    if old and not lock_is_held(Path(entry.path, "lock")):
                        shutil.rmtree(entry.path)


def _free_id(root: Path) -> str:
    """A random id (one of 28**6, about 480 million) that no run in the root has."""
    while True:
        id_ = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
        taken = os.path.lexists(root / id_) or os.path.lexists(root / f".{id_}.new")
        if not id_.isdigit() and not taken:
            return id_


def is_run_id(name: str) -> bool:
    """Whether ``create`` could have given a run this name."""
    return len(name) == _ID_LENGTH and not name.strip(_ALPHABET)


def folders(root: Path) -> list[RunFolder]:
    """Every run folder, by name. Empty when the root does not exist.

    Raises:
        RunError: when the root cannot be read.
    """
    return [RunFolder(root / name) for name in folder_names(root)]


def folder_names(root: Path, skipped: dict[str, OSError] | None = None) -> list[str]:
    """Names of everything in the root that is a run folder (it holds a ``run.json``).

    Args:
        root: the folder.
        skipped: as in ``candidates``.

    Raises:
        RunError: when the root cannot be read.
    """
    # Plain texts: a Path each would be felt in a folder of ten thousand.
    base = str(root)
    return sorted(n for n in candidates(root, skipped) if _has_record(base, n, skipped))


def _has_record(root: str, name: str, skipped: dict[str, OSError] | None) -> bool:
    try:
        os.lstat(f"{root}/{name}/run.json")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if skipped is not None:
            skipped[name] = error
        return False
    return True


def candidates(root: Path, skipped: dict[str, OSError] | None = None) -> list[str]:
    """Names of the folders in the root that may be run folders, without opening any of them.

    Hidden ones (the trash, runs in the making) and names that would garble a table are left out,
    and so is an entry that cannot be looked at (a link to itself, a damaged disk).

    Args:
        root: the folder.
        skipped: gets the error of each entry that cannot be looked at, by its name.

    Raises:
        RunError: when the root cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return [
                e.name
                for e in entries
                if not e.name.startswith(".") and e.name.isprintable() and _is_dir(e, skipped)
            ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"The runs folder {root} cannot be read: {reason(error)}.") from error


def _is_dir(entry: os.DirEntry[str], skipped: dict[str, OSError] | None) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # a missing target is no error here (DirEntry.is_dir)
        if skipped is not None:
            skipped[entry.name] = error
        return False
