"""The state of the git checkout that a module was imported from: commit, changes, patch.

git is asked as a program, and whatever it says or does not say, no run fails: what could not be
found out is a note. Nothing of the repository is run or written: no hook, no external diff, no
file system monitor, no index.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engine.files import read_plain

SECONDS = 4.0
"""How long git may take in all for a checkout."""
PATCH_BYTES = 256 << 10
"""Bytes of a patch that are kept: every run has its own."""
_STATUS_BYTES = 4 << 20
# The last one: diff would write the index, whatever GIT_OPTIONAL_LOCKS says.
_OPTIONS = (
    "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.quotePath=true",
    "-c", "diff.autoRefreshIndex=false",
)  # fmt: skip
_DIFF = (
    "--no-ext-diff", "--no-textconv", "--no-color", "--binary", "--no-relative",
    "--ignore-submodules=dirty",
)  # fmt: skip
_TOUCHED = re.compile(rb"^diff --git .*\n(?=diff --git |\Z)", re.MULTILINE)
"""What stands in a diff for a file whose time alone is another."""
_MODULES = ("--", ":(top,glob)**/*.py")
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class Checkout:
    """What git says of a checkout.

    Attributes:
        commit: 40 (or 64) hexadecimal digits; empty before the first commit, and where not known.
        branch: its name; empty on none.
        changed: tracked files that differ from the commit; None where that is not known.
        untracked: files and folders that git neither tracks nor ignores.
        patch: what leads from the commit to the tracked files and imported modules that are there,
            as ``git apply`` takes it.
        note: what could not be found out, or was cut; one sentence or empty.
    """

    commit: str = ""
    branch: str = ""
    changed: int | None = None
    untracked: int = 0
    patch: bytes = b""
    note: str = ""


_UNREADABLE = Checkout(note="git does not read the repository; it may belong to another user.")


class _GitError(Exception):
    """git did not answer; the message is a sentence."""


@functools.lru_cache(maxsize=64)
def checkout_of(file: Path) -> Checkout | None:
    """The checkout that a file of source code belongs to, as it was when this was first asked.

    What is imported stays as it is for the life of a process, so later changes do not count.

    Args:
        file: an imported module.

    Returns:
        None for a file in no repository, and for one that its repository ignores, as it does an
        installed package below a project.
    """
    return read_checkout(file)


def read_checkout(file: Path, *, seconds: float = SECONDS) -> Checkout | None:
    """``checkout_of``, asked now."""
    git = _Git(file.parent, time.monotonic() + seconds)
    try:
        if not git.answers("rev-parse", "--is-inside-work-tree"):
            return _UNREADABLE if _has_repository(file) else None
        if git.answers("check-ignore", "--quiet", "--", file.name):
            return None
        # Of a package that is installed below a project, and that nobody has told git to ignore.
        if _INSTALLED & set(file.parts) and not git.answers(
            "ls-files", "--error-unmatch", "--", file.name
        ):
            return None
        return _read(git)
    except _GitError as error:
        return Checkout(note=str(error))


def _has_repository(file: Path) -> bool:
    return any(os.path.lexists(folder / ".git") for folder in file.parents)


def _read(git: _Git) -> Checkout:
    """The state, once it is known that there is a repository."""
    commit = branch = ""
    changed = untracked = 0
    status = git.output("status", "--porcelain=v2", "--branch", "--ignore-submodules=dirty")
    for line in status.decode("utf-8", "replace").splitlines():
        match line.split(" ", 2):
            case ["#", "branch.oid", text]:
                commit = "" if text.startswith("(") else text
            case ["#", "branch.head", text]:
                branch = "" if text.startswith("(") else text
            case ["?", *_]:
                untracked += 1
            case ["1" | "2" | "u", *_]:
                changed += 1
    patch, note = b"", ""
    try:
        if changed and commit:
            patch = _TOUCHED.sub(b"", git.output("diff", *_DIFF, "HEAD", most=PATCH_BYTES))
        if untracked:
            patch += _imported_but_untracked(git)
    except (_GitError, OSError) as error:
        note = f"The patch is not whole: {error}"
    if len(patch) >= PATCH_BYTES:
        patch, note = _cut(patch)
    return Checkout(commit, branch, changed, untracked, patch, note)


def _imported_but_untracked(git: _Git) -> bytes:
    """A patch that adds the modules which nobody has told git of, and which this process imported.

    These alone: other files may hold anything, and their owner has not named them.
    """
    top = Path(os.fsdecode(git.output("rev-parse", "--show-toplevel").rstrip(b"\n")))
    found = git.output("ls-files", "--others", "--exclude-standard", "--full-name", "-z", *_MODULES)
    places = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    imported = {os.path.realpath(place) for place in places if isinstance(place, str)}
    patch = b""
    for name in sorted(map(os.fsdecode, filter(None, found.split(b"\0")))):
        if os.path.realpath(top / name) in imported and name.isprintable():
            patch += added_file(name, read_plain(top / name, PATCH_BYTES))
        if len(patch) >= PATCH_BYTES:
            break
    return patch


def added_file(name: str, data: bytes) -> bytes:
    """A patch that adds a file, as ``git apply`` takes it.

    Args:
        name: of the file, from the top of the checkout.
        data: the text that it holds.
    """
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    if not data:
        return head.encode()
    lines = data.split(b"\n")
    whole = lines[-1] == b""
    lines = lines[:-1] if whole else lines
    head += f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n"
    end = b"" if whole else b"\\ No newline at end of file\n"
    return head.encode() + b"".join(b"+" + line + b"\n" for line in lines) + end


def _cut(patch: bytes) -> tuple[bytes, str]:
    note = f"The patch is cut: it has more than {PATCH_BYTES >> 10} KiB."
    whole = patch[:PATCH_BYTES].rpartition(b"\n")[0]
    return whole + f"\n# {note}\n".encode(), note


class _Git:
    """Asks git about a folder until a moment of the monotonic clock."""

    def __init__(self, folder: Path, deadline: float) -> None:
        self._folder, self._deadline = folder, deadline
        # Else a repository that a hook or a shell has set would be meant, and not that of the file.
        kept = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
        self._environment = kept | {
            "GIT_OPTIONAL_LOCKS": "0",  # status would write the index
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }

    def answers(self, *arguments: str) -> bool:
        """Whether git says yes, by its exit code."""
        return self._run(arguments, 4096)[0] == 0

    def output(self, *arguments: str, most: int = _STATUS_BYTES) -> bytes:
        """What git prints, at most ``most`` bytes of it.

        Raises:
            _GitError: when it fails or takes too long.
        """
        code, data = self._run(arguments, most)
        if code != 0 and len(data) < most:  # with enough it was ended
            raise _GitError(f"git {arguments[0]} failed (exit code {code}).")
        return data

    def _run(self, arguments: tuple[str, ...], most: int) -> tuple[int, bytes]:
        command = ["git", *_OPTIONS, "-C", str(self._folder), *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # to end what it may have started with it
            )
        except OSError:
            raise _GitError("There is no git here to ask.") from None
        try:
            data = self._collected(process, most)
            return process.wait(self._left()), data
        except subprocess.TimeoutExpired:
            raise _GitError(f"git did not answer within {SECONDS:g} s.") from None
        finally:
            _end(process)

    def _collected(self, process: subprocess.Popen[bytes], most: int) -> bytes:
        """What a process prints until it ends, or until there is enough: then it is ended."""
        assert process.stdout is not None
        found = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while len(found) < most:
                if not selector.select(self._left()):
                    raise subprocess.TimeoutExpired("git", SECONDS)
                data = os.read(process.stdout.fileno(), min(most - len(found), 1 << 16))
                if not data:
                    return bytes(found)
                found += data
        _end(process)
        return bytes(found)

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def patch_name(patch: bytes) -> str:
    """The file of a patch in a run folder; see ``engine.runs.provenance.FILE``."""
    return f"patch-{hashlib.sha256(patch).hexdigest()[:12]}.diff"
