"""The load of the machine, from counters of the system that are set by hand."""

from __future__ import annotations

import sys
from collections import namedtuple
from types import SimpleNamespace

import pytest

from moco_tui.present import device_load

# As the platform names them; on Linux the time of guests is counted in that of user as well.
Times = namedtuple("Times", "user system idle iowait guest")
Sampler = device_load.Sampler
READ, INIT = Sampler.read, Sampler.__init__


class Machine:
    """Two cores; time goes by when it is told to."""

    def __init__(self) -> None:
        self.times = [100.0, 50.0, 900.0, 10.0, 30.0]

    def work(self, seconds: float, busy: float) -> None:
        """So many seconds, in which this share of both cores is busy; a tenth of it for a guest."""
        self.times[0] += 2 * seconds * busy
        self.times[2] += 2 * seconds * (1 - busy) * 0.9
        self.times[3] += 2 * seconds * (1 - busy) * 0.1
        self.times[4] += 2 * seconds * busy * 0.1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    memory = SimpleNamespace(total=100, available=40)
    psutil = SimpleNamespace(
        cpu_times=lambda: Times(*machine.times),
        cpu_count=lambda: 2,
        virtual_memory=lambda: memory,
        Process=lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=7)),
    )
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    # conftest puts a fixed load in their place
    monkeypatch.setattr(Sampler, "__init__", INIT)
    monkeypatch.setattr(Sampler, "read", READ)
    return machine


def test_the_load_is_that_since_the_reading_before(machine: Machine) -> None:
    sampler = Sampler()
    first = sampler.read()
    assert first.cpu is None, "nothing is known yet: 0 % would be wrong on a busy machine"
    assert (first.cores, first.used, first.total, first.process) == (2, 60, 100, 7)
    for busy in (1.0, 0.75, 0.0, 0.5):
        machine.work(1.0, busy)
        assert sampler.read().cpu == pytest.approx(busy)
        # Read again at once, as after a key: the counters have not moved.
        assert sampler.read().cpu == pytest.approx(busy)
    machine.work(0.01, 1.0)  # one tick says nothing
    assert sampler.read().cpu == pytest.approx(0.5)
