"""Accuracy against epochs of pretraining: the probes of several checkpoints of one run.

Probes belong on one curve when they measure the same: the task, head, labels and all that their
accuracy depends on beside the encoder (``result_keys.row_key``), on the same images.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from engine.history.entry import Entry
from engine.history.shown import encoder_step
from engine.study.sought import probe_keys


class EpochPoint(Struct, frozen=True):
    """A probe of one checkpoint.

    Attributes:
        step: steps of pretraining behind its encoder.
        epoch: the same in epochs; None where the length of one is not known.
        top1: percent, on the test images.
        run: id of the probe.
    """

    step: int
    epoch: float | None
    top1: float
    run: str


class EpochCurve(Struct, frozen=True):
    """The probes of one pretraining that measure the same, by the steps behind their encoders.

    Attributes:
        name: task, share of the labels and head, and what else tells it from the other curves.
        key: equal for curves of different pretrainings that measure the same.
        points: ascending by step, at least one; of equal probes of one step the oldest.
    """

    name: str
    key: str
    points: tuple[EpochPoint, ...]


def epoch_curves(
    entries: Iterable[Entry], pretraining: str, steps_per_epoch: int
) -> tuple[EpochCurve, ...]:
    """The curves of a pretraining, those of the most points first.

    Args:
        entries: runs, its probes among them.
        pretraining: id of the run.
        steps_per_epoch: of the run; 0: not known.
    """
    found: dict[str, dict[int, EpochPoint]] = {}
    of_key: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.place, entry.id)):
        if entry.kind != "probe" or entry.parent != pretraining:
            continue
        step, top1 = encoder_step(entry), entry.last.get("probe/pretrained/test_top1")
        if step is None or top1 is None:
            continue
        key = probe_keys(entry)[0][1] + entry.data_digest
        of_key.setdefault(key, entry)
        epoch = step / steps_per_epoch if steps_per_epoch else None
        found.setdefault(key, {}).setdefault(step, EpochPoint(step, epoch, top1, entry.id))
    names = _names(of_key)
    curves = [
        EpochCurve(names[key], key, tuple(point for _, point in sorted(points.items())))
        for key, points in found.items()
    ]
    return tuple(sorted(curves, key=lambda curve: -len(curve.points)))


def _names(of_key: dict[str, Entry]) -> dict[str, str]:
    """A name for each curve; those that would be equal are numbered from the second on."""
    names: dict[str, str] = {}
    for key, entry in of_key.items():
        base = name = _name(entry)
        number = 1
        while name in names.values():
            number += 1
            name = f"{base} ({number})"
        names[key] = name
    return names


def _name(entry: Entry) -> str:
    share = entry.setting("label_fraction")
    labels = f"{100 * share:g} %" if isinstance(share, int | float) else "?"
    subset = entry.setting("subset_seed")
    parts = [str(entry.setting("task.name")), labels, str(entry.setting("head"))]
    return " ".join(parts) + (f" subset {subset}" if subset else "")
