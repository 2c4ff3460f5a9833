"""The load of the machine, from counters of the system that are set by hand."""

from __future__ import annotations

import os
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.machine import cpu_use
from engine.machine.load_reader import LoadReader

# As the platform names them; on Linux the time of guests is counted in that of user as well.
Times = namedtuple("Times", "user system idle iowait guest")
V2 = {"proc/self/cgroup": "0::/job\n"}
GROUP = "sys/fs/cgroup/job"


class Machine:
    """CPUs of which each does the same; time goes by when it is told to."""

    def __init__(self, root: Path, cpus: int = 2) -> None:
        self.root, self.cpus = root, cpus
        self.times = [50.0, 25.0, 450.0, 5.0, 15.0]  # of one CPU
        self.now = self.own = 0.0
        self.memory = SimpleNamespace(total=100, available=40)

    def work(self, seconds: float, busy: float, own: float = 0.0) -> None:
        """So many seconds, in which this share of all CPUs is busy; a tenth of it for a guest."""
        self.times[0] += seconds * busy
        self.times[2] += seconds * (1 - busy) * 0.9
        self.times[3] += seconds * (1 - busy) * 0.1
        self.times[4] += seconds * busy * 0.1
        self.now += seconds
        self.own += own

    def cpu_times(self, percpu: bool = False) -> Any:
        if percpu:  # the last one idles, whatever the others do
            idle = Times(0.0, 0.0, sum(self.times) - self.times[4], 0.0, 0.0)
            return [*[Times(*self.times)] * (self.cpus - 1), idle]
        return Times(*(self.cpus * value for value in self.times))

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    psutil = SimpleNamespace(
        cpu_times=machine.cpu_times,
        cpu_count=lambda: machine.cpus,
        virtual_memory=lambda: machine.memory,
        Process=lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=7)),
    )
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(cpu_use, "_monotonic", lambda: machine.now)
    monkeypatch.setattr(cpu_use, "_process_time", lambda: machine.own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(machine.cpus)), raising=False)
    return machine


def test_the_load_is_that_since_the_reading_before(machine: Machine) -> None:
    reader = LoadReader(system=machine.root)
    first = reader.read()
    assert first.cpu is None, "nothing is known yet: 0 % would be wrong on a busy machine"
    assert (first.cores, first.used, first.total, first.process) == (2, 60, 100, 7)
    for busy in (1.0, 0.75, 0.0, 0.5):
        machine.work(1.0, busy)
        assert reader.read().cpu == pytest.approx(busy)
        # Read again at once, as after a key: the counters have not moved.
        assert reader.read().cpu == pytest.approx(busy)
    machine.work(0.01, 1.0)  # one tick says nothing
    assert reader.read().cpu == pytest.approx(0.5)


def test_the_share_of_this_process_is_of_all_cpus(machine: Machine) -> None:
    reader = LoadReader(system=machine.root)
    assert reader.read().own_cpu is None
    machine.work(10.0, 1.0, own=5.0)  # 5 of 20 CPU seconds
    assert reader.read().own_cpu == pytest.approx(0.25)


def test_of_the_cpus_that_a_process_may_not_use_nothing_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 CPUs a batch system gave the last two, one of which idles."""
    machine.cpus = 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3})
    reader = LoadReader(system=machine.root)
    machine.work(10.0, 0.6, own=10.0)
    load = reader.read()
    assert load.cores == 2
    assert load.own_cpu == pytest.approx(0.5)
    assert load.cpu == pytest.approx(0.3)


VERSIONS = {
    "version 2": {
        **V2,
        f"{GROUP}/cpu.max": "50000 100000\n",
        f"{GROUP}/cpu.stat": "usage_usec {micro}\nuser_usec 5\n",
    },
    "version 1": {
        "proc/self/cgroup": "2:cpu,cpuacct:/job\n",
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/job/cpuacct.usage": "{nano}\n",
    },
}


@pytest.mark.parametrize("version", VERSIONS)
def test_under_a_quota_the_cpu_is_that_of_the_group(machine: Machine, version: str) -> None:
    """Half a CPU is granted; the host is busy with something else."""
    files = VERSIONS[version]

    def used(seconds: float) -> None:
        texts = {"micro": f"{seconds * 1e6:.0f}", "nano": f"{seconds * 1e9:.0f}"}
        machine.write(**{name: text.format(**texts) for name, text in files.items()})

    used(100.0)
    reader = LoadReader(system=machine.root)
    machine.work(10.0, 1.0, own=1.0)
    used(103.0)
    load = reader.read()
    assert load.cores == 0.5
    assert load.cpu == pytest.approx(3.0 / 5.0)
    assert load.own_cpu == pytest.approx(1.0 / 5.0)


def test_the_memory_is_that_of_the_group_where_it_grants_less(machine: Machine) -> None:
    machine.write(
        **V2,
        **{
            f"{GROUP}/memory.max": "50\n",
            f"{GROUP}/memory.current": "45\n",
            f"{GROUP}/memory.stat": "anon 12\nfile 33\n",
        },
    )
    load = LoadReader(system=machine.root).read()
    assert (load.used, load.total) == (12, 50), "files are given back"
    machine.write(**{f"{GROUP}/memory.max": "9223372036854771712\n"})  # no limit, in version 1
    load = LoadReader(system=machine.root).read()
    assert (load.used, load.total) == (60, 100)


def test_each_value_alone_is_missing(machine: Machine) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    reader = LoadReader(system=machine.root)
    for name in ("virtual_memory", "cpu_times"):
        setattr(sys.modules["psutil"], name, refuse)
    load = reader.read()
    assert (load.cpu, load.used, load.total, load.process) == (None, None, None, 7)
    sys.modules["psutil"].Process = refuse  # type: ignore[attr-defined]
    assert reader.read().process is None


def test_without_the_libraries_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    reader = LoadReader()
    load = reader.read()
    assert (load.cpu, load.used, load.process, load.cards) == (None, None, None, [])
    reader.close()
