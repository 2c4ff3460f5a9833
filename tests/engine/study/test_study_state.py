import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from engine.config.resolve import build, resolve
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.history.entry import Entry, make_entry
from engine.history.history import History
from engine.runs import RunFolder, create, own, owner
from engine.runs.data_identity import DataIdentity
from engine.runs.record import Record, UserNotes
from engine.sink import Plan
from engine.study.grid import (
    Cell,
    ProbePoint,
    cells,
    pretrain_config,
    pretrainings,
    probe_config,
    probe_points,
    variants,
)
from engine.study.result_keys import plain
from engine.study.sought import pretraining_keys, sought_by
from engine.study.study_state import ROWS, state_from_entries, state_from_history

from ...environment import with_packages
from ..study_states import SMALL_GRID, of_size, small_grid


def finish(
    folder: RunFolder, metrics: dict[str, float], data: dict[str, Any] | None = None
) -> None:
    with own(folder) as owner:
        owner.transition("running")
        owner.plan(Plan(total_steps=1, data=data or {}))
        if folder.record().kind == "probe":
            owner.result({"encoder_step": 1})  # a probe says so before its first number
        owner.metrics(1, 1.0, metrics)
        owner.transition("finished")


def a_pretraining(root: Path, config: PretrainConfig) -> RunFolder:
    folder = create(root, "pretrain", config)
    finish(folder, {"train/loss": 1.0})
    return folder


def a_probe(root: Path, parent: RunFolder, config: ProbeConfig, **tops: float) -> RunFolder:
    folder = create(root, "probe", config, parent=parent.id)
    rows = {name.replace("_", "-"): top for name, top in tops.items()}
    metrics = {f"probe/{row}/test_top1": top for row, top in rows.items()}
    metrics |= {f"probe/{row}/test_balanced": top - 1 for row, top in rows.items()}
    metrics |= {f"probe/{row}/test_majority": 10.0 for row in rows}
    finish(folder, metrics)
    return folder


def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    config = small_grid()
    study_state = state_from_history(config, History(tmp_path))
    assert tuple(study_state.cells) == cells(config)
    assert {found.state for found in study_state.cells.values()} == {"missing"}
    assert {trained.state for trained in study_state.pretrainings.values()} == {"missing"}
    assert list(study_state.pretrainings) == [(v.label, seed) for v, seed in pretrainings(config)]


def test_what_was_done_by_hand_counts_with_its_numbers(tmp_path: Path) -> None:
    config = small_grid()
    parent = a_pretraining(tmp_path, pretrain_config(config, of_size(config, 8), 1))
    # as ``moco-tui probe RUN --head logistic --label-fraction 0.5`` makes it
    probe = a_probe(
        tmp_path, parent, build(ProbeConfig, {"label_fraction": 0.5}), pretrained=60.0, pixels=30.0
    )
    study_state = state_from_history(config, History(tmp_path))
    assert study_state.pretrainings["K 8", 1].run == parent.id
    assert study_state.pretrainings["K 8", 1].state == "finished"
    done = {cell: found for cell, found in study_state.cells.items() if found.state == "done"}
    # pixels stand beside the first seed's encoders alone
    cell = Cell("moco", "K 8", 1, "ten", 0.5, "logistic", 0, 8)
    assert list(done) == [cell]
    found = done[cell]
    assert (found.run, found.top1, found.balanced, found.majority) == (probe.id, 60.0, 59.0, 10.0)


