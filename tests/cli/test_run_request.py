"""Requests at the prompt: left in the run folder, answered and printed as answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, RunOwner, create, own
from engine.sink import Request
from moco_tui.cli import run_request

from .conftest import Call, begin, trained


@pytest.fixture
def between_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Lets the trainer do something each time the command waits."""

    def install(act: Callable[[], Any]) -> None:
        monkeypatch.setattr(run_request, "_sleep", lambda seconds: act())

    return install


def answer(owner: RunOwner, step: int) -> None:
    """What a trainer's loop does between two steps."""
    request = owner.request()
    if request is not None:
        owner.acknowledge(request, step)
        if request == "pause":
            owner.transition("paused")
        elif request == "continue":
            owner.transition("running")
        elif request == "stop":
            owner.transition("stopped")


def running(root: Path) -> tuple[RunFolder, RunOwner]:
    folder = create(root, "pretrain", PretrainConfig())
    return folder, begin(folder)


@pytest.mark.parametrize(
    ("request_", "said", "state"),
    [
        ("pause", "paused after step 812", "paused"),
        ("stop", "stopping after step 812", "stopped"),
        ("checkpoint", "checkpoint of step 812 written", "running"),
    ],
)
def test_the_answer_of_the_trainer_is_printed(
    call: Call, root: Path, between_looks: Any, request_: str, said: str, state: str
) -> None:
    folder, owner = running(root)
    with owner:
        between_looks(lambda: answer(owner, 812))
        called = call(request_, folder.id)
        assert (called.code, called.out) == (0, said + "\n")
        assert called.err == f"run {folder.id}\n", "it says which run it took"
        assert folder.record().status == state
        assert folder.pending_requests() == []


def test_a_paused_run_goes_on(call: Call, root: Path, between_looks: Any) -> None:
    folder, owner = running(root)
    with owner:
        owner.transition("paused")
        between_looks(lambda: answer(owner, 5))
        called = call("continue", folder.id)
        assert (called.code, called.out) == (0, "going on after step 5\n")
        assert folder.record().status == "running"


def test_a_trainer_that_is_gone_at_the_next_look_has_answered(
    call: Call, root: Path, between_looks: Any
) -> None:
    folder, owner = running(root)

    def leave() -> None:
        while owner.request() is None:
            pass
        answer(owner, 7)
        owner.close()

    between_looks(leave)
    called = call("stop", folder.id)
    assert (called.code, called.out) == (0, "stopping after step 7\n")


def test_no_answer_in_time_says_so_and_leaves_the_request(call: Call, root: Path) -> None:
    folder, owner = running(root)
    with owner:
        called = call("pause", folder.id, "--timeout", "0")
        assert (called.code, called.out) == (2, "")
        assert "gave no answer within 0 s" in called.err
        assert called.err.count("\n") == 1
        assert [asked.request for asked in folder.pending_requests()] == ["pause"]
        assert folder.record().status == "running"


def test_no_wait_returns_at_once(
    call: Call, root: Path, between_looks: Callable[[Callable[[], Any]], None]
) -> None:
    folder, owner = running(root)
    with owner:
        between_looks(lambda: pytest.fail("it waited"))
        called = call("stop", folder.id, "--no-wait")
        assert (called.code, called.out) == (0, "")
        assert folder.id in called.err
        assert [asked.request for asked in folder.pending_requests()] == ["stop"]


def test_a_run_that_ends_without_an_answer_is_an_error(
    call: Call, root: Path, between_looks: Any
) -> None:
    folder, owner = running(root)
    with owner:
        between_looks(lambda: owner.transition("finished"))
        called = call("pause", folder.id)
    assert called.code == 2
    assert "finished" in called.err


@pytest.mark.parametrize("request_", ["checkpoint", "pause"])
def test_an_older_answer_is_not_taken_for_that_of_a_run_that_ended_without_one(
    call: Call, root: Path, between_looks: Any, request_: Request
) -> None:
    folder, owner = running(root)
    with owner:
        folder.request(request_)
        while owner.request() is None:
            pass
        answer(owner, 7)
        if request_ == "pause":
            owner.transition("running")
        between_looks(lambda: owner.transition("finished"))
        called = call(request_, folder.id)
    assert (called.code, called.out) == (2, "")
    assert "did not answer" in called.err


def test_an_older_answer_of_the_same_kind_is_not_taken_for_this_one(
    call: Call, root: Path, between_looks: Any
) -> None:
    folder, owner = running(root)
    with owner:
        between_looks(lambda: answer(owner, 3))
        assert call("checkpoint", folder.id).out == "checkpoint of step 3 written\n"
        between_looks(lambda: answer(owner, 9))
        assert call("checkpoint", folder.id).out == "checkpoint of step 9 written\n"


@pytest.mark.parametrize("command", ["pause", "continue", "stop", "checkpoint"])
@pytest.mark.parametrize("status", ["finished", "stopped", "failed", None])
def test_nobody_is_asked_where_nobody_can_answer(
    call: Call, root: Path, command: str, status: str | None
) -> None:
    folder = trained(root, status=status)
    called = call(command, folder.id)
    assert (called.code, called.out) == (2, "")
    assert (status or "lost") in called.err
    assert called.err.count("\n") == 1
    assert folder.pending_requests() == []


def test_a_queued_run_keeps_the_request_for_its_start(
    call: Call, root: Path, between_looks: Callable[[Callable[[], Any]], None]
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    between_looks(lambda: pytest.fail("it waited"))
    called = call("stop", folder.id)
    assert (called.code, called.out) == (0, "")
    assert "not started" in called.err
    with own(folder) as owner:
        owner.transition("running")
        assert owner.request() == "stop"


def test_json(call: Call, root: Path, between_looks: Any) -> None:
    folder, owner = running(root)
    with owner:
        between_looks(lambda: answer(owner, 4))
        facts = json.loads(call("pause", folder.id, "--json").out)
    assert facts == {
        "id": folder.id,
        "request": "pause",
        "status": "paused",
        "acknowledged": True,
        "step": 4,
    }
