"""The runs of a study: those that are stopped, that fail, and that others work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engine.jobs.study_run
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.history.history import History
from engine.jobs.execute import execute
from engine.runs import RunFolder, create, own
from engine.study.grid import pretrain_config
from engine.study.retry import retry_failed
from engine.study.study_state import state_from_history

from ..study_states import of_size
from .small_studies import (
    Heard,
    entries_of,
    kinds,
    small_study,
    study_of,
)


def test_a_run_of_the_study_that_is_stopped_stops_the_study(tmp_path: Path, noise: Dataset) -> None:
    # Two hundred steps: a request from outside is looked for every 0.2 s.
    config = small_study(**{"label_fractions": [0.5], "baselines": [], "pretrain.optim.epochs": 40})
    folder = study_of(tmp_path, config)

    class Meddling(Heard):
        def progress(self, stage: str, done: int, total: int) -> None:
            super().progress(stage, done, total)
            if stage == "K 12, seed 0" and done == 3:
                (child,) = [e for e in entries_of(folder) if e.kind == "pretrain"]
                RunFolder(folder.path.parent / child.id).request("stop")

    sink = Meddling()
    assert execute(folder, data_dir=tmp_path, sink=sink) == "stopped"
    assert any("was stopped: the study stops with it" in line for line in sink.lines)
    assert sink.acknowledged == [("stop", 0)]
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert kinds(folder)["pretrain"] == 2


def test_a_run_that_fails_does_not_keep_the_others_from_being_done(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_study(label_fractions=[0.5], baselines=[])
    folder = study_of(tmp_path, config)
    with monkeypatch.context() as patch:

        def sometimes(run: RunFolder, **options: Any) -> str:
            if run.record().config.get("moco", {}).get("queue_size") == 12:
                with own(run) as owner:
                    owner.transition("running")
                    owner.transition("failed", error="The loss is not finite.")
                raise TrainingError("The loss is not finite.")
            return execute(run, **options)

        patch.setattr("engine.jobs.execute.execute", sometimes)
        with pytest.raises(TrainingError, match=r"1 run of the study failed, .*not finite"):
            execute(folder, data_dir=tmp_path)
    record = folder.record()
    assert record.status == "failed"
    assert "--retry-failed tries again" in record.error
    assert list(record.result["failed"].values()) == ["The loss is not finite."]
    assert record.result["cells"] == 2
    root = folder.path.parent
    found = state_from_history(config, History(root))
    why = {(c.queue_size, f.state, f.error) for c, f in found.cells.items()}
    assert why == {(12, "failed", "The loss is not finite."), (40, "done", "")}
    with pytest.raises(TrainingError, match=r"1 run of the study failed, .*not finite"):
        execute(folder, data_dir=tmp_path)  # left alone
    assert kinds(folder) == {"study": 1, "pretrain": 2, "probe": 2}
    assert retry_failed(found, root) == 1
    assert not state_from_history(config, History(root)).failed
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert kinds(folder) == {"study": 1, "pretrain": 2, "probe": 4}
    assert folder.record().result["failed"] == {}


def test_a_run_of_another_process_is_waited_for(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.jobs.study_run, "_LOOK_SECONDS", 0.0)
    config = small_study(label_fractions=[0.5], baselines=[])
    folder = study_of(tmp_path, config)
    other = create(folder.path.parent, "pretrain", pretrain_config(config, of_size(config, 12), 0))
    owner = own(other)
    owner.transition("running")

    class Patient(Heard):
        def log(self, text: str) -> None:
            super().log(text)
            if text.startswith("waiting for"):
                assert other.id in text
                # everything that does not need it is done
                study_state = state_from_history(config, History(folder.path.parent))
                states = {(c.queue_size, f.state) for c, f in study_state.cells.items()}
                assert states == {(12, "waiting"), (40, "done")}
                owner.transition("stopped")
                owner.close()

    assert execute(folder, data_dir=tmp_path, sink=Patient()) == "finished"
    assert other.record().status == "finished", "the study went on with it"
    assert kinds(folder) == {"study": 1, "pretrain": 2, "probe": 4}


def test_a_run_that_waits_for_its_turn_elsewhere_is_no_reason_to_wait(
    tmp_path: Path, noise: Dataset
) -> None:
    config = small_study()
    folder = study_of(tmp_path, config)
    other = create(folder.path.parent, "pretrain", pretrain_config(config, of_size(config, 12), 0))
    with (
        own(other),
        pytest.raises(TrainingError, match="waits for its turn in another process"),
    ):
        execute(folder, data_dir=tmp_path)
    assert folder.record().status == "failed"
    assert execute(folder, data_dir=tmp_path) == "finished"
