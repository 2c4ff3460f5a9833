"""The memory that control groups grant, from the files of made-up systems."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engine.machine.group_memory import group_memory, group_memory_use


def system(top: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


def test_the_smallest_of_all_groups_above_counts(tmp_path: Path) -> None:
    place = "sys/fs/cgroup/user/job"
    files = {
        "proc/self/cgroup": "0::/user/job/step\n",
        f"{place}/step/memory.max": "max\n",
        f"{place}/step/memory.current": "5\n",
        f"{place}/memory.max": "1000\n",
        f"{place}/memory.current": "700\n",
        f"{place}/memory.stat": "anon 300\nfile 400\nfile_mapped 90\n",
        "sys/fs/cgroup/user/memory.max": "5000\n",
        "sys/fs/cgroup/user/memory.current": "900\n",
    }
    assert group_memory(system(tmp_path, files)) == 1000 - (700 - 400)


def test_version_1_of_the_groups(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2048\n",
        "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1048\n",
        "sys/fs/cgroup/memory/job/memory.stat": "cache 1\ntotal_cache 48\n",
    }
    made = system(tmp_path, files)
    assert group_memory(made) == 2048 - 1000
    assert group_memory_use(made) == (1000, 2048)


@pytest.mark.parametrize("lines", ["", "0::/job\n", "garbage", "0::/../../etc\n"])
def test_without_a_limit_it_is_infinite(tmp_path: Path, lines: str) -> None:
    made = system(tmp_path, {"proc/self/cgroup": lines})
    assert group_memory(made) == math.inf
    assert group_memory_use(made) is None
