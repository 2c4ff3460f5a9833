"""Looks at encoders in a process of its own, for the app.

A look builds encoders, which draws from torch's default generator, and sets the threads of the
process: in that of the app it would change the numbers of a run that trains there. Its own process
runs behind a training (``nice``), can be ended at any moment, and frees its memory.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.errors import UserError
from engine.files import reason
from engine.runs.encoder_look import Look, LookRequest
from moco_tui.training.detached import child_command, child_environment

T = TypeVar("T")
PROGRESS = "\x1e"
"""Begins a line of the process that tells its progress."""
Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``, called in another thread."""


class LookCancelled(Exception):  # noqa: N818 - it is no error
    """The process was ended because somebody had enough."""


class LookProcess:
    """Computes looks and their maps, one at a time; to be called in a thread.

    Args:
        root: folder of the run folders.
        data_dir: where data sets and their caches live.
    """

    def __init__(self, root: Path, data_dir: Path) -> None:
        self._places = ["--runs-dir", str(root), "--data-dir", str(data_dir)]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def look(self, request: LookRequest, progress: Progress) -> Look:
        """What encoders make of images.

        Raises:
            UserError: one sentence on what is missing or does not fit.
            LookCancelled: after ``cancel``.
        """
        result = self._run([], msgspec.json.encode(request), progress)
        return _decoded(result, Look)

    def tsne(self, components: bytes, count: int, progress: Progress) -> list[tuple[float, float]]:
        """A t-SNE map; see ``engine.evaluate.plane_maps.tsne_plane``.

        Raises:
            UserError: one sentence, also where scikit-learn is missing.
            LookCancelled: after ``cancel``.
        """
        result = self._run(["--map", str(count)], components, progress)
        return _decoded(result, list[tuple[float, float]])

    def cancel(self) -> None:
        """End the process that computes, and refuse to start another."""
        with self._lock:
            self._cancelled = True
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def _run(self, words: list[str], asked: bytes, progress: Progress) -> bytes:
        """What the process wrote."""
        process = self._start(words)
        said: list[str] = []
        listener = threading.Thread(
            target=_listen, args=(process, progress, said), name="look", daemon=True
        )
        listener.start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(asked)
            process.stdin.close()
        except OSError:  # it has ended; what it said is the reason
            pass
        result = process.stdout.read()
        code = process.wait()
        listener.join()
        process.stdout.close()
        if self._cancelled:
            raise LookCancelled
        if code:
            # The command's own sentence comes last, after what libraries may have written.
            last = said[-1].removeprefix("moco-tui: ") if said else ""
            raise UserError(last or f"The process of the look ended without a word ({code}).")
        return result

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._cancelled:
                raise LookCancelled
            try:
                self._process = subprocess.Popen(
                    child_command("_look", *words, *self._places),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=child_environment(),
                    start_new_session=True,  # signals of the terminal reach the app alone
                )
            except OSError as error:
                raise UserError(f"The look did not start: {reason(error)}.") from error
            return self._process


def _decoded(data: bytes, type_: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(data, type=type_)
    except msgspec.MsgspecError as error:
        raise UserError("The process of the look said something unexpected.") from error


def _listen(process: subprocess.Popen[bytes], progress: Progress, said: list[str]) -> None:
    """Passes the progress of a process on, and keeps what else it says; in a thread."""
    assert process.stderr is not None
    for line in process.stderr:
        text = line.decode("utf-8", "replace").rstrip("\n")
        if not text.startswith(PROGRESS):
            said += [text] if text.strip() else []
            continue
        done, _, rest = text.removeprefix(PROGRESS).partition("\t")
        total, _, stage = rest.partition("\t")
        if done.isdecimal() and total.isdecimal():
            progress(stage, int(done), int(total))
    process.stderr.close()
