"""The devices of this machine as rows: what each is, which run computes on it, which runs wait."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from engine.config.phrases import listed, plural
from engine.machine.load_reader import Load
from moco_tui.present import fmt
from moco_tui.present.device_choices import cpu_words, memory_words, visible_cards
from moco_tui.present.run_rows import RunRow

_HOLDER = re.compile(r"run (\w+) \(")
_COMPUTING = ("running", "paused", "handed-over")
_MOST_NAMED = 3
ANY = "auto"
"""The queue of the runs that take whichever card is free first."""


class DeviceUse(NamedTuple):
    """A device; all texts are clean.

    Attributes:
        name: as ``cuda:0``; ``auto`` for those that wait for any card.
        about: what it is, and its free memory.
        who: who computes on it; empty where nobody is known to.
        run: id of the first run of this folder on it; empty for none.
        waiting: the runs of this app that wait for it, in words; empty for none.
    """

    name: str
    about: str
    who: str = ""
    run: str = ""
    waiting: str = ""


def device_rows(
    load: Load,
    *,
    visible: str | None,
    holders: Mapping[str, str],
    rows: Iterable[RunRow],
    host: str,
    queues: Mapping[str, Sequence[str]],
) -> list[DeviceUse]:
    """The cards in CUDA's order, then the processor.

    Args:
        load: of the machine now.
        visible: ``CUDA_VISIBLE_DEVICES``; None where it is not set.
        holders: who has the lock of a card, by its UUID.
        rows: the runs of the folder.
        host: name of this machine.
        queues: ids of the runs that wait in this app, by device; under ``auto`` those for any.
    """
    titles = {row.id: row.title for row in rows}
    on = _computing(rows, host)
    found = []
    for number, card in enumerate(visible_cards(load.cards, visible)):
        name = f"cuda:{number}"
        about = ", ".join([card.name, *memory_words(card.used, card.total)])
        found.append(_row(name, about, on, holders.get(card.uuid, ""), titles, queues))
        if not found[-1].who and card.others_count:
            words = f"{card.others_count} {'process' if card.others_count == 1 else 'processes'}"
            found[-1] = found[-1]._replace(who=f"{words} of other programs")
    found.append(_row("cpu", cpu_words(load), on, "", titles, queues))
    if queues.get(ANY):
        found.append(_row(ANY, "whichever card is free first", {}, "", titles, queues))
    return found


def _computing(rows: Iterable[RunRow], host: str) -> dict[str, list[str]]:
    """Ids of the runs that compute on a machine now, by the device that their records name."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.status in _COMPUTING and row.entry.host == host and row.kind != "study":
            found.setdefault(row.entry.device.partition(" ")[0], []).append(row.id)
    return found


def _row(
    name: str,
    about: str,
    on: Mapping[str, Sequence[str]],
    holder: str,
    titles: Mapping[str, str],
    queues: Mapping[str, Sequence[str]],
) -> DeviceUse:
    runs = list(on.get(name, ()))
    match = _HOLDER.match(holder)
    if match is not None and match[1] in titles:  # before those that wait for its lock
        runs = [match[1], *(run for run in runs if run != match[1])]
        holder = ""
    who = [titles[run] for run in runs]
    if holder:
        who.insert(0, holder)
    waiting = [titles.get(run, run) for run in queues.get(name, ())]
    words = f"{plural(len(waiting), 'run')}: {_some(waiting)}" if waiting else ""
    texts = (fmt.clean(about), fmt.clean(_some(who)))
    return DeviceUse(name, *texts, runs[0] if runs else "", fmt.clean(words))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return listed([*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])]) if names else ""


def device_line(row: DeviceUse, width: int) -> str:
    """A row as a line of a list.

    Args:
        row: the device.
        width: cells that there are.
    """
    who = row.who or ("" if row.name == ANY else "nobody")
    waits = f"; {row.waiting} waiting" if row.waiting else ""
    about = max(min(width // 2 - 10, 48), 12)
    return f" {fmt.fit(row.name, 8)} {fmt.fit(row.about, about)}  {who}{waits}"
