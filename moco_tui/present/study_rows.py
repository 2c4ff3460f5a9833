"""Which rows stand under a study: worked out from the runs, not too often."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from engine.errors import UserError
from engine.history.entry import Entry
from moco_tui.present import fmt
from moco_tui.present.run_rows import Members, RunRow

if TYPE_CHECKING:  # the first screen does not wait for these where there is no study
    from engine.config.schema import StudyConfig
    from engine.runs.data_identity import DataIdentity
    from engine.study.belonging import Belonging
    from engine.study.candidates import Candidates

EVERY_SECONDS = 5.0
"""How long what belongs together is kept while only the steps of runs have changed."""
_SHARE = 0.02  # of the time, that it may take to work this out


class StudyRows:
    """Puts the runs of each study under it.

    Args:
        root: the runs folder.
        monotonic: seconds of a clock.
    """

    def __init__(self, root: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._monotonic = monotonic
        self._configs: dict[str, tuple[Any, StudyConfig, DataIdentity | None]] = {}
        self._found: dict[str, Belonging] = {}
        self._candidates: Candidates | None = None
        self._seen: Any = None
        self._at = float("-inf")
        self._cost = 0.0  # seconds that it took to work out what belongs together

    def related(self, rows: Mapping[str, RunRow]) -> dict[str, RunRow]:
        """The rows, each with its place under a study; those that stay as they are themselves.

        Args:
            rows: by id.
        """
        studies = [row for row in rows.values() if row.kind == "study"]
        if not studies:
            return dict(rows)
        seen = {(row.id, row.status, row.name, row.parent) for row in rows.values()}
        if self.is_late or seen != self._seen:
            began = self._monotonic()
            self._seen = seen
            self._found = self._all(studies, [row.entry for row in rows.values()])
            self._at = self._monotonic()
            self._cost = self._at - began
        return self._placed(rows, sorted(studies, key=lambda row: (row.entry.place, row.id)))

    @property
    def is_late(self) -> bool:
        """Whether what belongs together was worked out so long ago that it may be another by now.

        Less often where that takes long: of 100,000 runs half a second.
        """
        rest = max(EVERY_SECONDS, self._cost / _SHARE)
        return self._seen is not None and self._monotonic() - self._at > rest

    @property
    def belongings(self) -> Mapping[str, Belonging]:
        """What belongs to each study, as ``related`` found it last; by the study's id."""
        return self._found

    def _placed(self, rows: Mapping[str, RunRow], studies: list[RunRow]) -> dict[str, RunRow]:
        under: dict[str, str] = {}
        users: dict[str, list[str]] = {}
        counts: dict[str, int] = {}
        for study in studies:  # the oldest first: it has what two of them made
            found = self._found.get(study.id)
            if found is None:
                continue
            for run in found.made | found.used:
                if run in found.made and run not in under:
                    under[run] = study.id
                    counts[study.id] = counts.get(study.id, 0) + (rows[run].kind == "pretrain")
                else:
                    users.setdefault(run, []).append(study.title)
        out = {}
        for id_, row in rows.items():
            found = self._found.get(id_)
            members = None if found is None else _members(found, counts.get(id_, 0))
            # Probes of a pretraining that was made by hand stand under that.
            new = (under.get(id_, ""), tuple(users.get(id_, ())), members)
            if (row.study, row.used_by, row.members) != new:
                row = replace(row, study=new[0], used_by=new[1], members=new[2])
            out[id_] = row
        return out

    def _all(self, studies: list[RunRow], entries: list[Entry]) -> dict[str, Belonging]:
        """What belongs to each study, by its id; those left out cannot be made out."""
        from engine.study.candidates import Candidates

        if self._candidates is None:
            self._candidates = Candidates()
        self._candidates.take(entries)
        found = {row.id: self._of(row.entry, self._candidates) for row in studies}
        return {id_: belonging for id_, belonging in found.items() if belonging is not None}

    def _of(self, study: Entry, candidates: Candidates) -> Belonging | None:
        """What belongs to a study; None where its record cannot be made out."""
        from engine.runs.ownership import OwnedIds, users_of
        from engine.study.belonging import belonging

        try:
            config, data = self._config(study)
            own = OwnedIds(self._root, users_of(self._root / study.id))
            return belonging(study, config, candidates.of(config), data, own=own)
        except (UserError, TypeError, ValueError, LookupError):
            return None  # a record that was edited by hand can hold anything

    def _config(self, study: Entry) -> tuple[StudyConfig, DataIdentity | None]:
        from engine.config.missing_settings import read_config
        from engine.config.schema import StudyConfig
        from engine.runs import RunFolder
        from engine.runs.data_identity import last_identity

        kept = self._configs.get(study.id)
        if kept is None or kept[0] != study.stamp:
            record = RunFolder(self._root / study.id).record()
            config = read_config("study", record.config, f"The record of study {study.id}")
            if not isinstance(config, StudyConfig):
                raise ValueError("no study")
            kept = (study.stamp, config, last_identity(record.data))
            self._configs[study.id] = kept
        return kept[1], kept[2]


def _members(found: Belonging, runs: int) -> Members:
    best = found.best
    if best is None:
        return Members(runs, found.done, found.total)
    return Members(runs, found.done, found.total, fmt.clean(best.label), best.top1)
