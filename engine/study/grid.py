"""The cells of a study, the runs they stand for, and which of them the history has.

A study keeps no list of its runs: a cell is done when the history has a probe that would give its
number, whoever started it. No torch here: the screen of a study needs this at once.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.config.baselines import BASELINES, Baseline, BaselineName
from engine.config.fields import flatten
from engine.config.heads import draws_random
from engine.config.schema import (
    PretrainConfig,
    ProbeConfig,
    StudyConfig,
)
from engine.history.entry import Entry, config_base
from engine.history.history import History
from engine.runs.record import ACTIVE

Source = Literal["moco", BaselineName]
State = Literal["missing", "waiting", "running", "done", "failed"]

ROWS: Mapping[Source, str] = {"moco": "pretrained", **{b.name: b.name for b in BASELINES.values()}}
"""What a source is called in the rows and metrics of a probe."""


class Cell(Struct, frozen=True):
    """One number of a study.

    Attributes:
        source: what the features come from; ``supervised`` is a net trained from scratch.
        queue_size: of the pretraining, for ``moco``; else None.
        seed: of the pretraining, or of the random weights; None for the other two sources.
        task, fraction, subset_seed: as in the configuration.
        head: empty for ``supervised``, which has none.
    """

    source: Source
    queue_size: int | None
    seed: int | None
    task: str
    fraction: float
    head: str
    subset_seed: int


class CellResult(Struct, frozen=True):
    """What the history has of a cell.

    Attributes:
        state: ``waiting``: the pretraining has begun and is not finished, or the probe is queued;
            ``missing`` also when the run was stopped or lost and would be gone on with.
        run: id of the probe, or of the pretraining that is waited for, or empty.
        top1, balanced, majority: percent, on the test images; None until they are known (the
            last two also for probes of earlier versions).
    """

    state: State
    run: str
    top1: float | None = None
    balanced: float | None = None
    majority: float | None = None


class Trained(Struct, frozen=True):
    """What the history has of a pretraining of the grid.

    Attributes:
        run: its id, or empty.
        state: as the history shows it; ``missing`` when there is none.
        step, total_steps: its progress; 0 and 0 before it has begun.
    """

    run: str
    state: str
    step: int
    total_steps: int


class StudyState(Struct, frozen=True):
    """How far a study is.

    Attributes:
        cells: every cell of the configuration, encoder by encoder in the order in which these are
            trained.
        pretrainings: by queue size and seed, in that order.
    """

    cells: dict[Cell, CellResult]
    pretrainings: dict[tuple[int, int], Trained]


class ProbePoint(Struct, frozen=True):
    """Where a probe stands in the grid: it holds the cell of an encoder and those that ride in it.

    Attributes:
        task, fraction, head, subset_seed: as in ``Cell``.
    """

    task: str
    fraction: float
    head: str
    subset_seed: int


# --------------------------------------------------------------------------------------------
# The grid


def pretrainings(config: StudyConfig) -> tuple[tuple[int, int], ...]:
    """Queue size and seed of every pretraining, in the order in which they are trained."""
    return tuple((size, seed) for seed in config.seeds for size in config.queue_sizes)


def probe_points(config: StudyConfig) -> tuple[ProbePoint, ...]:
    """The probes of one encoder, in order."""
    return tuple(
        ProbePoint(task, fraction, head, subset)
        for head in config.heads
        for task in config.tasks
        for subset in config.subset_seeds
        for fraction in config.label_fractions
    )


def cells(config: StudyConfig) -> tuple[Cell, ...]:
    """Every cell, encoder by encoder in the order in which these are trained."""
    return tuple(
        cell
        for size, seed in pretrainings(config)
        for place in probe_points(config)
        for cell in cells_of(config, size, seed, place)
    )


def cells_of(
    config: StudyConfig, queue_size: int, seed: int, place: ProbePoint
) -> tuple[Cell, ...]:
    """The cells that one probe gives: its encoder's, and those of the baselines that ride in it."""
    found = [
        Cell("moco", queue_size, seed, place.task, place.fraction, place.head, place.subset_seed)
    ]
    for name in _riding(config, queue_size, seed, place):
        baseline = BASELINES[name]
        found.append(
            Cell(
                name,
                None,
                seed if baseline.has_pretraining_seed else None,
                place.task,
                place.fraction,
                place.head if baseline.has_head else "",
                place.subset_seed,
            )
        )
    return tuple(found)


