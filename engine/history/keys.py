"""Keys of the filter language and of sorting: columns, settings and metrics."""

from __future__ import annotations

import difflib
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.config.fields import Field, fields
from engine.config.metrics import METRICS, named
from engine.config.renamed import new_key, warn_renamed
from engine.config.schema import GRID_KEYS, KINDS, NOT_IN_STUDIES, StudyConfig
from engine.errors import ConfigError
from engine.history import shown
from engine.history.entry import Entry
from engine.runs.training_time import seconds_trained
from engine.text import shorten

Getter = Callable[[Entry], Sequence[Any]]
"""Gives the values of a key in a run: none when it lacks the key, several for tags and patterns."""


class Key(NamedTuple):
    """A key as a filter and a sort order use it.

    Attributes:
        name: the canonical one.
        values: what runs have of it.
        percent: what 1 % is in the key's own unit: 1 for what is kept in per cent, 0.01 for a
            share; None where a per cent sign means nothing.
        measured: a figure that is shown rounded, and equals a text that it rounds to.
        order: what it is sorted by; None: by ``values``.
    """

    name: str
    values: Getter
    percent: float | None = None
    measured: bool = False
    order: Getter | None = None


_COLUMNS: dict[str, Getter] = {
    "id": lambda e: (e.id,),
    "kind": lambda e: (e.kind,),
    "name": lambda e: (e.title,),  # what tables show: the id where there is no name
    "status": lambda e: (e.status,),
    "preset": lambda e: (e.preset,),
    "parent": lambda e: (e.parent,),
    "study": lambda e: (e.study,),
    "checkpoint": lambda e: (e.checkpoint,),
    "began_from": lambda e: (e.began_from,),
    "host": lambda e: (e.host,),
    "device": lambda e: (e.device,),
    "tag": lambda e: e.tags,
    "note": lambda e: (e.note,),
    "error": lambda e: (e.error,),
    "step": lambda e: (e.step,),
    "epoch": lambda e: (e.epoch,),
    "total_steps": lambda e: _given(e.total_steps or None),
    "checkpoint_step": lambda e: _given(e.checkpoint_step),
    "done": lambda e: _given(shown.done(e)),
    "loss": lambda e: _given(shown.loss(e)),
    "top1": lambda e: _given(shown.top1(e)),
    "best": lambda e: _given(shown.best(e)),
    "gain": lambda e: _given(shown.gain(e)),
    "labels": lambda e: _given(shown.labels(e)),
    "trained": lambda e: _given(shown.trained(e)),
    "encoder_step": lambda e: _given(shown.encoder_step(e)),
    "augment": shown.augmentations,
    # As the table shows it, and whole.
    "data": lambda e: (shown.short_source(shown.source(e)), shown.source(e)),
    "size": lambda e: _given(e.size),
    "created": lambda e: (e.created,),
    "started": lambda e: _given(e.started),
    "ended": lambda e: _given(e.ended),
    "updated": lambda e: (e.updated,),
    # Seconds up to now: worked out at each comparison, so a filter that stays on a screen moves on.
    "age": lambda e: (max(time.time() - e.created, 0.0),),  # as it is shown
    "duration": lambda e: _given(_duration(e)),
}
# Headings of columns, and words that people use for one; every heading of a table is a key.
_ALIASES = {
    "state": "status",
    "tags": "tag",
    "title": "name",
    "notes": "note",
    "k": "moco.queue_size",
    "task": "task.name",
    "top-1": "top1",
    "best_top1": "best",
    "augmentations": "augment",
    "progress": "done",
}
# Figures that are worked out or measured, and shown rounded; "percent": they count in per cent.
_PERCENT = frozenset({"done", "top1", "best", "gain", "labels", "trained"})
_MEASURED = frozenset({"loss", *_PERCENT})
# What a column is sorted by where that is not its value.
_ORDERS: dict[str, Getter] = {
    "created": lambda e: (e.place,),
    "status": lambda e: (shown.state_rank(e.status),),
    "data": lambda e: (shown.short_source(shown.source(e)),),
}
TIMES = frozenset({"created", "started", "ended", "updated"})
SPANS = frozenset({"age", "duration"})
AMOUNTS = frozenset({"size"})
"""Columns that are compared with an amount of bytes."""

COLUMNS: tuple[str, ...] = tuple(_COLUMNS)
"""Keys that every run has; settings and metrics come beside them."""


def _given(value: float | None) -> Sequence[float]:
    """One value, or none: a run that lacks it matches no comparison and is sorted last."""
    return () if value is None else (value,)


def _duration(entry: Entry) -> float | None:
    return seconds_trained(entry, time.time() if entry.status in ("running", "paused") else None)


@functools.cache
def _setting_names() -> dict[str, list[str]]:
    """Every setting of every kind of run, by its dotted name and by its tails."""
    names: dict[str, list[str]] = {}
    for type_ in KINDS.values():
        for key in fields(type_):
            # A study has many values of these; those under ``pretrain.`` are mere defaults.
            if key in GRID_KEYS or (type_ is StudyConfig and key in NOT_IN_STUDIES):
                continue
            # "moco.queue_size" and "queue_size"; a tail may belong to several settings.
            parts = key.split(".")
            for i in range(len(parts)):
                found = names.setdefault(".".join(parts[i:]), [])
                if key not in found:
                    found.append(key)
    return names


