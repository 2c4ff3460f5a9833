"""What happens to the runs of a folder while the app shows it, whoever trains them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from engine.errors import RunError
from engine.runs import RunFolder
from moco_tui.notify.findings import NewFindings
from moco_tui.notify.run_note import RunNote, note_of
from moco_tui.present.run_list import RunList
from moco_tui.present.run_rows import LIVE, RunRow
from moco_tui.user.user_schema import Event

_ENDS: Mapping[str, Event] = {"finished": "finished", "failed": "failed", "lost": "lost"}
_BEFORE_AN_END = LIVE | {"stopped", "failed", "lost"}  # a damaged one ends nothing when it is whole
_MOST_WATCHED = 8  # pretrainings whose curves are read; nobody trains more at once on one machine
_FULL_SECONDS = 30.0  # between two readings of runs that nobody works on


class Looker:
    """Notes on runs that end, are lost or show a fault; one look at a time, in a thread.

    What was so at the first look is no news. Runs within a study are left to the study.

    Args:
        runs: of the folder.
    """

    def __init__(self, runs: RunList) -> None:
        self._runs = runs
        self._states: dict[str, str] | None = None
        self._findings: dict[str, NewFindings] = {}
        self._lost: set[str] = set()
        self._version = self._lost_version = -1  # of the list at the last look
        self._live: list[str] = []

    def look(self) -> list[RunNote]:
        """What has happened since the last look."""
        # The list is refreshed by its screen, too, but only while that is shown.
        self._runs.refresh(full_every=_FULL_SECONDS)
        first, before = self._states is None, self._states or {}
        version = self._runs.version  # before the rows: they may change meanwhile
        ends: list[RunNote] = []
        if first or self._runs.stepped_since(self._version) is None:  # else no state has changed
            rows = {id_: row for id_, row in self._runs.rows.items() if not _in_study(row)}
            self._states = {id_: row.status for id_, row in rows.items()}
            self._live = [
                id_ for id_, row in rows.items() if row.status in LIVE and row.kind == "pretrain"
            ]
            for id_, row in rows.items():
                earlier = before.get(id_)
                # A short run may have begun and ended since the last look.
                if earlier in _BEFORE_AN_END and row.status in _ENDS and row.status != earlier:
                    ends.append(note_of(self._folder(id_), _ENDS[row.status]))
        self._version = version
        return [*self._warnings(first=first), *ends]

    def newly_lost(self) -> bool:
        """Whether the list shows a run as lost that it did not at the last call."""
        version = self._runs.version
        if self._runs.stepped_since(self._lost_version) is not None:
            return False
        self._lost_version = version
        before, rows = self._lost, self._runs.rows
        self._lost = {id_ for id_, row in rows.items() if row.status == "lost"}
        return not self._lost <= before

    def _warnings(self, *, first: bool) -> Iterator[RunNote]:
        for id_ in set(self._findings).difference(self._live):
            del self._findings[id_]
        for id_ in self._live[:_MOST_WATCHED]:
            known = id_ in self._findings
            findings = self._findings.setdefault(id_, NewFindings(self._folder(id_)))
            for finding in findings.look():
                if known or not first:
                    yield note_of(self._folder(id_), "warning", finding.text, finding.name)

    def _folder(self, id_: str) -> RunFolder:
        return RunFolder(self._runs.root / id_)


def is_of_this_process(folder: RunFolder) -> bool:
    """Whether this process trains a run, or did so last."""
    try:
        return folder.record().pid == os.getpid()
    except RunError:
        return False


def _in_study(row: RunRow) -> bool:
    """Whether a study made a run, by its record or by what the study counts."""
    return bool(row.study or row.entry.study)