def _riding(
    config: StudyConfig, queue_size: int, seed: int, place: ProbePoint
) -> tuple[BaselineName, ...]:
    """The baselines of a probe: they do not depend on the queue, and so stand beside the first.

    One without a pretraining seed stands beside the first seed only; one without a head beside
    the first head only, for the first few subsets.
    """
    if queue_size != config.queue_sizes[0]:
        return ()
    first_seed, first_head = seed == config.seeds[0], place.head == config.heads[0]
    few = place.subset_seed in config.subset_seeds[: config.supervised_subsets]

    def rides(baseline: Baseline) -> bool:
        return (baseline.has_pretraining_seed or first_seed) and (
            baseline.has_head or (first_head and few)
        )

    return tuple(name for name in config.baselines if rides(BASELINES[name]))


def pretrain_config(config: StudyConfig, queue_size: int, seed: int) -> PretrainConfig:
    """The configuration of a pretraining of the grid."""
    base = config.pretrain
    return replace(
        base,
        moco=replace(base.moco, queue_size=queue_size),
        runtime=replace(base.runtime, seed=seed),
    )


def probe_config(
    config: StudyConfig,
    queue_size: int,
    seed: int,
    task: str,
    fraction: float,
    head: str,
    subset_seed: int,
) -> ProbeConfig:
    """The configuration of a probe of the grid, with the baselines that ride in it."""
    base = config.probe
    place = ProbePoint(task, fraction, head, subset_seed)
    return replace(
        base,
        label_fraction=fraction,
        head=head,
        subset_seed=subset_seed,
        baselines=_riding(config, queue_size, seed, place),
        task=replace(base.task, name=task),
        runtime=replace(base.runtime, seed=seed),
    )


# --------------------------------------------------------------------------------------------
# Which configurations give the same number

_FREE_OF_PRETRAINING = (
    "log.",
    "monitor.",
    "data.holdout",  # of the monitor alone
    "runtime.device",
    "runtime.threads",
    "runtime.capture",
    "optim.epochs",  # these two are compared by ``_ends``
    "optim.stop_epoch",
)


def _ends(flat: Mapping[str, Any]) -> tuple[Any, Any]:
    """The length of the schedule and the epoch it ends at."""
    epochs = flat.get("optim.epochs")
    return epochs, flat.get("optim.stop_epoch") or epochs


def pretraining_key(flat: Mapping[str, Any]) -> str:
    """What a pretraining's numbers depend on, as a text.

    Args:
        flat: its configuration as dotted keys and builtin values.
    """
    kept = {k: v for k, v in flat.items() if not k.startswith(_FREE_OF_PRETRAINING)}
    return _text([kept, _ends(flat)])


def row_key(flat: Mapping[str, Any], source: Source) -> str:
    """What the row of a source in a probe depends on beside its encoder, as a text.

    The seed is part of it where the head or the baseline draws random numbers.

    Args:
        flat: the probe's configuration as dotted keys and builtin values.
        source: whose row.
    """
    head = flat.get("head")
    baseline = BASELINES.get(source)
    has_head = baseline is None or baseline.has_head
    seeded = (baseline is not None and baseline.draws_random) or draws_random(str(head))
    # what has no head has a section of its own, by its name
    sections = ("task.", f"{head}." if has_head else f"{source}.")
    kept = {k: v for k, v in flat.items() if k.startswith(sections)}
    shared = ["label_fraction", "subset_seed", "validation"]
    shared += ["head"] * has_head + ["runtime.seed"] * seeded
    return _text([kept, [flat.get(key) for key in shared]])


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def plain(config: Struct) -> dict[str, Any]:
    """A configuration as dotted keys and the values that a record has for them."""
    flat: dict[str, Any] = json.loads(msgspec.json.encode(flatten(config)))
    return flat


def _setting_of(entry: Entry) -> dict[str, Any]:
    return {**config_base(entry.kind, entry.preset), **entry.config}


# --------------------------------------------------------------------------------------------
# Looking


def look(config: StudyConfig, history: History) -> StudyState:
    """How far the study is, from what the history has now.

    Args:
        config: the study.
        history: of the folder that its runs are in.

    Raises:
        RunError: when the folder cannot be read.
    """
    return survey(config, history.list())


