"""What is deleted with a study, and what of it stays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from engine.history.entry import Entry
from engine.runs.folder_size import size_of_all
from engine.runs.ownership import owner_of
from engine.runs.record import ACTIVE
from engine.study.belonging import Belonging


class Deletion(Struct, frozen=True):
    """What the deletion of a study means.

    Attributes:
        study: its id.
        goes: ids of the runs that it made and nobody else needs: probes first.
        stays: by id, why a run that it made or uses stays.
        size_bytes: of the folders that go, that of the study among them.
    """

    study: str
    goes: tuple[str, ...]
    stays: dict[str, str]
    size_bytes: int


def plan_deletion(
    study: str,
    entries: Iterable[Entry],
    belongings: Mapping[str, Belonging],
    root: Path,
) -> Deletion:
    """What goes with a study, and what stays.

    What it made goes, unless it is of another user, another study counts it, a person gave it a
    name, tags or a note, a process works on it, or a run stays that was made of it. What it only
    uses stays.

    Args:
        study: id of the study.
        entries: all runs.
        belongings: of all studies, by their ids.
        root: the runs folder.
    """
    by_id = {entry.id: entry for entry in entries}
    own = belongings.get(study)
    if own is None:
        return Deletion(study, (), {}, size_of_all([root / study]))
    others = {id_: b for id_, b in belongings.items() if id_ != study}
    stays = dict.fromkeys(sorted(own.used), "it was not made by the study")
    made = [by_id[id_] for id_ in sorted(own.made) if id_ in by_id]
    for entry in made:
        if owner_of(root / entry.id) != os.geteuid():
            stays[entry.id] = "another user made it"
        elif entry.id in own.renamed:
            stays[entry.id] = "it has a name of its own"
        elif why := _why_it_stays(entry, others, by_id):
            stays[entry.id] = why
    going = {entry.id for entry in made} - stays.keys()
    for entry in by_id.values():  # a probe that stays needs its encoder
        if entry.parent in going and entry.id not in going:
            stays[entry.parent] = f"its {entry.kind} {entry.id} stays"
    going -= stays.keys()
    goes = sorted(going, key=lambda id_: (by_id[id_].kind != "probe", id_))
    return Deletion(study, tuple(goes), stays, size_of_all([root / id_ for id_ in (study, *goes)]))


def _why_it_stays(entry: Entry, others: Mapping[str, Belonging], by_id: Mapping[str, Entry]) -> str:
    for id_, belonging in others.items():
        if entry.id in belonging.made or entry.id in belonging.used:
            title = by_id[id_].title if id_ in by_id else id_
            return f"the study {title} uses it"
    if entry.tags or entry.note:
        return "it has tags or a note"
    return "it is being worked on" if entry.status in ACTIVE else ""


def users_of_run(run: str, belongings: Mapping[str, Belonging]) -> list[str]:
    """Ids of the studies that count a run, and would have to compute it again without it."""
    return [id_ for id_, found in belongings.items() if run in found.made or run in found.used]
