"""Who computes what of a study: units, the folders of workers, requests to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.schema import StudyConfig
from engine.errors import RunError
from engine.history.history import History
from engine.runs import RunFolder, create, own
from engine.runs.heartbeat import host_name
from engine.study.workers import (
    Units,
    answered,
    ask_workers,
    living_workers,
    new_worker,
    remove_ended,
    set_workers,
    study_of,
    worker_words,
    workers_of,
)

CONFIG = StudyConfig()


@pytest.fixture
def study(tmp_path: Path) -> RunFolder:
    return create(tmp_path / "runs", "study", CONFIG)


def test_a_unit_is_one_process_s(study: RunFolder) -> None:
    units, others = Units(study), Units(study)
    assert not units.held(3)
    assert units.holder(3) is None
    with units.claimed(3) as mine:
        assert mine
        with others.claimed(3) as theirs:
            assert not theirs
        with others.claimed(4) as free:
            assert free
        holder = others.holder(3)
        assert holder is not None
        assert (holder.pid, holder.host) == (os.getpid(), host_name())
    assert not others.held(3)
    assert others.holder(3) is None


def test_the_unit_of_a_killed_process_is_free(study: RunFolder) -> None:
    holding = (
        "import sys; from pathlib import Path; from engine.runs import RunFolder\n"
        "from engine.study.workers import Units\n"
        "with Units(RunFolder(Path(sys.argv[1]))).claimed(0) as mine:\n"
        "    print(mine, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holding, str(study.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"True\n"
        units = Units(study)
        holder = units.holder(0)
        assert holder is not None
        assert holder.pid == process.pid
        process.kill()
        process.wait()
        with units.claimed(0) as mine:
            assert mine


@pytest.mark.parametrize("name", ["units", "workers"])
def test_a_link_does_not_lead_out_of_the_study(study: RunFolder, name: str) -> None:
    outside = study.path.parent / "outside"
    outside.mkdir()
    (study.path / name).symlink_to(outside)

    def use() -> None:
        if name == "workers":
            new_worker(study, CONFIG, "worker 1")
        with Units(study).claimed(0):
            pass

    with pytest.raises(RunError, match="is no folder"):
        use()
    assert not list(outside.iterdir())
    assert workers_of(study) == []
    remove_ended(study)


def test_a_worker_is_in_no_history(study: RunFolder) -> None:
    worker = new_worker(study, CONFIG, "worker 1")
    assert study_of(worker) == study
    assert study_of(study) is None
    assert workers_of(study) == [worker]
    assert [entry.id for entry in History(study.path.parent).list()] == [study.id]
    assert living_workers(study) == []


def test_a_run_is_no_worker_for_the_name_of_its_folder(tmp_path: Path) -> None:
    other = create(tmp_path / "abc" / "workers", "study", CONFIG)
    assert study_of(other) is None


def test_requests_reach_the_living_and_ended_ones_go(study: RunFolder) -> None:
    alive, ended = (new_worker(study, CONFIG, f"worker {n}") for n in (1, 2))
    with own(ended) as owner:
        owner.transition("running")
        owner.transition("finished")
    with own(alive) as owner:
        owner.transition("running")
        owner.progress("K 16, seed 0: kNN", 1, 2)
        owner.flush()
        assert ask_workers(study, "pause") == [alive]
        assert owner.request() == "pause"
        assert not answered(alive, "pause")
        owner.acknowledge("pause", 0)
        owner.transition("paused")
        assert answered(alive, "pause")
        assert not answered(alive, "continue")
        assert not answered(alive, "stop")
        assert answered(ended, "stop")
        assert worker_words(alive).startswith(f"worker 1 (process {os.getpid()} on {host_name()}")
        remove_ended(study)
        assert workers_of(study) == [alive]
        owner.transition("stopped")


def test_the_number_of_workers_can_change(study: RunFolder) -> None:
    set_workers(study, 3)
    assert study.record().config["workers"] == 3
    assert study.record().status == "queued"
