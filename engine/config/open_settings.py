"""Settings whose default depends on others: what they become where nobody has named them.

They are filled in before anything is read, so a record holds them as any other setting, and the
form shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from engine.config.data import DATA_SETS, default_task
from engine.config.data.data_set import DataSetPart
from engine.config.heads import trains_encoder
from engine.config.schema import PretrainConfig, StudyConfig
from engine.config.size_defaults import FOLLOWING, INPUTS, size_defaults

_TASKS = "tasks"
_FRACTIONS = "label_fractions"
_STUDY = "pretrain."
_LIMIT = f"{_STUDY}data.limit"
_FEW_LABELS = (0.001, 0.01, 0.02, 0.05)
"""Shares of the labels below those of the schema, at which pretraining pays most. Training from
scratch overtakes a probe among them."""
_HEADS, _SUBSETS, _SUPERVISED = "heads", "subset_seeds", "supervised_subsets"


def open_defaults(type_: type[Struct], named: Mapping[str, Any]) -> dict[str, Any]:
    """What the settings become that nobody has named; those that keep their defaults are left out.

    Args:
        type_: the configuration type.
        named: whole dotted keys and values of everything that is named, by a preset, a file or a
            person; values may be texts.
    """
    if issubclass(type_, PretrainConfig):
        return size_defaults(named)
    if issubclass(type_, StudyConfig):
        sizes = size_defaults(named, _STUDY)
        return sizes | _tasks(named) | _fractions(named) | _supervised(named)
    return {}


def following(type_: type[Struct]) -> tuple[str, ...]:
    """The settings that ``open_defaults`` may fill in, in the order of the schema."""
    if issubclass(type_, PretrainConfig):
        return FOLLOWING
    if issubclass(type_, StudyConfig):
        return (_FRACTIONS, _TASKS, _SUPERVISED, *(f"{_STUDY}{key}" for key in FOLLOWING))
    return ()


def followed(type_: type[Struct]) -> tuple[str, ...]:
    """The settings that they follow."""
    if issubclass(type_, PretrainConfig):
        return INPUTS
    if issubclass(type_, StudyConfig):
        return (
            _HEADS,
            _SUBSETS,
            "probe.task.groups",
            _LIMIT,
            *(f"{_STUDY}{key}" for key in INPUTS),
        )
    return ()


def _tasks(named: Mapping[str, Any]) -> dict[str, Any]:
    """One task over all classes, where the set is known to have others than ten."""
    if _TASKS in named or named.get("probe.task.groups"):
        return {}
    part = _part(named)
    classes = 0 if part is None else len(part.class_names)
    return {_TASKS: [default_task(classes)]} if classes not in (0, 10) else {}


def _fractions(named: Mapping[str, Any]) -> dict[str, Any]:
    """Fewer labels as well, where the set is known to have one a class even then."""
    part = _part(named)
    if _FRACTIONS in named or part is None:
        return {}
    try:
        limit = int(named.get(_LIMIT, 0))  # may be a text, which ``resolve`` checks later
    except (TypeError, ValueError):
        return {}
    labels = min(limit, part.train_labels) if limit > 0 else part.train_labels
    few = [share for share in _FEW_LABELS if labels * share >= len(part.class_names)]
    return {_FRACTIONS: [*few, *StudyConfig().label_fractions]} if few and labels else {}


def _supervised(named: Mapping[str, Any]) -> dict[str, Any]:
    """A training from scratch for every labelled subset, where a head trains the encoder likewise.

    It costs as much there, and every subset is a pair.
    """
    # ``resolve`` checks later what is no list
    heads = _items(named.get(_HEADS, StudyConfig().heads))
    subsets = _items(named.get(_SUBSETS, StudyConfig().subset_seeds))
    if _SUPERVISED in named or not any(trains_encoder(str(head)) for head in heads):
        return {}
    count = len(subsets)
    return {_SUPERVISED: count} if count > StudyConfig().supervised_subsets else {}


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []


def _part(named: Mapping[str, Any]) -> DataSetPart | None:
    """The data set of a study's pretrainings; None where it is the user's own."""
    source = named.get(f"{_STUDY}data.source", PretrainConfig().data.source)
    part, _ = DATA_SETS.find(source)
    return part
