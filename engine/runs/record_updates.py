"""Functions that put a trainer's reports into the record of its run; all change it in place.

They run in the trainer's thread at every step and touch no file; ``RecordWriter`` calls them under
its lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.runs.data_identity import with_part
from engine.runs.log_summary import add_value
from engine.runs.provenance import merged, with_start
from engine.runs.record import Ack, Record, Stage
from engine.sink import Plan, Request


def set_plan(record: Record, plan: Plan) -> None:
    """The work ahead."""
    record.total_steps = plan.total_steps
    record.steps_per_epoch = plan.steps_per_epoch
    record.pairs_per_step = plan.pairs_per_step
    record.device = plan.device
    record.facts = dict(plan.facts)
    record.data = with_part(record.data, plan.start_step, plan.data)
    record.chance = plan.chance
    set_step(record, plan.start_step)


def set_config(record: Record, config: Mapping[str, Any]) -> None:
    """The configuration, nested builtin values."""
    record.config = dict(config)


def set_provenance(
    record: Record, step: int, now: float, values: Mapping[str, Any]
) -> dict[str, Any]:
    """What the run is computed with from a step on; returns what it was before that step."""
    before = merged(part for part in record.provenance if part["step"] < step)
    record.provenance = with_start(record.provenance, step, now, values)
    return before


def set_step(record: Record, step: int) -> None:
    """The step that training goes on from, and the epoch where that is known."""
    record.step = step
    if record.steps_per_epoch:
        record.epoch = step / record.steps_per_epoch


def add_metrics(record: Record, step: int, epoch: float, values: Mapping[str, float]) -> None:
    """The newest values, and the best of those that can be compared."""
    if step >= record.step:  # a value may come late: kNN of the untrained encoder, at step 0
        record.step, record.epoch = step, epoch
    for name, value in values.items():
        add_value(record, name, step, float(value))  # it may be a number of another library


def set_stage(record: Record, name: str, done: int, total: int) -> bool:
    """Side work; it is over when all of it is done. Returns True when it has just begun."""
    # "Begun" makes the owner flush: what was measured before a stage must be on disk with it.
    old = record.stage
    if done >= total:
        record.stage = None
        return False
    record.stage = Stage(name=name, done=done, total=total)
    return done == 0 or old is None or old["name"] != name


def set_checkpoint(record: Record, step: int, now: float) -> None:
    """The step that the resume point holds, and when (unix seconds) it was written."""
    record.checkpoint_step, record.checkpoint_time = step, now


def set_result(record: Record, values: Mapping[str, Any]) -> None:
    """The outcome so far, in place of an earlier one."""
    record.result = dict(values)


def set_ack(record: Record, id_: str, request: Request, step: int, now: float) -> None:
    """The request that was answered last, at which step and when (unix seconds)."""
    record.ack = Ack(id=id_, request=request, step=step, time=now)
