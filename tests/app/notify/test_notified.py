"""Who trains a run tells how it ends, once; nothing of it harms the run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import RunBusyError, TrainingError
from engine.runs import RunFolder, create, own
from engine.sink import NullSink, Plan, Sink
from moco_tui.notify import notified as module
from moco_tui.notify.notified import notified
from moco_tui.notify.notifier import Notifier
from moco_tui.present.diagnoses import DIAGNOSES
from moco_tui.present.run_evidence import Said

from ...receiver import Receiver


def trainer(outcome: str = "finished", *, error: str = "", measured: int = 0) -> Callable[..., Any]:
    """Trains nothing, but owns the run, and reports to the sink as the trainer does."""

    def execute(folder: RunFolder, *, sink: Sink | None = None, **options: Any) -> str:
        with own(folder) as owner:
            owner.transition("running")
            owner.plan(Plan(total_steps=10, steps_per_epoch=5))
            for step in range(1, measured + 1):
                owner.metrics(step, step / 5, {"knn/top1": 40.0 + step})
                owner.flush()
                if sink is not None:
                    sink.metrics(step, step / 5, {"knn/top1": 40.0 + step})
            owner.transition("failed" if error else outcome, error=error)  # type: ignore[arg-type]
        if error:
            raise TrainingError(error)
        return outcome

    return execute


@pytest.fixture
def run(root: Path) -> RunFolder:
    return create(root, "pretrain", build(PretrainConfig, {}), name="a run")


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A diagnosis that always holds, without waiting for the curves to settle."""
    monkeypatch.setitem(DIAGNOSES, "collapse", _always(Said("It fell.", "Lower lr.")))
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.01)


def log_of(folder: RunFolder) -> str:
    return "\n".join(folder.log_tail(20))


def test_a_run_that_finishes_is_told_once(receiver: Receiver, run: RunFolder) -> None:
    assert notified(trainer(measured=2), Notifier())(run) == "finished"
    (note,) = receiver.notes()
    assert note["MOCO_TUI_RUN_STATE"] == "finished"
    assert note["MOCO_TUI_RUN_ID"] == run.id
    assert note["MOCO_TUI_ACCURACY"] == "42.0"


@pytest.mark.parametrize("outcome", ["stopped", "handed-over"])
def test_what_a_person_has_asked_for_is_not_told(
    receiver: Receiver, run: RunFolder, outcome: str
) -> None:
    assert notified(trainer(outcome), Notifier())(run) == outcome
    assert receiver.notes() == []


def test_a_failure_is_told_with_its_reason_and_goes_on_as_it_did(
    receiver: Receiver, run: RunFolder
) -> None:
    with pytest.raises(TrainingError, match="nan"):
        notified(trainer(error="The loss became nan."), Notifier())(run)
    (note,) = receiver.notes()
    assert note["MOCO_TUI_RUN_STATE"] == "failed"
    assert note["MOCO_TUI_MESSAGE"].endswith("failed: The loss became nan.")


def test_a_run_that_is_refused_as_it_stands_is_not_told(receiver: Receiver, run: RunFolder) -> None:
    """It had failed before, and another process has it now."""
    with pytest.raises(TrainingError):
        trainer(error="The loss became nan.")(run)

    def busy(folder: RunFolder, **options: Any) -> str:
        raise RunBusyError("Another process has it.")

    with pytest.raises(RunBusyError):
        notified(busy, Notifier())(run)
    assert receiver.notes() == []


def test_a_fault_is_told_once_a_run_whoever_trains_it(
    receiver: Receiver, run: RunFolder, fault: None
) -> None:
    notified(trainer("stopped", measured=3), Notifier())(run)
    (note,) = receiver.notes()
    assert note["MOCO_TUI_RUN_STATE"] == "warning"
    assert note["MOCO_TUI_MESSAGE"].endswith("It fell. Lower lr.")
    notified(trainer("finished", measured=3), Notifier())(run)
    assert receiver.states() == ["warning", "finished"]


