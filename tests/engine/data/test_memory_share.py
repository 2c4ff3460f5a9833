"""The memory that is free for this process, from the files of made-up systems."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engine.data import memory_share
from engine.data.memory_share import fits_into_memory, free_memory


def test_without_a_limit_that_of_the_machine_counts(tmp_path: Path) -> None:
    assert 0 < free_memory(tmp_path) <= psutil.virtual_memory().total


def test_a_control_group_may_leave_less(tmp_path: Path) -> None:
    for name, text in {
        "proc/self/cgroup": "0::/job\n",
        "sys/fs/cgroup/job/memory.max": "1000\n",
        "sys/fs/cgroup/job/memory.current": "700\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == 300


def test_half_of_it_is_for_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_share, "free_memory", lambda: 1000.0)
    assert fits_into_memory(500)
    assert not fits_into_memory(501)
