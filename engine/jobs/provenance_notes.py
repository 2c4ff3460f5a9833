"""Notes in the record of a run where it came from, beside its training."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from engine.config.resolve import paths_of
from engine.config.schema import AnyConfig
from engine.errors import RunError, described
from engine.jobs.checkout import SECONDS
from engine.jobs.surroundings import card_facts, gather
from engine.runs import RunOwner
from engine.runs.provenance import change_words

_SECONDS_AT_THE_END = SECONDS + 1.0


@contextlib.contextmanager
def noted_provenance(
    owner: RunOwner, config: AnyConfig, device: torch.device, step: int
) -> Iterator[None]:
    """Gathers where a run comes from in a thread, while the block trains it.

    git and the file system may take their time, and the first step does not wait for them. What
    goes wrong with them is a line of the log and no more. The block's end waits a few seconds at
    most: behind it, the thread writes nothing.

    Args:
        owner: of the run.
        config: the run; modules of the user's own that it names are imported already.
        device: what it computes on.
        step: the steps that are done.
    """
    notes = _Notes(owner, paths_of(config), card_facts(device), step)
    # daemon: a process must be able to leave while a file system hangs.
    thread = threading.Thread(target=notes.write, name=f"provenance-{owner.folder.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(_SECONDS_AT_THE_END)
        notes.close()


class _Notes:
    """What the thread does; ``close`` keeps it from writing any more."""

    def __init__(
        self, owner: RunOwner, own_code: Sequence[str], card: Mapping[str, Any], step: int
    ) -> None:
        self._owner, self._own_code, self._card, self._step = owner, own_code, card, step
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def write(self) -> None:
        """Gathers and records; a resume with something else says so in the log."""
        try:
            found = gather(self._card, self._own_code)
        except Exception as error:  # of a broken installation, or an odd system: the run goes on
            self._log(f"where this run comes from is not recorded: {described(error)}")
            return
        with self._lock, contextlib.suppress(RunError):  # the owner raises it where it matters
            if self._closed:
                return
            then = self._owner.note_provenance(self._step, found.values, found.files)
            words = change_words(then, found.values) if then else ""
            if words:
                self._owner.log(f"goes on with something else than before: {words}")

    def _log(self, text: str) -> None:
        with self._lock:
            if not self._closed:
                self._owner.log(text)