def _always(said: Said | None) -> Callable[[Any], Said | None]:
    return lambda evidence: said


def test_a_queue_that_fills_is_no_fault(
    receiver: Receiver, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.01)
    for name in DIAGNOSES:
        said = Said("Seen.", "Advice.") if name == "queue-filling" else None
        monkeypatch.setitem(DIAGNOSES, name, _always(said))
    notified(trainer(measured=3), Notifier())(run)
    assert receiver.states() == ["finished"]


def test_the_sink_of_the_caller_gets_all_and_answers_requests(
    receiver: Receiver, run: RunFolder
) -> None:
    class Asking(NullSink):
        seen = 0

        def metrics(self, *args: Any) -> None:
            self.seen += 1

        def request(self) -> Any:
            return "stop"

    sink = Asking()
    asked = []

    def execute(folder: RunFolder, *, sink: Sink, **options: Any) -> str:
        asked.append(sink.request())
        return str(trainer("stopped", measured=3)(folder, sink=sink))

    notified(execute, Notifier())(run, sink=sink, data_dir="here")
    assert (sink.seen, asked) == (3, ["stop"])


def test_a_way_that_fails_is_a_line_in_the_log_of_the_run(
    config: Path, run: RunFolder, tmp_path: Path
) -> None:
    config.write_text('[notify]\ncommand = ["/nonexistent/program"]\n')
    assert notified(trainer(), Notifier())(run) == "finished"
    assert "the notification (command) failed: /nonexistent/program cannot be started" in log_of(
        run
    )
    assert run.record().status == "finished"


def test_an_error_of_the_notifier_itself_harms_nothing(
    receiver: Receiver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Notifier) -> None:
        raise MemoryError

    monkeypatch.setattr(Notifier, "settings", broken)
    runs = [create(root, "pretrain", build(PretrainConfig, {})) for _ in range(2)]
    assert notified(trainer(measured=2), Notifier())(runs[0]) == "finished"
    with pytest.raises(TrainingError, match="nan"):
        notified(trainer(error="The loss became nan."), Notifier())(runs[1])


def test_an_error_within_a_look_at_the_curves_harms_nothing(
    receiver: Receiver, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.01)

    def broken(evidence: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(DIAGNOSES, "collapse", broken)
    assert notified(trainer(measured=3), Notifier())(run) == "finished"
    assert receiver.states() == ["finished"]


def test_a_probe_is_told_and_a_worker_of_a_study_is_not(receiver: Receiver, root: Path) -> None:
    from engine.config.resolve import resolve
    from engine.config.schema import StudyConfig
    from engine.study.workers import new_worker

    probe = create(root, "probe", build(ProbeConfig, {}), parent="k7m2qx")
    notified(trainer(), Notifier())(probe)
    assert receiver.notes()[0]["MOCO_TUI_RUN_KIND"] == "probe"
    config = resolve(StudyConfig, preset_name="quick-study")
    study = create(root, "study", config)
    worker = new_worker(study, config, "a worker")
    notified(trainer(), Notifier())(worker)
    assert receiver.states() == ["finished"]
    with pytest.raises(TrainingError):
        notified(trainer(error="2 runs of the study failed, k7m2qx first."), Notifier())(study)
    assert receiver.states() == ["finished", "failed"], "one sentence of the study"
    assert receiver.notes()[1]["MOCO_TUI_RUN_KIND"] == "study"


def test_in_the_app_the_next_run_does_not_wait_for_a_note(
    config: Path, run: RunFolder, tmp_path: Path
) -> None:
    slow = Receiver(tmp_path / "slow", end=f"while ! test -e {tmp_path}/go; do sleep 0.05; done")
    config.write_text(slow.configured("seconds = 60"))
    assert notified(trainer(), Notifier(), waits=False)(run) == "finished"
    (tmp_path / "go").touch()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "notifier"]
    assert not thread.daemon, "the end of the process waits for it"
    thread.join(60)
    assert slow.states() == ["finished"]
