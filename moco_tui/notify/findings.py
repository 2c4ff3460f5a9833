"""What the diagnoses newly find of a pretraining, each once."""

from __future__ import annotations

from engine.errors import RunError
from engine.runs import RunFolder
from moco_tui.present.diagnoses import NO_FAULT, Finding, diagnose, evidence_stamp


class NewFindings:
    """Reads the curves of a run as they grow.

    Args:
        folder: the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._log = folder.metrics()
        self._stamp: tuple[object, ...] | None = None
        self._said = set(NO_FAULT)

    def look(self) -> list[Finding]:
        """The faults that hold now and were not returned before; none where nothing can be read."""
        try:
            self._log.poll()
            record = self._folder.record()
        except RunError:
            return []
        stamp = evidence_stamp(self._log, record)
        if stamp == self._stamp:
            return []
        self._stamp = stamp
        new = [one for one in diagnose(self._log, record) if one.name not in self._said]
        self._said |= {one.name for one in new}
        return new
