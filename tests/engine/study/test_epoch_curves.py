"""Accuracy against epochs: which probes lie on one curve."""

from __future__ import annotations

from typing import Any

from engine.history.entry import Entry
from engine.study.epoch_curves import epoch_curves


def probe(id_: str, step: int | None, top1: float | None, **values: Any) -> Entry:
    settings = {key.replace("__", "."): value for key, value in values.items()}
    return Entry(
        id=id_,
        kind="probe",
        parent=settings.pop("parent", "run"),
        created=float(len(id_)),
        data_digest=settings.pop("digest", ""),
        config=settings,
        result={} if step is None else {"encoder_step": float(step)},
        last={} if top1 is None else {"probe/pretrained/test_top1": top1},
    )


def test_probes_that_measure_the_same_are_one_curve_by_their_steps() -> None:
    entries = [
        probe("aaa", 30, 50.0),
        probe("a", 10, 30.0),
        probe("aa", 20, 40.0),
        probe("aaaa", 20, 41.0),  # of a step that has an older one
        probe("b", 10, 35.0, label_fraction=0.5),
        probe("c", 10, 99.0, parent="other"),
        probe("d", None, 99.0),
        probe("e", 40, None),
    ]
    first, second = epoch_curves(entries, "run", 10)
    assert [(p.step, p.epoch, p.top1, p.run) for p in first.points] == [
        (10, 1.0, 30.0, "a"),
        (20, 2.0, 40.0, "aa"),
        (30, 3.0, 50.0, "aaa"),
    ]
    assert (first.name, second.name) == ("ten 10 % logistic", "ten 50 % logistic")
    assert [(p.step, p.top1) for p in second.points] == [(10, 35.0)]
    assert epoch_curves(entries, "run", 0)[0].points[0].epoch is None


def test_what_changes_the_accuracy_parts_curves_and_other_settings_do_not() -> None:
    same = [probe("a", 1, 1.0), probe("b", 2, 2.0, runtime__threads=7, baselines=[])]
    assert len(epoch_curves(same, "run", 1)) == 1
    for change in ({"head": "linear"}, {"subset_seed": 3}, {"digest": "x"}, {"validation": 0.5}):
        other = [probe("a", 1, 1.0), probe("b", 2, 2.0, **change)]
        curves = epoch_curves(other, "run", 1)
        assert len(curves) == 2, change
        assert len({curve.name for curve in curves}) == 2, change
