"""Where a run came from: program, code, command, packages, machine; one part for every change.

A record keeps a list of parts. The first has everything that is known, each later one what was
otherwise when the run went on. A value that is gone is None there. Keys are dotted:

- ``command``: what was typed, see ``engine.runs.command_line``.
- ``program.version``, ``program.commit``, ``program.changed`` (files that differ from the commit),
  ``program.untracked``, ``program.patch`` (a file of the run folder), ``program.note`` (what could
  not be found out, or was cut).
- ``code.MODULE.commit`` and so on: the same of the user's own code; ``digest`` is that of its file.
- ``packages.NAME``; ``packages.all``, a file of the run folder, lists all.
- ``machine.cpu``, ``machine.gpu``, ``machine.driver`` and so on; ``machine.memory`` is in bytes.
- ``environment.NAME``: variables that change what is computed, see ``engine.jobs.surroundings``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from engine.config.phrases import shown_value
from engine.runs.recorded_fields import Count, Moment

PARTS_MOST = 50
"""Parts that a record keeps: a run may be resumed every hour for months."""
FILE = re.compile(r"(patch-[0-9a-f]{12}\.diff|packages-[0-9a-f]{12}\.txt)")
"""Names of the files that a run folder keeps beside its record."""

_QUIET = frozenset({"command", "packages.all"})
_CHANGES_SAID = 6


class ProvenancePart(TypedDict):
    """What was so from a step on.

    Attributes:
        step: steps that were done.
        time: unix seconds.
        values: by dotted key; of a later part those that changed.
    """

    step: Count
    time: Moment
    values: dict[str, Any]


def merged(parts: Iterable[ProvenancePart]) -> dict[str, Any]:
    """What was so in the end; empty for a run of an earlier version."""
    found: dict[str, Any] = {}
    for part in parts:
        found |= part["values"]
    return {key: value for key, value in found.items() if value is not None}


def changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``now`` that are otherwise in ``then``; None for those that are gone."""
    gone = {key: None for key in then if key not in now}
    return {key: value for key, value in now.items() if then.get(key) != value} | gone


def with_start(
    parts: Sequence[ProvenancePart], step: int, now: float, values: Mapping[str, Any]
) -> list[ProvenancePart]:
    """The parts of a run that starts, or goes on, at a step.

    Args:
        parts: so far; those that began at or after ``step`` are computed again, and go.
        step: the steps that are done.
        now: unix seconds.
        values: everything that is so now.
    """
    kept = [part for part in parts if step and part["step"] < step]
    different = changed(merged(kept), values)
    if different or not kept:
        kept.append(ProvenancePart(step=step, time=now, values=different))
    while len(kept) > PARTS_MOST:  # the beginning stays, and so does what all later parts build on
        first, second, third, *later = kept
        both = second["values"] | third["values"]
        kept = [first, ProvenancePart(step=third["step"], time=third["time"], values=both), *later]
    return kept


def change_words(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is otherwise than before, for a line of the log; empty where nothing is.

    A command is another at nearly every start, and says nothing of what is computed.
    """
    names = [key for key in changed(then, now) if key not in _QUIET and ".patch" not in key]
    words = [
        f"{_name(key)} {_shown(key, then.get(key))} then, {_shown(key, now.get(key))} now"
        for key in names[:_CHANGES_SAID]
    ]
    if len(names) > _CHANGES_SAID:
        words.append(f"{len(names) - _CHANGES_SAID} more")
    return "; ".join(words)


def _name(key: str) -> str:
    room, _, rest = key.partition(".")
    return rest if room in ("packages", "environment", "machine") else key.replace(".", " ")


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "none"
    return shown_value(value[:12] if key.endswith(".commit") and isinstance(value, str) else value)


def commit_at(parts: Iterable[ProvenancePart], step: int) -> str:
    """The program's commit that computed a step (from 1); empty where it is not known."""
    commit: Any = None
    for part in parts:
        if part["step"] < max(step, 1):
            commit = part["values"].get("program.commit", commit)
    return commit if isinstance(commit, str) else ""