def test_a_seed_that_changes_the_numbers_tells_probes_apart(tmp_path: Path) -> None:
    config = small_grid()
    parent = a_pretraining(tmp_path, pretrain_config(config, of_size(config, 8), 1))
    for head in ("linear", "logistic"):
        a_probe(
            tmp_path,
            parent,
            build(ProbeConfig, {"label_fraction": 0.5, "head": head}),  # seed 0, not 1
            pretrained=60.0,
            random_init=40.0,
        )
    cells_ = state_from_history(config, History(tmp_path)).cells
    assert cells_[Cell("moco", "K 8", 1, "ten", 0.5, "logistic", 0, 8)].state == "done"
    assert cells_[Cell("moco", "K 8", 1, "ten", 0.5, "linear", 0, 8)].state == "missing"
    assert cells_[Cell("random-init", None, 1, "ten", 0.5, "logistic", 0)].state == "missing"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"runtime.threads": 3}, True),
        ({"log.checkpoint_seconds": 7}, True),
        ({"monitor.knn_every": 0}, True),
        ({"optim.stop_epoch": 2500}, True),
        ({"runtime.device": "cpu"}, True),
        ({"optim.stop_epoch": 20}, False),
        ({"optim.lr": 0.07}, False),
        ({"runtime.seed": 5}, False),
        ({"moco.queue_size": 9}, False),
        ({"augment.rotation.degrees": 15.0}, False),
        ({"runtime.precision": "float32"}, False),
    ],
)
def test_a_pretraining_counts_when_its_numbers_are_the_same(
    tmp_path: Path, changes: dict[str, object], same: bool
) -> None:
    config = small_grid()
    values = {"moco.queue_size": 8, "runtime.seed": 1, **changes}
    folder = a_pretraining(tmp_path, build(PretrainConfig, values))
    trained = state_from_history(config, History(tmp_path)).pretrainings["K 8", 1]
    assert trained.run == (folder.id if same else "")


def test_a_preset_is_no_difference(tmp_path: Path) -> None:
    config = resolve(StudyConfig, preset_name="notebook-small-angle")
    own_config = resolve(PretrainConfig, preset_name="notebook-small-angle")
    folder = create(tmp_path, "pretrain", own_config, preset="notebook-small-angle")
    assert state_from_history(config, History(tmp_path)).pretrainings["K 4096", 0].run == folder.id


def entry(id_: str, config: PretrainConfig, **changes: object) -> Entry:
    from engine.history.entry import make_entry
    from engine.runs.record import Record, UserNotes

    record = Record(id=id_, kind="pretrain", created=0.0, config=msgspec.to_builtins(config))
    return replace(make_entry(record, UserNotes()), **changes)


def test_of_several_pretrainings_the_furthest_counts_and_a_finished_one_stays() -> None:
    config = small_grid()
    own_config = pretrain_config(config, of_size(config, 8), 0)
    runs = [
        entry("aaa", own_config, status="stopped", step=5, created=1.0),
        entry("bbb", own_config, status="finished", step=9, created=2.0),
        entry("ccc", own_config, status="finished", step=9, created=3.0),
        entry("ddd", own_config, status="running", step=8, created=4.0),
    ]

    def chosen(*numbers: int) -> str:
        return state_from_entries(config, [runs[i] for i in numbers]).pretrainings["K 8", 0].run

    assert chosen(0, 1, 2, 3) == "bbb"
    assert chosen(3, 2, 1, 0) == "bbb"
    assert chosen(0, 3) == "ddd"


def test_a_run_that_went_on_from_another_is_none_of_the_study() -> None:
    """Its settings are the same, and its weights are others."""
    config = small_grid()
    own_config = pretrain_config(config, of_size(config, 8), 0)
    forked = entry("aaa", own_config, status="finished", step=9, began_from="zzz@3")
    plain_run = entry("bbb", own_config, status="running", step=2, created=2.0)
    place = ("K 8", 0)
    assert state_from_entries(config, [forked]).pretrainings[place].run == ""
    assert state_from_entries(config, [forked, plain_run]).pretrainings[place].run == "bbb"


def test_the_states_of_cells_on_the_way(tmp_path: Path) -> None:
    config = small_grid()
    history = History(tmp_path)
    folder = create(tmp_path, "pretrain", pretrain_config(config, of_size(config, 8), 0))
    cell = Cell("moco", "K 8", 0, "ten", 0.1, "logistic", 0, 8)
    baseline = Cell("pixels", None, None, "ten", 0.1, "logistic", 0)
    assert state_from_history(config, history).cells[cell].state == "waiting"
    assert state_from_history(config, history).cells[baseline].state == "waiting"
    assert state_from_history(config, history).cells[cell].run == folder.id
    finish(folder, {"train/loss": 1.0})
    assert state_from_history(config, history).cells[cell].state == "missing"
    probe = create(
        tmp_path,
        "probe",
        probe_config(config, of_size(config, 8), 0, ProbePoint("ten", 0.1, "logistic", 0)),
        parent=folder.id,
    )
    assert state_from_history(config, history).cells[cell].state == "waiting"
    assert state_from_history(config, history).cells[cell].run == probe.id
    with own(probe) as owner:
        owner.transition("running")
        assert state_from_history(config, history).cells[cell].state == "running"
        owner.result({"encoder_step": 1})
        owner.metrics(3, 3.0, {"probe/pretrained/test_top1": 50.0})
        owner.transition("stopped")  # before the baselines
    study_state = state_from_history(config, history)
    assert study_state.cells[cell].state == "done"
    assert study_state.cells[cell].top1 == 50.0
    assert study_state.cells[cell].balanced is None
    assert study_state.cells[baseline].state == "missing"
    with own(probe) as owner:
        owner.transition("running")
        owner.transition("failed", error="no")
    assert state_from_history(config, history).cells[baseline].state == "failed"


