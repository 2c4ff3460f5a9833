"""Rules that span several settings of a configuration."""

from __future__ import annotations

import math

import msgspec
from msgspec import Struct

from engine.config.axis_keys import QUEUE
from engine.config.device_list import parse_devices
from engine.config.fields import difference
from engine.config.phrases import shown_value
from engine.config.pretrain_rules import pretrain_problems
from engine.config.recorded_values import MOST_RUNS
from engine.config.schema import (
    GRID_KEYS,
    PretrainConfig,
    ProbeConfig,
    StudyConfig,
    TaskConfig,
    names_axes,
)
from engine.config.variant_count import count_bound
from engine.config.variants import impossible
from engine.errors import ConfigError

BUILTIN_TASKS = ("binary", "five", "ten", "all")
"""Tasks that need no groups; which classes they tell apart depends on the data set."""


def check(config: Struct) -> None:
    """Refuse a configuration that breaks a rule over several fields.

    Raises:
        ConfigError: for the first rule that is broken.
    """
    for key, message in problems(config).items():  # only the first: an error has one sentence
        raise ConfigError(message, key)


def problems(config: Struct) -> dict[str, str]:
    """Every broken rule that spans several fields: the key at fault and the sentence."""
    found: dict[str, str] = {}
    if isinstance(config, PretrainConfig):
        found |= pretrain_problems(config)
    elif isinstance(config, ProbeConfig):
        _probe_problems(config, found)
    elif isinstance(config, StudyConfig):
        _study_problems(config, found)
    return found


def _probe_problems(config: ProbeConfig, found: dict[str, str]) -> None:
    task = config.task
    if task.groups and len(task.groups) < 2:
        found["task.groups"] = "task.groups holds one group; a task needs at least two."
    seen: dict[str, str] = {}  # class to the group that has it
    for label, members in task.groups.items():
        if not members:
            found["task.groups"] = f"task.groups: the group {label} names no class."
        for member in members:
            if member in seen:
                found["task.groups"] = (
                    f"task.groups: the class {member} is in {seen[member]} and in {label}; "
                    "a class may be in one group only."
                )
            seen[member] = label
    if not task.groups and task.name not in BUILTIN_TASKS:
        found["task.name"] = (
            f"task.name is {task.name}; it must be one of {', '.join(BUILTIN_TASKS)}, or "
            "task.groups must say which classes it tells apart."
        )
    if len(set(config.baselines)) != len(config.baselines):
        found["baselines"] = (
            f"baselines names {', '.join(config.baselines)}; each may stand there once."
        )


def _study_problems(config: StudyConfig, found: dict[str, str]) -> None:
    grids = (
        ("queue_sizes", config.queue_sizes),
        ("seeds", config.seeds),
        ("label_fractions", config.label_fractions),
        ("tasks", config.tasks),
        ("heads", config.heads),
        ("subset_seeds", config.subset_seeds),
        ("baselines", config.baselines),
    )
    for key, values in grids:
        if len(set(values)) != len(values):
            found[key] = f"{key} is {', '.join(map(str, values))}; each value may stand there once."
    # The rules of the runs that the grid makes, under the study's names of the keys.
    inner = pretrain_problems(config.pretrain)
    found |= {f"pretrain.{key}": f"pretrain: {text}" for key, text in inner.items()}
    _variant_problems(config, found)
    _device_problems(config, found)
    groups = config.probe.task.groups
    for name in config.tasks:
        inner = {}
        task = msgspec.structs.replace(config.probe.task, name=name)
        _probe_problems(msgspec.structs.replace(config.probe, task=task), inner)
        unknown = inner.pop("task.name", None)
        if unknown is not None:
            found["tasks"] = (
                f"tasks names {shown_value(name)}; a task must be one of "
                f"{', '.join(BUILTIN_TASKS)}, or probe.task.groups must say which classes it "
                "tells apart."
            )
        found |= {f"probe.{key}": f"probe: {text}" for key, text in inner.items()}
    if groups and len(config.tasks) > 1:
        found["tasks"] = (
            f"tasks names {len(config.tasks)} tasks, but probe.task.groups makes one; it must "
            "name that one alone."
        )
    # With groups the task has a name of its own, which may be given in both places.
    free = {"probe.task.name"} if groups else set()
    if names_axes(config):  # then the queue size is a setting as any other
        free.add(f"pretrain.{QUEUE}")
    for key in difference(config, StudyConfig()).keys() & GRID_KEYS.keys() - free:
        found[key] = f"{key} cannot be set for a study: its grid does, by {GRID_KEYS[key]}."
    if config.probe.data.source:
        found["probe.data.source"] = (
            "probe.data.source cannot be set for a study, which probes on the images of its "
            "pretrainings; moco-tui probe RUN --data D probes on others."
        )
    if groups and config.probe.task.name not in (config.tasks[0], TaskConfig().name):
        found["probe.task.name"] = (
            f"probe.task.name is {shown_value(config.probe.task.name)} and tasks names "
            f"{shown_value(config.tasks[0])}; with probe.task.groups both must be the same."
        )


def _variant_problems(config: StudyConfig, found: dict[str, str]) -> None:
    """What is wrong with the variants of a study, and with how many there are."""
    if names_axes(config) and config.queue_sizes != StudyConfig().queue_sizes:
        found["queue_sizes"] = (
            "queue_sizes is not varied, since the study names what it varies; give its values to "
            f"the axis {QUEUE}."
        )
    if config.judge == "knn" and not config.pretrain.monitor.knn_every:
        found["pretrain.monitor.knn_every"] = (
            "pretrain.monitor.knn_every is 0, so no kNN is measured, which judge = knn needs; it "
            "must be at least 1."
        )
    variants = count_bound(config)
    size = variants * len(config.seeds) * probes_each(config)
    if size > MOST_RUNS:  # it could be begun, and not be shown
        found["seeds"] = (
            f"the grid has {size:,} probes; seeds and the other lists must be so short that it has "
            f"at most {MOST_RUNS:,}."
        )
        return
    if any(key.startswith("pretrain.") for key in found):
        return  # each variant would repeat it
    try:
        wrong = impossible(config)
    except ConfigError as error:
        found[error.key or "axes"] = str(error)
        return
    if wrong:
        found["axes"] = wrong


def _device_problems(config: StudyConfig, found: dict[str, str]) -> None:
    """What is wrong with the devices that a study names."""
    if not config.devices:
        return
    try:
        parse_devices(",".join(config.devices))
    except ConfigError as error:
        found["devices"] = str(error)
        return
    if config.workers != StudyConfig().workers:
        found["workers"] = (
            f"workers is {config.workers}, and devices names a process for each device; give one "
            "of the two."
        )


def probes_each(config: StudyConfig) -> int:
    """How many probes a study makes of each pretraining; 1 where it needs none."""
    if config.judge == "knn":
        return 1
    lists = (config.label_fractions, config.tasks, config.heads, config.subset_seeds)
    return math.prod(len(values) for values in lists)
