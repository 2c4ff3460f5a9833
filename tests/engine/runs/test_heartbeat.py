"""Heartbeats of other hosts: a run is alive while they are young."""

from __future__ import annotations

import pytest

from engine.errors import RunBusyError
from engine.runs import RunFolder, heartbeat, own

from .conftest import remote_life


def test_a_run_of_another_host_is_alive_while_its_heart_beats(run: RunFolder) -> None:
    remote_life(run)
    assert run.status() == "running"
    with pytest.raises(RunBusyError, match="process 5 on far"):
        own(run)
    remote_life(run, age=heartbeat.ALIVE_SECONDS + 1)
    assert run.status() == "lost"


@pytest.mark.parametrize("data", [b"", b"garbage", b"{}"])
def test_a_garbled_heartbeat_is_no_life_and_no_error(run: RunFolder, data: bytes) -> None:
    remote_life(run)
    run.heartbeat_path.write_bytes(data)
    assert not run.alive()
    assert run.status() == "lost"
