"""The runs that a study may count, found without a look at all runs for each study."""

from __future__ import annotations

from collections.abc import Iterable

from engine.config.schema import StudyConfig
from engine.history.entry import Entry
from engine.study.sought import pretraining_keys, sought_by


class Candidates:
    """All runs of a folder by what a study seeks them by.

    The keys of a run are kept as long as its entry is the same object, so that a list that has
    changed in few runs is taken up quickly. One thread at a time may use an object.
    """

    def __init__(self) -> None:
        self._keys: dict[str, tuple[Entry, tuple[str, str]]] = {}
        self._pretrainings: dict[str, list[Entry]] = {}
        self._probes: dict[str, list[Entry]] = {}

    def take(self, entries: Iterable[Entry]) -> None:
        """The runs as they are now, in place of those before."""
        before, self._keys = self._keys, {}
        self._pretrainings, self._probes = {}, {}
        for entry in entries:
            if entry.kind == "probe":
                self._probes.setdefault(entry.parent, []).append(entry)
            elif entry.kind == "pretrain":
                kept = before.get(entry.id)
                if kept is None or kept[0] is not entry:
                    keys = pretraining_keys(entry)
                    kept = (entry, (keys.weights, keys.weights + keys.knn))
                self._keys[entry.id] = kept
                for key in dict.fromkeys(kept[1]):
                    self._pretrainings.setdefault(key, []).append(entry)

    def of(self, config: StudyConfig) -> list[Entry]:
        """The pretrainings that have the settings of a study, and the probes of their encoders.

        All others leave ``study_state.state_from_entries`` as it is.
        """
        found: dict[str, Entry] = {}
        for key in sought_by(config).pretrainings:
            for entry in self._pretrainings.get(key, ()):
                found[entry.id] = entry
                found.update((probe.id, probe) for probe in self._probes.get(entry.id, ()))
        return list(found.values())
