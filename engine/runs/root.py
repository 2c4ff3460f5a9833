"""The folder of all runs: where it is, which runs it holds, making one and finding one."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.errors import RunError
from engine.files import reason, replace_file
from engine.runs.folder import NAME_LIMIT, RunFolder
from engine.runs.record import Record, encode_record
from engine.text import clean_text

# No vowels, so that no id is a word; none of l, 1, 0 and o, which look alike.
_ALPHABET = "bcdfghjkmnpqrstvwxyz23456789"
_ID_LENGTH = 6


def runs_root(option: str | None) -> Path:
    """Where the runs are: the option, else ``$MOCO_TUI_RUNS``, else ``./runs``; absolute."""
    text = option or os.environ.get("MOCO_TUI_RUNS") or "runs"
    # Not Path.resolve: the path is shown to people, who know it by its symlinks; and not
    # Path.absolute, which keeps "..".
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100


def create(
    root: Path,
    kind: str,
    config: Struct,
    *,
    name: str = "",
    preset: str = "",
    parent: str = "",
) -> RunFolder:
    """Make the folder of a new run, in state ``queued``.

    Args:
        root: folder of all runs; made when it is missing.
        kind: ``pretrain``, ``probe`` or ``study``.
        config: the resolved configuration.
        name: for people; cut to one line of 200 characters.
        preset: preset that the config was made from.
        parent: id of the run whose encoder is used.

    Raises:
        RunError: when the folder cannot be made, or JSON cannot hold the configuration.
    """
    tree = msgspec.to_builtins(config)
    runtime = tree.get("runtime")
    record = Record(
        id="",
        kind=kind,
        name=clean_text(name, NAME_LIMIT),
        preset=preset,
        config=tree,
        parent=parent,
        seed=runtime.get("seed", 0) if isinstance(runtime, dict) else 0,
        created=time.time(),
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        record.id = _free_id(root)
        folder = RunFolder(root / record.id)
        # Filled under another name, so that no process sees a run folder without its record. The
        # rename fails where another process has taken the id meanwhile: its folder is not empty.
        encoded = encode_record(record)  # before anything is made: it may hold what JSON cannot
        making = root / f".{record.id}.new"
        making.mkdir()
        try:
            replace_file(making / "run.json", encoded)
            making.rename(folder.path)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        return folder
    except UnicodeEncodeError as error:
        raise RunError(
            "The run cannot be recorded: its configuration holds a text that is not UTF-8."
        ) from error
    except OSError as error:
        raise RunError(
            f"The runs folder {root} cannot be written: {reason(error)}; "
            "--runs-dir names another place."
        ) from error


def _free_id(root: Path) -> str:
    """A random id (one of 28**6, about 480 million) that no run in the root has."""
    while True:
        id_ = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
        if not id_.isdigit() and not (root / id_).exists():
            return id_


def folders(root: Path) -> list[RunFolder]:
    """Every run folder, by name. Empty when the root does not exist.

    Raises:
        RunError: when the root cannot be read.
    """
    return [RunFolder(root / name) for name in folder_names(root)]


def folder_names(root: Path) -> list[str]:
    """Names of everything in the root that is a run folder (it holds a ``run.json``)."""
    # lexists and plain texts: a Path and a stat each would be felt in a folder of ten thousand.
    base = str(root)
    return sorted(n for n in candidates(root) if os.path.lexists(f"{base}/{n}/run.json"))


def candidates(root: Path) -> list[str]:
    """Names of the folders in the root that may be run folders, without opening any of them.

    Hidden ones (the trash, runs in the making) and names that would garble a table are left out.

    Raises:
        RunError: when the root cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return [
                e.name
                for e in entries
                if not e.name.startswith(".") and e.name.isprintable() and e.is_dir()
            ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"The runs folder {root} cannot be read: {reason(error)}.") from error


def find(root: Path, ref: str) -> RunFolder:
    """The run that is meant by an id, a unique prefix of one, a name, or ``latest``.

    Raises:
        RunError: one sentence, when there is none or more than one.
    """
    ref = ref.strip()
    names = folder_names(root)
    if not names:
        raise RunError(f"There are no runs in {root}.")
    if not ref:
        raise RunError("Which run? Give its id, the beginning of it, its name, or latest.")
    # An id first, in any case of letters; then exact names, "latest", and what is unique.
    if ref.lower() in names:
        return RunFolder(root / ref.lower())
    if ref in names:
        return RunFolder(root / ref)
    if ref == "latest":
        return _latest(root, names)
    begin = [name for name in names if name.startswith(ref.lower())]
    if len(begin) == 1:
        return RunFolder(root / begin[0])
    # Titles need every record to be read, so they come last.
    named = [name for name in names if RunFolder(root / name).title() == ref]
    if len(named) == 1:
        return RunFolder(root / named[0])
    if named or begin:
        several = named or begin
        shown = ", ".join(several[:5]) + (", ..." if len(several) > 5 else "")
        raise RunError(f"{clean_text(ref, 60)} could be any of {shown}; give the whole id.")
    raise RunError(
        f"There is no run {clean_text(ref, 60)} in {root}; moco-tui runs lists those there are."
    )


def _latest(root: Path, names: list[str]) -> RunFolder:
    dated = []
    for folder in (RunFolder(root / name) for name in names):
        with contextlib.suppress(RunError):  # a damaged record has no date
            dated.append((folder.record().created, folder.id))
    if not dated:
        raise RunError(f"No run in {root} has a record that can be read.")
    return RunFolder(root / max(dated)[1])