def metric_names(entries: Iterable[Entry]) -> set[str]:
    """Names of all metrics that any of the runs has."""
    names: set[str] = set()
    for entry in entries:
        names.update(entry.last, entry.best, entry.result)
    return names


def _metric_getter(names: Sequence[str], *, best: bool) -> Getter:
    """The values that a run has of these metrics, in this order.

    Args:
        names: names, or patterns of ``METRICS``, which stand for every metric that matches.
        best: the best values; else the last ones, and the figures of the result.
    """

    def found(table: Mapping[str, float], name: str) -> Sequence[Any]:
        if name in METRICS and METRICS[name].is_pattern:
            return [table[n] for n in sorted(table) if METRICS[name].stands_for(n)]
        return (table[name],) if name in table else ()

    def values(entry: Entry) -> Sequence[Any]:
        tables = (entry.best,) if best else (entry.last, entry.result)
        return [value for name in names for table in tables for value in found(table, name)]

    return values


def _setting_getter(keys: list[str]) -> Getter:
    def values(entry: Entry) -> Sequence[Any]:
        found = (entry.setting(key) for key in keys)
        return [value for value in found if value is not None]

    return values


def resolve(key: str, metrics: Iterable[str]) -> Key:
    """What a key stands for.

    Columns come before settings, settings before metrics: ``step`` is the run's own, and ``loss``
    the number that the column of that heading shows.

    Args:
        key: as a person typed it; the case of columns and settings does not count.
        metrics: names of metrics that runs have.

    Raises:
        ConfigError: when no run can have it, with the nearest key there is.
    """
    name = key.lower()
    name = _ALIASES.get(name, name)
    if name in _COLUMNS:
        percent = 1.0 if name in _PERCENT else None
        return Key(name, _COLUMNS[name], percent, name in _MEASURED, _ORDERS.get(name))
    settings = _setting_names()
    now = new_key(name)  # an old name counts unless it means something else today
    if now != name and now in settings and name not in settings:
        warn_renamed(name, now)
        name = now
    if name in settings:
        return Key(name, _setting_getter(settings[name]), _share(settings[name]))
    metrics = list(metrics)
    prefix, dot, rest = key.partition(".")
    prefixed = bool(dot) and prefix in ("best", "last")
    found = named(rest if prefixed else key, metrics)
    if found:
        values = _metric_getter(found, best=prefixed and prefix == "best")
        return Key(key, values, 1.0, measured=True)
    known = (name for name in METRICS if not METRICS[name].is_pattern)
    raise _unknown_key(key, [*_COLUMNS, *_ALIASES, *settings, *known, *metrics])


def _share(keys: Iterable[str]) -> float | None:
    """``Key.percent`` of settings: 0.01 when all of them are shares, from 0 to 1."""
    known: dict[str, Field] = {}
    for type_ in KINDS.values():
        known |= fields(type_)
    shares = all(
        known[key].kind == "float"
        and known[key].le == 1.0
        and 0.0 in (known[key].ge, known[key].gt)
        for key in keys
    )
    return 0.01 if shares else None


def _unknown_key(key: str, known: list[str]) -> ConfigError:
    groups = (name.partition("/")[0] for name in known if "/" in name)
    near = difflib.get_close_matches(key.lower(), [*known, *groups], n=1)
    if near:
        hint = f"did you mean {near[0]}?"
    else:
        hint = (
            "a key is a column such as kind, a setting such as queue_size, or a metric such as knn."
        )
    return ConfigError(f"{shorten(key)} is no key to filter or sort by: {hint}")


def sort_entries(entries: Iterable[Entry], key: str) -> list[Entry]:
    """The runs in order of a key of the filter language; ``-`` before it: the largest first.

    Runs without the value (or with NaN) come last either way; equal ones keep the order newest
    first.

    Raises:
        ConfigError: when the key is none.
    """
    # Sorted twice: sort() is stable, also with reverse, so equal runs stay newest first.
    entries = sorted(entries, key=lambda entry: (-entry.place, entry.id))
    down = key.startswith("-")
    found = resolve(key.removeprefix("-"), metric_names(entries))
    values = found.order or found.values
    have: list[tuple[tuple[int, Any], Entry]] = []
    lack = []
    for entry in entries:
        place = _place([v for v in values(entry) if v != "" and v == v])  # v == v: not NaN
        if place is None:
            lack.append(entry)
        else:
            have.append((place, entry))
    have.sort(key=lambda pair: pair[0], reverse=down)
    return [entry for _, entry in have] + lack


def _place(found: Sequence[Any]) -> tuple[int, Any] | None:
    """What a run is sorted by; None when it has no value."""
    if not found:
        return None
    # A key may be a number in one run and a text in another, which Python does not compare.
    if isinstance(found[0], int | float):
        return 0, found[0]
    # Of several texts, such as tags, all of them, as the table shows them.
    return 1, " ".join(str(value) for value in found).casefold()
