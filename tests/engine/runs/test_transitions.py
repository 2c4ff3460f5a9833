"""The states of a run, and the record as they change."""

from __future__ import annotations

import pytest

from engine.errors import RunError
from engine.runs import RunFolder, own
from engine.runs.record import STATUSES, encode_record
from engine.runs.transitions import TRANSITIONS


def test_every_transition_is_checked_against_the_table(run: RunFolder) -> None:
    for old in STATUSES:
        for new in STATUSES:
            record = run.record()
            record.status = old
            run.record_path.write_bytes(encode_record(record))
            with own(run) as owner:
                if new in TRANSITIONS[old]:
                    owner.transition(new)
                    assert run.record().status == new
                else:
                    with pytest.raises(RunError, match=f"is {old}; it cannot become {new}"):
                        owner.transition(new)
                    assert run.record().status == old


def test_the_life_of_a_run_is_dated(run: RunFolder) -> None:
    with own(run) as owner:
        assert run.record().started is None
        owner.transition("running")
        first = run.record().started
        assert first is not None
        owner.progress("kNN", 1, 3)
        owner.transition("failed", error="it broke")
        record = run.record()
        assert record.ended is not None
        assert (record.error, record.stage) == ("it broke", None)
        owner.transition("running")
        record = run.record()
        assert (record.started, record.ended, record.error) == (first, None, "")
        owner.transition("finished")


def test_only_real_fields_change_with_a_transition(run: RunFolder) -> None:
    with own(run) as owner:
        for bad in ({"colour": 1}, {"id": "x"}, {"schema": 2}):
            with pytest.raises(TypeError):
                owner.transition("running", **bad)
        assert owner.record.status == "queued"
