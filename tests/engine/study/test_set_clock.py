"""A study is told by steps what is done, whatever the clocks of its runs have said."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.schema import StudyConfig
from engine.history.entry import Entry, make_entry
from engine.history.history import History
from engine.runs import create, own, owner
from engine.runs.record import Record, UserNotes
from engine.study.grid import (
    ProbePoint,
    cells,
    pretrain_config,
    pretrainings,
    probe_config,
    probe_points,
)
from engine.study.study_state import ROWS, state_from_entries, state_from_history

from ..study_states import small_grid

HOUR, TEN_YEARS = 3600.0, 10 * 365.25 * 86_400
SMALL = {"label_fractions": [0.5], "tasks": ["ten"], "heads": ["logistic"], "subset_seeds": [0]}
TOPS = dict.fromkeys(ROWS.values(), 50.0)


class SteppingClock:
    """Unix seconds that jump by one of some spans at each look."""

    def __init__(self, *jumps: float) -> None:
        self.now = 1.7e9
        self._jumps = itertools.cycle(jumps)

    def __call__(self) -> float:
        self.now += next(self._jumps)
        return self.now


@pytest.mark.parametrize(
    "jumps",
    [
        (1.0,),
        (HOUR, -HOUR - 1.0),
        (-HOUR,),
        (TEN_YEARS, 1.0, -TEN_YEARS - 5.0),
        (-TEN_YEARS / 9, HOUR, HOUR),
    ],
)
def test_every_cell_is_done_once_its_probe_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jumps: tuple[float, ...]
) -> None:
    clock = SteppingClock(*jumps)
    monkeypatch.setattr(owner, "_now", clock)
    monkeypatch.setattr(time, "time", clock)
    config = small_grid(**SMALL)
    for size, seed in pretrainings(config):
        parent = create(tmp_path, "pretrain", pretrain_config(config, size, seed))
        with own(parent) as running:
            running.transition("running")
            running.metrics(7, 1.0, {"train/loss": 1.0})
            running.transition("finished")
        for point in probe_points(config):
            probe = create(
                tmp_path, "probe", probe_config(config, size, seed, point), parent=parent.id
            )
            history = History(tmp_path, read_only=True)
            waiting = state_from_history(config, history)
            assert probe.id in {found.run for found in waiting.cells.values()}, "it is gone on with"
            with own(probe) as running:
                running.transition("running")
                running.result({"encoder_step": 7})
                running.metrics(1, 1.0, {f"probe/{r}/test_top1": t for r, t in TOPS.items()})
                running.transition("finished")
    done = state_from_history(config, History(tmp_path, read_only=True))
    assert done.missing == ()
    assert done.done == len(cells(config))


def entry(id_: str, kind: str, config: Any, **values: Any) -> Entry:
    record = Record(id=id_, kind=kind, config=msgspec.to_builtins(config), **values)
    return make_entry(record, UserNotes())


def state_of(config: StudyConfig, probe: dict[str, Any], **parent: Any) -> tuple[str, str]:
    """State and run of the cell whose pretraining ended an hour after its probe."""
    point = ProbePoint("ten", 0.5, "logistic", 0)
    trained = {"status": "finished", "step": 50, "started": 9e9, "ended": 9e9} | parent
    entries = [
        entry("pre", "pretrain", pretrain_config(config, 8, 0), created=9e9, **trained),
        entry(
            "prb", "probe", probe_config(config, 8, 0, point), parent="pre", created=1e9, **probe
        ),
    ]
    found = state_from_entries(config, entries).cells[cells(config)[0]]
    return found.state, found.run


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("queued", "waiting"),
        ("running", "running"),
        ("stopped", "missing"),
        ("failed", "failed"),
    ],
)
def test_a_probe_without_a_number_is_gone_on_with(status: str, state: str) -> None:
    config = small_grid(**SMALL)
    assert state_of(config, {"status": status}) == (state, "prb")
    begun = {"status": status, "started": 1e9, "trained_seconds": 0.0}
    assert state_of(config, begun) == (state, "prb")
    assert state_of(config, begun | {"result": {"encoder_step": 49}}) == ("missing", "")


def test_times_tell_of_results_of_version_0_1_alone() -> None:
    config = small_grid(**SMALL)
    number = {"status": "finished", "last": {"probe/pretrained/test_top1": 50.0}}
    of_0_1 = number | {"started": 9.5e9}
    assert state_of(config, of_0_1) == ("done", "prb")
    assert state_of(config, number | {"started": 8.5e9}) == ("missing", "")
    assert state_of(config, of_0_1 | {"trained_seconds": 1.0}) == ("missing", "")


def test_the_record_of_a_pretraining_may_name_an_earlier_checkpoint() -> None:
    """Its process was killed between its last checkpoint and its record."""
    config = small_grid(**SMALL)
    probe = {
        "status": "finished",
        "last": {"probe/pretrained/test_top1": 50.0},
        "result": {"encoder_step": 50},
    }
    assert state_of(config, probe, checkpoint_step=40) == ("done", "prb")


def test_the_missing_cells_are_named_in_order() -> None:
    config = small_grid(**SMALL)
    assert state_from_entries(config, []).missing == cells(config)