def test_a_study_is_no_run_of_one_queue_size_or_seed(tmp_path: Path) -> None:
    study = create(tmp_path, "study", small_grid(**{"pretrain.data.source": "shapes"}))
    create(tmp_path, "pretrain", pretrain_config(small_grid(), of_size(small_grid(), 8), 0))
    history = History(tmp_path)
    for query in ("queue_size>=1", "seed=0", "label_fraction<=1", "head:logistic"):
        assert study.id not in [entry.id for entry in history.list(query)], query
    assert [entry.id for entry in history.list("kind:study source:shapes")] == [study.id]
    assert [entry.id for entry in history.list("queue_sizes=32")] == [study.id]
    found = history.get(study.id)
    assert found.config == {
        **{key: value for key, value in SMALL_GRID.items() if key not in ("heads", "subset_seeds")},
        "pretrain.data.source": "shapes",
    }, "an entry holds what differs from the defaults"
    assert found.setting("pretrain.optim.epochs") == 2500


def test_looking_needs_no_torch() -> None:
    code = (
        "import sys, engine.study.study_state; "
        "print('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=with_packages(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_a_probe_of_an_earlier_step_is_none_of_the_finished_encoder() -> None:
    """By the recorded step; where that is missing, only where the times prove it."""
    config = small_grid()
    pretraining = entry(
        "k", pretrain_config(config, of_size(config, 8), 0), status="finished", step=50, ended=200.0
    )
    cell = Cell("moco", "K 8", 0, "ten", 0.5, "logistic", 0, 8)
    pixels = Cell("pixels", None, None, "ten", 0.5, "logistic", 0)

    def state(**changes: object) -> tuple[str, str]:
        values = {
            "started": 100.0,
            "last": {"probe/pretrained/test_top1": 60.0, "probe/pixels/test_top1": 30.0},
            **changes,
        }
        flat = plain(build(ProbeConfig, {"label_fraction": 0.5}))
        probe = Entry(id="p", kind="probe", parent="k", status="finished", config=flat, **values)  # type: ignore[arg-type] # of tests
        cells_ = state_from_entries(config, [pretraining, probe]).cells
        assert cells_[cell].encoder_step == (50 if cells_[cell].state == "done" else None)
        assert cells_[pixels].encoder_step is None
        return cells_[cell].state, cells_[pixels].state

    assert state(started=300.0) == ("done", "done")  # of version 0.1, begun after the end
    assert state(started=100.0) == ("missing", "done")  # not proven; pixels have no encoder
    assert state(started=300.0, result={"encoder_step": 39.0}) == ("missing", "done")
    assert state(started=300.0, result={"encoder_step": 50.0}) == ("done", "done")
    # of a kept checkpoint: before it says of which step it is, and after
    early = {"checkpoint": "3", "last": {"probe/pixels/test_top1": 30.0}}
    assert state(**early)[0] == "missing"
    assert state(**early | {"checkpoint": ""})[0] == "missing"  # finished without its number
    assert state(checkpoint="3", result={"encoder_step": 39.0}) == ("missing", "done")
    assert state(checkpoint="5", result={"encoder_step": 50.0}) == ("done", "done")
    # begun early, and resumed with the finished encoder
    assert state(started=100.0, result={"encoder_step": 50.0}) == ("done", "done")


DATA = DataIdentity(train=1, train_images="a", train_labels="b", test_images="c")


@pytest.mark.parametrize(
    ("seen", "trained", "probed"),
    [
        (DATA, True, True),
        (None, True, True),  # of version 0.1
        (replace(DATA, test_images="x"), True, False),
        (replace(DATA, train_images="x"), False, False),
        (replace(DATA, train_labels="x"), False, False),
    ],
)
def test_runs_of_other_images_do_not_count(
    tmp_path: Path, seen: DataIdentity | None, trained: bool, probed: bool
) -> None:
    config = small_grid()
    facts = {} if seen is None else seen.facts()
    parent = create(tmp_path, "pretrain", pretrain_config(config, of_size(config, 8), 0))
    finish(parent, {"train/loss": 1.0}, facts)
    probe = create(tmp_path, "probe", build(ProbeConfig, {"label_fraction": 0.5}), parent=parent.id)
    finish(probe, {"probe/pretrained/test_top1": 60.0}, facts)
    cell = Cell("moco", "K 8", 0, "ten", 0.5, "logistic", 0, 8)
    state = state_from_history(config, History(tmp_path), DATA)
    assert state.pretrainings["K 8", 0].state == ("finished" if trained else "missing")
    assert (state.cells[cell].state == "done") == probed
    state = state_from_history(config, History(tmp_path))  # where the images are not known
    assert state.cells[cell].state == "done"


# --------------------------------------------------------------------------- clocks that are set

HOUR, TEN_YEARS = 3600.0, 10 * 365.25 * 86_400
ONE_PROBE = {"label_fractions": [0.5], "tasks": ["ten"], "heads": ["logistic"], "subset_seeds": [0]}
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
    config = small_grid(**ONE_PROBE)
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


def entry_of(id_: str, kind: str, config: Any, **values: Any) -> Entry:
    record = Record(id=id_, kind=kind, config=msgspec.to_builtins(config), **values)
    return make_entry(record, UserNotes())


def state_of(config: StudyConfig, probe: dict[str, Any], **parent: Any) -> tuple[str, str]:
    """State and run of the cell whose pretraining ended an hour after its probe."""
    point = ProbePoint("ten", 0.5, "logistic", 0)
    trained = {"status": "finished", "step": 50, "started": 9e9, "ended": 9e9} | parent
    entries = [
        entry_of(
            "pre",
            "pretrain",
            pretrain_config(config, of_size(config, 8), 0),
            created=9e9,
            **trained,
        ),
        entry_of(
            "prb",
            "probe",
            probe_config(config, of_size(config, 8), 0, point),
            parent="pre",
            created=1e9,
            **probe,
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
    config = small_grid(**ONE_PROBE)
    assert state_of(config, {"status": status}) == (state, "prb")
    begun = {"status": status, "started": 1e9, "trained_seconds": 0.0}
    assert state_of(config, begun) == (state, "prb")
    assert state_of(config, begun | {"result": {"encoder_step": 49}}) == ("missing", "")


def test_times_tell_of_results_of_version_0_1_alone() -> None:
    config = small_grid(**ONE_PROBE)
    number = {"status": "finished", "last": {"probe/pretrained/test_top1": 50.0}}
    of_0_1 = number | {"started": 9.5e9}
    assert state_of(config, of_0_1) == ("done", "prb")
    assert state_of(config, number | {"started": 8.5e9}) == ("missing", "")
    assert state_of(config, of_0_1 | {"trained_seconds": 1.0}) == ("missing", "")


def test_the_record_of_a_pretraining_may_name_an_earlier_checkpoint() -> None:
    """Its process was killed between its last checkpoint and its record."""
    config = small_grid(**ONE_PROBE)
    probe = {
        "status": "finished",
        "last": {"probe/pretrained/test_top1": 50.0},
        "result": {"encoder_step": 50},
    }
    assert state_of(config, probe, checkpoint_step=40) == ("done", "prb")


def test_the_missing_cells_are_named_in_order() -> None:
    config = small_grid(**ONE_PROBE)
    assert state_from_entries(config, []).missing == cells(config)


def test_a_second_look_works_out_no_key_anew(tmp_path: Path) -> None:
    """A screen asks every second, of up to ten thousand runs."""
    config = build(StudyConfig, {"axes": {"moco.momentum": [0.9, 0.99]}, "seeds": [0, 1]})
    again = msgspec.json.decode(msgspec.json.encode(config), type=StudyConfig)
    assert sought_by(config) is sought_by(again)
    create(tmp_path, "pretrain", pretrain_config(config, variants(config)[0], 1))
    (entry,) = History(tmp_path).list()
    assert pretraining_keys(entry) is pretraining_keys(entry)
    place = state_from_entries(config, [entry]).pretrainings["m 0.9", 1]
    assert place.run == entry.id
