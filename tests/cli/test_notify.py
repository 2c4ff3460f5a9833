"""Notifications of the commands: the test of each way, trainers, lost runs; never from a run."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import TrainingError
from engine.runs import RunFolder, own
from engine.runs.heartbeat import host_name
from engine.runs.record import encode_record
from moco_tui.cli import watch as watching
from moco_tui.training import detached as detach

from ..pseudo_terminal import Terminal, environment
from ..receiver import Receiver
from .conftest import Call, trained


def lost(root: Path) -> RunFolder:
    """A run whose process is gone since a moment."""
    folder = trained(root)
    now = time.time()
    record = msgspec.structs.replace(
        folder.record(), status="running", ended=None, pid=2**22, running_since=now - 60
    )
    folder.record_path.write_bytes(encode_record(record))
    folder.heartbeat_path.unlink(missing_ok=True)
    assert record.host == host_name()
    return folder


def test_the_test_says_what_became_of_each_way(
    call: Call, receiver: Receiver, config: Path
) -> None:
    called = call("notify", "--test")
    assert called.code == 0
    assert "command  done" in called.out
    assert receiver.notes()[0]["MOCO_TUI_MESSAGE"].startswith("This is a test")
    config.write_text(receiver.configured('on = ["failed"]\napprise = ["nonsense://secret"]'))
    called = call("notify", "--test", "--json")
    assert called.code == 2, "a way has failed"
    found = {one["way"]: one["problem"] for one in json.loads(called.out)}
    assert found["command"] == ""
    assert found["nonsense://..."] != ""
    assert "not told, by notify.on: finished, lost, warning" in called.err
    assert "secret" not in called.out + called.err
    assert len(receiver.notes()) == 2


def test_the_test_says_where_nothing_is_configured_or_wrong(call: Call, config: Path) -> None:
    called = call("notify", "--test")
    assert (called.code, called.out) == (0, "")
    assert "no way is configured" in called.err
    assert "the output goes to none" in called.err
    config.write_text('[notify]\ncommand = "x"\n')
    assert "notify.command is x; it must be a list of texts" in call("notify", "--test").err
    assert call("notify").code == 2
    assert call("--read-only", "notify", "--test").code == 2


def test_on_a_terminal_its_own_notification_is_written(config: Path, root: Path) -> None:
    config.write_text('[notify]\nterminal = "osc9"\n')
    bare = dict.fromkeys(("TMUX", "STY"), "")
    command = [sys.executable, "-m", "moco_tui", "notify", "--test"]
    terminal = Terminal(command, environment(**bare), (100, 24))
    received: list[bytes] = []
    feed = terminal.stream.feed

    def keep(data: bytes) -> None:
        received.append(data)
        feed(data)

    try:
        terminal.stream.feed = keep  # type: ignore[method-assign]
        assert terminal.wait() == 0
        assert "terminal  written" in terminal.text
        assert b"\x1b]9;moco-tui: finished: This is a test: " in b"".join(received)
    finally:
        terminal.close()


def executes(monkeypatch: pytest.MonkeyPatch, error: str = "") -> None:
    """Puts a trainer that only owns the run in the place of the real one."""

    def execute(folder: RunFolder, **rest: Any) -> str:
        with own(folder) as owner:
            owner.transition("running")
            owner.transition("failed" if error else "finished", error=error)
        if error:
            raise TrainingError(error)
        return "finished"

    monkeypatch.setattr("engine.jobs.execute.execute", execute)
    monkeypatch.setattr(detach, "redirect_output", lambda log: None)


def test_the_detached_process_tells_of_each_of_its_runs(
    call: Call, root: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    executes(monkeypatch)
    runs = [trained(root, status="stopped", name=name) for name in ("one", "two")]
    assert call("_train", *(str(run.path) for run in runs)).code == 0
    assert [note["MOCO_TUI_RUN_NAME"] for note in receiver.notes()] == ["one", "two"]
    assert [note["MOCO_TUI_ACCURACY"] for note in receiver.notes()] == ["40.0", "40.0"]


def test_a_run_in_the_foreground_is_told_too(
    call: Call, root: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    executes(monkeypatch, error="The loss became nan.")
    run = trained(root, status="stopped")
    assert call("resume", run.id).code == 1
    (note,) = receiver.notes()
    assert note["MOCO_TUI_RUN_STATE"] == "failed"
    assert note["MOCO_TUI_MESSAGE"].endswith("The loss became nan.")


def test_a_mistake_in_the_configuration_is_said_and_training_goes_on(
    call: Call, root: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executes(monkeypatch)
    config.write_text("[notify]\ncomand = ['x']\n")
    run = trained(root, status="stopped")
    called = call("resume", run.id)
    assert called.code == 0
    assert "did you mean notify.command?" in called.err
    assert run.record().status == "finished"


def test_a_lost_run_is_told_by_the_first_who_finds_it(
    call: Call, root: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lost(root)
    assert call("--read-only", "runs").code == 0
    assert receiver.notes() == [], "read-only remembers nothing, and so tells nothing"
    assert "lost" in call("runs").out
    assert call("runs", "--json").code == 0
    monkeypatch.setattr(watching, "_sleep", lambda seconds: None)
    assert call("watch", run.id).code == 1
    assert receiver.states() == ["lost"]
    other = lost(root)
    assert call("watch", other.id).code == 1
    assert [note["MOCO_TUI_RUN_ID"] for note in receiver.notes()] == [run.id, other.id]


def test_nothing_that_a_run_brings_along_starts_anything(
    call: Call, root: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its record, its notes, files in its folder or beside it, nor a file of settings."""
    receiver = Receiver(tmp_path / "receiver")
    hostile = receiver.configured(f'apprise = ["json://127.0.0.1:1/{receiver.script}"]')
    settings = {"command": [str(receiver.script)], "terminal": "osc9", "on": ["finished", "lost"]}
    runs = [trained(root, status="stopped"), lost(root)]
    for run in runs:
        record = json.loads(run.record_path.read_text())
        record |= {"notify": settings, "notify.command": [str(receiver.script)]}
        record["config"] |= {"notify": settings}
        record["facts"] = {"notify": settings}
        run.record_path.write_text(json.dumps(record))
        run.user_path.write_text(json.dumps({"schema": 1, "name": "x", "notify": settings}))
        for folder in (run.path, root, tmp_path):
            for name in ("config.toml", "state.toml", "moco-tui.toml", ".moco-tui.toml"):
                (folder / name).write_text(hostile)
    executes(monkeypatch)
    monkeypatch.setattr(watching, "_sleep", lambda seconds: None)
    call("_train", str(runs[0].path))
    for args in (("runs",), ("watch", runs[1].id), ("show", runs[0].id), ("notify", "--test")):
        call(*args)
    (tmp_path / "run.toml").write_text(hostile)
    called = call("pretrain", "--config", str(tmp_path / "run.toml"))
    assert called.code == 2
    assert "notify is not a setting of a pretraining" in called.err
    called = call("pretrain", "--set", f"notify.command={receiver.script}")
    assert called.code == 2
    assert "is not a setting of a pretraining" in called.err
    assert receiver.notes() == []
    config.write_text(hostile)
    call("notify", "--test")
    assert len(receiver.notes()) == 1, "the same text starts it where the person has written it"
