"""What a trainer reports, in the record: newest and best values, steps, side work."""

from __future__ import annotations

import math

import pytest

from engine.runs.log_summary import gains
from engine.runs.record import Record
from engine.runs.record_updates import add_metrics, set_plan, set_stage, set_step
from engine.sink import Plan


@pytest.fixture
def record() -> Record:
    return Record(id="k7m2qx", kind="pretrain", created=1.0)


def test_the_best_value_is_the_largest_accuracy_and_the_smallest_mean_of_an_epoch(
    record: Record,
) -> None:
    for step, (top1, loss) in enumerate([(40.0, 6.0), (42.0, 5.0), (41.0, 5.5)], start=1):
        values = {"knn/top1": top1, "train/loss": loss - 1, "train/epoch_loss": loss}
        add_metrics(record, step, 0.0, {**values, "train/lr": 0.1})
    # Of single steps there is no best: the smallest loss of a batch is luck.
    assert record.best == {"knn/top1": 42.0, "train/epoch_loss": 5.0}
    assert record.last["knn/top1"] == 41.0
    assert record.last["train/loss"] == 4.5


def test_a_run_that_fell_below_its_untrained_encoder_does_not_have_that_for_its_best(
    record: Record,
) -> None:
    add_metrics(record, 10, 1.0, {"train/loss": 9.0})
    add_metrics(record, 0, 0.0, {"knn/top1": 40.0})  # measured after the first epoch
    assert (record.best, record.untrained) == ({}, {"knn/top1": 40.0})
    assert record.last["knn/top1"] == 40.0  # nothing newer was measured yet
    add_metrics(record, 10, 1.0, {"knn/top1": 30.0})
    add_metrics(record, 20, 2.0, {"knn/top1": 22.0})
    add_metrics(record, 0, 0.0, {"knn/top1": 40.0})  # again, by a resumed training
    assert record.best == {"knn/top1": 30.0}
    assert record.last["knn/top1"] == 22.0
    assert gains(record.best, record.untrained) == {"knn/top1": -10.0}


@pytest.mark.parametrize(
    ("size", "symmetric", "first"), [(96, False, 3), (97, False, 4), (96, True, 2)]
)
def test_no_epoch_counts_in_which_a_query_met_a_queue_that_was_not_full_of_keys(
    record: Record, size: int, symmetric: bool, first: int
) -> None:
    """16 pairs a step and 3 steps an epoch: 96 keys take 6 steps, or 3 of the symmetric loss."""
    moco = {"queue_size": size, "symmetric": symmetric}
    record.config = {"moco": moco, "optim": {"batch_size": 16}}
    set_plan(record, Plan(total_steps=100, steps_per_epoch=3))
    for epoch in range(1, 6):  # the loss rises while the queue fills, as it does
        add_metrics(record, 3 * epoch, epoch, {"train/epoch_loss": float(epoch)})
    assert record.best == {"train/epoch_loss": float(first)}


def test_a_nan_is_the_newest_value_and_never_the_best(record: Record) -> None:
    add_metrics(record, 1, 0.0, {"train/epoch_loss": math.nan})
    assert record.best == {}
    add_metrics(record, 2, 0.0, {"train/epoch_loss": 5.0})
    add_metrics(record, 3, 0.0, {"train/epoch_loss": math.nan})
    assert record.best == {"train/epoch_loss": 5.0}
    assert math.isnan(record.last["train/epoch_loss"])


def test_a_value_of_an_earlier_step_does_not_turn_the_run_back(record: Record) -> None:
    add_metrics(record, 5, 0.5, {"train/loss": 1.0})
    add_metrics(record, 0, 0.0, {"knn/top1": 30.0})
    assert (record.step, record.epoch) == (5, 0.5)
    assert record.last["knn/top1"] == 30.0


def test_the_epoch_follows_the_step_where_there_are_epochs(record: Record) -> None:
    set_plan(record, Plan(total_steps=100, start_step=20))
    assert (record.step, record.epoch) == (20, 0.0)
    set_plan(record, Plan(total_steps=100, steps_per_epoch=10, start_step=20))
    assert (record.step, record.epoch) == (20, 2.0)
    set_step(record, 5)
    assert (record.step, record.epoch) == (5, 0.5)


def test_a_stage_begins_once_and_ends_with_its_last_unit(record: Record) -> None:
    assert set_stage(record, "kNN", 1, 3)
    assert not set_stage(record, "kNN", 2, 3)
    assert set_stage(record, "solving", 1, 3)
    assert set_stage(record, "solving", 0, 3), "the same work begins anew"
    assert not set_stage(record, "solving", 3, 3)
    assert record.stage is None
