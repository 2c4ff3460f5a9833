"""Runs started, opened and listed from Python; every mistake is a sentence and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import ConfigError, DataError, RunError, TrainingError, UserError
from engine.sink import NullSink

from ...environment import with_packages
from .conftest import PROBE, SMALL, Trained


@pytest.fixture
def work(tmp_path: Path) -> engine.Workspace:
    return engine.Workspace(tmp_path / "runs", tmp_path / "data")


def test_import_alone_imports_no_torch_and_offers_every_name() -> None:
    script = (
        "import sys, engine; engine.errors.UserError; "
        "assert not {'torch', 'numpy', 'msgspec'} & set(sys.modules); "
        "assert set(engine.__all__) <= set(dir(engine)); "
        "[getattr(engine, name) for name in engine.__all__]; assert 'torch' in sys.modules; "
        "assert not hasattr(engine, 'nonsense')"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=with_packages())


def test_progress_hears_every_step_in_order(work: engine.Workspace) -> None:
    heard: list[engine.ProgressReport] = []
    run = work.pretrain("quick", SMALL, name="heard", progress=heard.append)
    steps = [at.step for at in heard if "train/loss" in at.values]
    assert steps == [1, 2, 3, 4, 5]  # 100 images, of which a tenth is kept out only of the labels
    assert {at.total_steps for at in heard if at.values} == {5}
    assert any(at.stage for at in heard)
    losses = [at.values["train/loss"] for at in heard if "train/loss" in at.values]
    assert losses == list(run.curve("train/loss")["value"])
    assert run.record.preset == "quick"
    assert run.settings["optim.batch_size"] == 20


def test_a_sink_may_be_given_and_may_stop_the_run(work: engine.Workspace) -> None:
    class Stops(NullSink):
        at = 0

        def metrics(self, step: int, epoch: float, values: Any) -> None:
            self.at = step

        def request(self) -> Any:
            return "stop" if self.at >= 3 else None

    run = work.pretrain("quick", SMALL, progress=Stops())
    assert (run.status, run.record.step) == ("stopped", 3)
    assert run.resume().status == "finished"
    assert list(run.curve("train/loss")["step"]) == [1, 2, 3, 4, 5]


def test_ctrl_c_stops_with_a_checkpoint_and_a_resume_goes_on(work: engine.Workspace) -> None:
    before = signal.getsignal(signal.SIGINT)

    def press(at: engine.ProgressReport) -> None:
        if at.step == 2 and at.values:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work.pretrain("quick", SMALL, name="pressed", progress=press)
    assert signal.getsignal(signal.SIGINT) is before
    run = work.open("pressed")
    assert run.status == "stopped"
    assert run.record.checkpoint_step == run.record.step
    assert run.record.step in (2, 3)
    assert run.resume().status == "finished"


def test_ctrl_c_while_the_images_are_read_leaves_no_run(work: engine.Workspace) -> None:
    def press(at: engine.ProgressReport) -> None:
        if at.stage:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work.pretrain("quick", SMALL, progress=press)
    assert work.runs() == []


def test_another_thread_may_compute_a_run(work: engine.Workspace) -> None:
    found: list[engine.Run] = []
    thread = threading.Thread(target=lambda: found.append(work.pretrain("quick", SMALL)))
    thread.start()
    thread.join()
    assert found[0].status == "finished"


def test_an_error_of_the_callback_is_a_failure_of_the_run(work: engine.Workspace) -> None:
    def broken(at: engine.ProgressReport) -> None:
        if at.values:
            raise ZeroDivisionError("mine")

    with pytest.raises(TrainingError, match="ZeroDivisionError: mine"):
        work.pretrain("quick", SMALL, name="mine", progress=broken)
    assert work.open("mine").status == "failed"


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("quik", {}, "quik"),
        ("quick", {"nonsense": 1}, "nonsense"),
        ("quick", {"optim.epochs": "many"}, "optim.epochs"),
        ("quick", {1: 2}, "names of settings"),
        ("quick", [("optim.epochs", 1)], "names of settings"),
        ("quick", {"data.source": "folder:/nowhere/at/all"}, "/nowhere/at/all"),
        ("quick", {"model.encoder": "no_such_module_here:Net"}, "no_such_module_here"),
        ("quick", {"runtime.device": "cuda:99"}, "cuda:99"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_no_run(
    work: engine.Workspace, preset: str, overrides: Any, words: str
) -> None:
    with pytest.raises(UserError) as said:
        work.pretrain(preset, overrides)
    assert words in str(said.value)
    assert work.runs() == []


def test_overrides_beside_a_whole_configuration_are_refused(work: engine.Workspace) -> None:
    config = engine.pretrain_config("quick", SMALL)
    with pytest.raises(ConfigError, match="overrides go with the name of a preset"):
        work.pretrain(config, {"optim.epochs": 2})


def test_a_name_that_no_run_may_have_is_refused(work: engine.Workspace) -> None:
    with pytest.raises(RunError, match="latest"):
        work.pretrain("quick", SMALL, name="latest")


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        engine.Workspace(tmp_path / "file" / "runs").pretrain("quick", SMALL)


def test_runs_are_found_as_by_the_commands(trained: Trained) -> None:
    work, run = trained.work, trained.run
    for ref in (run.id, "first", str(run.path), run.path, f"{run.path}/"):
        assert work.open(ref).id == run.id
    assert engine.open_run(str(run.path)).id == run.id
    for wrong in ("none such", "/nowhere/k7m2qx", Path("k7m2qx"), ""):
        with pytest.raises(RunError):
            work.open(wrong)


def test_the_history_is_filtered_sorted_and_cut(trained: Trained) -> None:
    work = trained.work
    assert {entry.kind for entry in work.runs()} == {"pretrain", "probe", "study"}
    assert [entry.id for entry in work.runs("kind:probe")] == [trained.probe.id]
    assert next(e.kind for e in work.runs(sort="created")) == "pretrain"
    assert len(work.runs(limit=2)) == 2
    assert work.runs(limit=0) == []
    for wrong in ({"where": "K>"}, {"sort": "nonsense"}, {"limit": -1}):
        with pytest.raises(ConfigError):
            work.runs(**wrong)


def test_a_probe_needs_a_pretraining_of_the_same_folder(
    trained: Trained, work: engine.Workspace
) -> None:
    with pytest.raises(RunError, match="lies in"):
        work.probe(trained.run, PROBE)
    with pytest.raises(RunError, match="needs a pretraining"):
        trained.work.probe(trained.probe, PROBE)
    with pytest.raises(RunError, match="no run"):
        trained.work.probe("none such", PROBE)
    with pytest.raises(ConfigError):
        trained.work.probe(trained.run, {"label_fraction": 2})


def test_errors_are_of_the_engine() -> None:
    assert issubclass(DataError, UserError)
    assert not issubclass(UserError, SystemExit)
