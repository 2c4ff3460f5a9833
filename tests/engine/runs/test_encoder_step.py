"""How far the encoder of a probe was trained: in words, and where it can be proven."""

from __future__ import annotations

from typing import Any

import pytest

from engine.runs.encoder_step import EncoderStep, encoder_words, proven_step
from engine.runs.record import Record


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ({}, "step not recorded"),
        ({"encoder_step": True}, "step not recorded"),
        ({"encoder_step": "3"}, "step not recorded"),
        ({"encoder_step": 3900.0, "encoder_schedule_steps": 19500.0}, "step 3,900 of 19,500, 20 %"),
        ({"encoder_step": 19499, "encoder_schedule_steps": 19500}, "step 19,499 of 19,500, 99.9 %"),
        ({"encoder_step": 19500, "encoder_schedule_steps": 19500}, "step 19,500 of 19,500, 100 %"),
        ({"encoder_step": 7}, "step 7"),
    ],
)
def test_the_step_in_words(result: dict[str, Any], wanted: str) -> None:
    assert encoder_words(result) == wanted
    known = EncoderStep.of(result)
    assert (known is None) == ("not" in wanted)


def record(kind: str, **values: Any) -> Record:
    return Record(id="k7m2qx", kind=kind, created=0.0, **values)


def test_an_old_probe_is_of_the_finished_encoder_only_where_the_times_prove_it() -> None:
    finished = record(
        "pretrain",
        status="finished",
        ended=100.0,
        checkpoint_step=30,
        steps_per_epoch=10,
        config={"optim": {"epochs": 4}},
    )
    after, before = record("probe", started=101.0), record("probe", started=99.0)
    assert proven_step(after, finished) == EncoderStep(30, 40)
    assert proven_step(before, finished) is None
    assert proven_step(record("probe"), finished) is None
    assert proven_step(after, None) is None
    stopped = record("pretrain", status="stopped", ended=100.0, checkpoint_step=30)
    assert proven_step(after, stopped) is None
    known = record("probe", started=99.0, result={"encoder_step": 7})
    assert proven_step(known, finished) == EncoderStep(7, 0)
