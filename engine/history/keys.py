"""Keys of the filter language and of sorting: columns, settings and metrics."""

from __future__ import annotations

import difflib
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from engine.config.fields import fields
from engine.config.metrics import METRICS, named
from engine.config.renamed import new_key, warn_renamed
from engine.config.schema import GRID_KEYS, KINDS
from engine.errors import ConfigError
from engine.history.entry import Entry
from engine.runs.training_time import seconds_trained
from engine.text import shorten

Getter = Callable[[Entry], Sequence[Any]]
"""Gives the values of a key in a run: none when it lacks the key, several for tags and patterns."""

_COLUMNS: dict[str, Getter] = {
    "id": lambda e: (e.id,),
    "kind": lambda e: (e.kind,),
    "name": lambda e: (e.title,),  # what tables show: the id where there is no name
    "status": lambda e: (e.status,),
    "preset": lambda e: (e.preset,),
    "parent": lambda e: (e.parent,),
    "host": lambda e: (e.host,),
    "device": lambda e: (e.device,),
    "tag": lambda e: e.tags,
    "note": lambda e: (e.note,),
    "error": lambda e: (e.error,),
    "step": lambda e: (e.step,),
    "epoch": lambda e: (e.epoch,),
    "total_steps": lambda e: _given(e.total_steps or None),
    "checkpoint_step": lambda e: _given(e.checkpoint_step),
    "progress": lambda e: (100.0 * e.step / e.total_steps,) if e.total_steps else (),
    "created": lambda e: (e.created,),
    "started": lambda e: _given(e.started),
    "ended": lambda e: _given(e.ended),
    "updated": lambda e: (e.updated,),
    # Seconds up to now: worked out at each comparison, so a filter that stays on a screen moves on.
    "age": lambda e: (time.time() - e.created,),
    "duration": lambda e: _given(_duration(e)),
}
# Words that people use for a column, and "data" for the setting data.source.
_ALIASES = {"state": "status", "tags": "tag", "title": "name", "notes": "note", "data": "source"}
TIMES = frozenset({"created", "started", "ended", "updated"})
SPANS = frozenset({"age", "duration"})

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
            if key in GRID_KEYS:
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


def resolve(key: str, metrics: Iterable[str]) -> tuple[str, Getter]:
    """The canonical name and the getter of a key.

    Columns come before settings, settings before metrics: ``step`` is the run's own.

    Args:
        key: as a person typed it; the case of columns and settings does not count.
        metrics: names of metrics that runs have.

    Raises:
        ConfigError: when no run can have it, with the nearest key there is.
    """
    name = key.lower()
    name = _ALIASES.get(name, name)
    if name in _COLUMNS:
        return name, _COLUMNS[name]
    settings = _setting_names()
    now = new_key(name)  # an old name counts unless it means something else today
    if now != name and now in settings and name not in settings:
        warn_renamed(name, now)
        name = now
    if name in settings:
        return name, _setting_getter(settings[name])
    metrics = list(metrics)
    prefix, dot, rest = key.partition(".")
    prefixed = bool(dot) and prefix in ("best", "last")
    found = named(rest if prefixed else key, metrics)
    if found:
        return key, _metric_getter(found, best=prefixed and prefix == "best")
    known = (name for name in METRICS if not METRICS[name].is_pattern)
    raise _unknown_key(key, [*_COLUMNS, *_ALIASES, *settings, *known, *metrics])


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
    entries = sorted(entries, key=lambda entry: (-entry.created, entry.id))
    down = key.startswith("-")
    _, values = resolve(key.removeprefix("-"), metric_names(entries))
    have: list[tuple[tuple[int, Any], Entry]] = []
    lack = []
    for entry in entries:
        found = [v for v in values(entry) if v != "" and v == v]  # v == v: not NaN
        if not found:
            lack.append(entry)
        # A key may be a number in one run and a text in another, which Python does not compare.
        elif isinstance(found[0], int | float):
            have.append(((0, found[0]), entry))
        else:
            have.append(((1, str(found[0]).casefold()), entry))
    have.sort(key=lambda pair: pair[0], reverse=down)
    return [entry for _, entry in have] + lack
