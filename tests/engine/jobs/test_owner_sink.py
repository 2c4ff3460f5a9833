"""What stands on the disk at the moment at which a request is seen as answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.jobs.owner_sink import OwnerSink
from engine.runs import RunOwner, create, own
from engine.runtime.device_lock import DeviceLock
from engine.sink import Request


def test_whoever_sees_the_answer_sees_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create(tmp_path, "pretrain", PretrainConfig())
    seen: list[tuple[Request, str]] = []
    acknowledge = RunOwner.acknowledge

    def watched(owner: RunOwner, request: Request, step: int) -> None:
        seen.append((request, folder.record().status))  # before the answer can be read
        acknowledge(owner, request, step)

    monkeypatch.setattr(RunOwner, "acknowledge", watched)
    with own(folder) as owner:
        owner.transition("running")
        sink = OwnerSink(owner, DeviceLock())
        for request in ("pause", "checkpoint", "continue", "checkpoint"):
            sink.acknowledge(request, 3)
        owner.transition("stopped")
    assert seen == [
        ("pause", "paused"),
        ("checkpoint", "paused"),
        ("continue", "running"),
        ("checkpoint", "running"),
    ]
