"""The cores that a process may use: under a batch system, in a container, with hyperthreads."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from engine.machine import cpu_count
from engine.machine.cpu_count import available_cpus, cpu_quota, physical_cores, slurm_cores


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


TOPOLOGY = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def test_hyperthreads_of_a_core_count_once(tmp_path: Path) -> None:
    """Eight CPUs of four cores: CPU n and n + 4 are one."""
    root = written(
        tmp_path, {TOPOLOGY.format(cpu): f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)}
    )
    assert physical_cores(list(range(8)), root) == 4
    assert physical_cores([0, 4], root) == 1
    assert physical_cores([0, 1, 5], root) == 2


def test_without_a_topology_each_cpu_is_a_core(tmp_path: Path) -> None:
    assert physical_cores([3, 5, 7], tmp_path) == 3
    assert physical_cores([], tmp_path) == 1


OWN = "proc/self/cgroup"
QUOTAS: dict[str, tuple[dict[str, str], float]] = {
    "nothing there": ({}, math.inf),
    "version 2, no limit": (
        {OWN: "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"},
        math.inf,
    ),
    "version 2": (
        {OWN: "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"},
        1.5,
    ),
    "of a group above": (
        {
            OWN: "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        },
        3.0,
    ),
    "a container sees its own group as the top": (
        {OWN: "0::/docker/0123\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"},
        2.0,
    ),
    "a namespace names its group from elsewhere": (
        {OWN: "0::/../../x\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"},
        0.5,
    ),
    "version 1": (
        {
            OWN: "5:memory:/m\n4:cpu,cpuacct:/a\n0::/\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        4.0,
    ),
    "version 1, no limit": (
        {
            OWN: "4:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        math.inf,
    ),
    "nonsense": ({OWN: "0::/\n", "sys/fs/cgroup/cpu.max": "many 0\n"}, math.inf),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_the_quota_of_a_container_is_found(case: str, tmp_path: Path) -> None:
    files, quota = QUOTAS[case]
    assert cpu_quota(written(tmp_path, files)) == quota


@pytest.mark.parametrize(("quota", "threads"), [(math.inf, 4), (8.0, 4), (2.5, 3), (0.5, 1)])
def test_threads_are_the_smaller_of_cores_and_quota(
    quota: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cpu_count, "physical_cores", len)
    monkeypatch.setattr(cpu_count, "cpu_quota", lambda: quota)
    assert available_cpus() == threads


def test_of_this_machine_at_least_one_core_is_found() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("variables", "cores"),
    [
        ({}, math.inf),
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"}, 4),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_PER_TASK": "0"}, math.inf),
        ({"SLURM_CPUS_PER_TASK": "-1"}, math.inf),
        ({"SLURM_CPUS_PER_TASK": "many"}, math.inf),
    ],
)
def test_a_job_of_slurm_takes_no_more_than_it_was_granted(
    variables: dict[str, str], cores: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slurm_cores(variables) == cores
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cpu_count, "physical_cores", lambda cpus: 6)
    monkeypatch.setattr(cpu_count, "cpu_quota", lambda: math.inf)
    found = available_cpus()
    assert found == min(6, cores)
    assert type(found) is int