def survey(config: StudyConfig, entries: Iterable[Entry]) -> StudyState:
    """``look`` at runs that were listed already."""
    entries = sorted(entries, key=lambda entry: (entry.created, entry.id))
    trained = _pretrainings(config, entries)
    probes = _probes(trained, entries)
    found: dict[Cell, CellResult] = {}
    of_seed: dict[int, list[str]] = {}
    for (_, seed), entry in trained.items():
        if entry is not None:
            of_seed.setdefault(seed, []).append(entry.id)
    for (size, seed), keyed in _keys(msgspec.json.encode(config)).items():
        parent = trained[size, seed]
        for cell, key in keyed:
            # A baseline is the same beside every encoder of its seed.
            beside = of_seed.get(seed, []) if cell.source != "moco" else []
            if cell.source == "moco" and parent is not None:
                beside = [parent.id]
            runs = [e for id_ in beside for e in probes.get((id_, cell.source, key), ())]
            if cell.source == "moco" and parent is not None:
                runs = [e for e in runs if _of_the_end(e, parent)]
            found[cell] = _found(ROWS[cell.source], runs, parent)
    return StudyState(
        found,
        {
            at: Trained("", "missing", 0, 0)
            if entry is None
            else Trained(entry.id, entry.status, entry.step, entry.total_steps)
            for at, entry in trained.items()
        },
    )


@functools.lru_cache(maxsize=4)
def _keys(encoded: bytes) -> Mapping[tuple[int, int], tuple[tuple[Cell, str], ...]]:
    """Every cell with its ``row_key``, by queue size and seed: the same at every look.

    Args:
        encoded: the study's configuration as JSON.
    """
    config = msgspec.json.decode(encoded, type=StudyConfig)
    found = {}
    for size, seed in pretrainings(config):
        keyed: list[tuple[Cell, str]] = []
        for place in probe_points(config):
            flat = plain(probe_config(config, size, seed, *msgspec.structs.astuple(place)))
            keyed += [(c, row_key(flat, c.source)) for c in cells_of(config, size, seed, place)]
        found[size, seed] = tuple(keyed)
    return found


def _pretrainings(
    config: StudyConfig, entries: Iterable[Entry]
) -> dict[tuple[int, int], Entry | None]:
    """The run that stands for each pretraining: the one that is furthest, of equal ones the first.

    A finished one stays the one it is, whatever is trained beside it later.
    """
    wanted: dict[str, tuple[int, int]] = {}
    for size, seed in pretrainings(config):
        wanted[pretraining_key(plain(pretrain_config(config, size, seed)))] = (size, seed)
    found: dict[tuple[int, int], Entry | None] = dict.fromkeys(wanted.values())
    for entry in entries:
        if entry.kind != "pretrain":
            continue
        at = wanted.get(pretraining_key(_setting_of(entry)))
        if at is not None:
            best = found[at]
            if best is None or _rank(entry) > _rank(best):
                found[at] = entry
    return found


def _rank(entry: Entry) -> tuple[bool, bool, int]:
    return entry.status == "finished", entry.status in ACTIVE, entry.step


def _probes(
    trained: Mapping[tuple[int, int], Entry | None], entries: Iterable[Entry]
) -> dict[tuple[str, Source, str], list[Entry]]:
    """The probes of the study's encoders, by encoder, source and what their row depends on."""
    parents = {entry.id for entry in trained.values() if entry is not None}
    found: dict[tuple[str, Source, str], list[Entry]] = {}
    for entry in entries:
        if entry.kind != "probe" or entry.parent not in parents:
            continue
        flat = _setting_of(entry)
        for source in ROWS:
            if source == "moco" or source in flat.get("baselines", ()):
                key = (entry.parent, source, row_key(flat, source))
                found.setdefault(key, []).append(entry)
    return found


def _of_the_end(probe: Entry, parent: Entry) -> bool:
    """Whether a probe saw the last checkpoint of its pretraining, and not one on the way."""
    begun = probe.started or probe.created
    return parent.status == "finished" and begun >= (parent.ended or 0.0)


def _found(row: str, runs: Iterable[Entry], parent: Entry | None) -> CellResult:
    """The state of a cell: of the first probe that has its number, else of the furthest one."""
    best: Entry | None = None
    for entry in runs:
        top1 = entry.last.get(f"probe/{row}/test_top1")
        if top1 is not None:
            return CellResult(
                "done",
                entry.id,
                top1,
                entry.last.get(f"probe/{row}/test_balanced"),
                entry.last.get(f"probe/{row}/test_majority"),
            )
        if best is None or entry.status in ("running", "paused"):
            best = entry
    if best is not None:
        states: dict[str, State] = {
            "running": "running",
            "paused": "running",
            "handed-over": "running",
            "queued": "waiting",
            "failed": "failed",
        }
        return CellResult(states.get(best.status, "missing"), best.id)
    if parent is not None and parent.status != "finished":
        return CellResult("waiting", parent.id)
    return CellResult("missing", "")
