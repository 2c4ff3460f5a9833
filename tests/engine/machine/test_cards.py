"""Cards, from a driver that is made up: what it does not tell is missing alone."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from engine.machine import cards
from engine.machine.cards import MOST_OTHERS, CardReader

GIB = 2**30


class NVMLError(Exception):
    """As pynvml raises."""


class NotFoundError(NVMLError):
    """No samples."""


class Driver:
    """Two cards; ``refused`` has names of functions that it knows nothing to say to."""

    NVML_TEMPERATURE_GPU = 0
    NVMLError_NotFound = NotFoundError

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.compute: list[Any] = []
        self.graphics: list[Any] = []
        self.samples: list[Any] = []
        self.asked_since: list[int] = []
        self.opened = 0

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "refused"):
            raise NVMLError("Not Supported")
        return object.__getattribute__(self, name)

    def nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        if uuid != "MIG-cc":
            raise NotFoundError
        return 7

    def nvmlDeviceGetIndex(self, card: int) -> int:  # noqa: N802
        return card

    def nvmlDeviceGetUUID(self, card: int) -> str:  # noqa: N802
        return ("GPU-aa", "GPU-bb")[card]

    def nvmlDeviceGetName(self, card: int) -> bytes:  # noqa: N802
        return b"NVIDIA \x1b[31mA%d" % card

    def nvmlDeviceGetUtilizationRates(self, card: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=90, memory=40)

    def nvmlDeviceGetMemoryInfo(self, card: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=3 * GIB, total=80 * GIB, free=77 * GIB)

    def nvmlDeviceGetPowerUsage(self, card: int) -> int:  # noqa: N802
        return 320_500

    def nvmlDeviceGetEnforcedPowerLimit(self, card: int) -> int:  # noqa: N802
        return 700_000

    def nvmlDeviceGetTemperature(self, card: int, sensor: int) -> int:  # noqa: N802
        return 51

    def nvmlDeviceGetComputeRunningProcesses(self, card: int) -> list[Any]:  # noqa: N802
        return self.compute

    def nvmlDeviceGetGraphicsRunningProcesses(self, card: int) -> list[Any]:  # noqa: N802
        return self.graphics

    def nvmlDeviceGetProcessUtilization(self, card: int, since: int) -> list[Any]:  # noqa: N802
        self.asked_since.append(since)
        found = [sample for sample in self.samples if sample.timeStamp > since]
        if not found:
            raise NotFoundError
        return found


def process(pid: int, memory: int | None) -> Any:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)


def sample(pid: int, at: int, share: int) -> Any:
    return SimpleNamespace(pid=pid, timeStamp=at, smUtil=share)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(cards, "_sees_pids_of_host", lambda: True)
    return driver


def test_a_card_is_read_whole(driver: Driver) -> None:
    reader = CardReader()
    first, second = reader.read()
    assert (first.name, second.name) == ("NVIDIA [31mA0", "NVIDIA [31mA1"), "no escape is left"
    assert (first.load, first.used, first.total) == (0.9, 3 * GIB, 80 * GIB)
    assert (first.watts, first.most_watts, first.celsius) == (320.5, 700.0, 51.0)
    assert (first.index, second.index) == (0, 1)
    reader.close()
    assert driver.opened == 0
    assert reader.read() == []


VALUES = {
    "nvmlDeviceGetUtilizationRates": "load",
    "nvmlDeviceGetMemoryInfo": "used",
    "nvmlDeviceGetPowerUsage": "watts",
    "nvmlDeviceGetEnforcedPowerLimit": "most_watts",
    "nvmlDeviceGetTemperature": "celsius",
    "nvmlDeviceGetProcessUtilization": "own_load",
    "nvmlDeviceGetIndex": "index",
}


@pytest.mark.parametrize("refused", VALUES)
def test_what_the_driver_does_not_tell_is_missing_alone(driver: Driver, refused: str) -> None:
    driver.compute = [process(os.getpid(), GIB)]
    driver.samples = [sample(os.getpid(), 5, 50)]
    driver.refused = {refused}
    card = CardReader().read()[0]
    missing = {name for name in VALUES.values() if getattr(card, name) is None}
    assert missing == {VALUES[refused]}
    assert card.own_used == GIB


def test_a_driver_that_tells_nothing_but_its_cards_gives_cards_without_values(
    driver: Driver,
) -> None:
    driver.refused = {
        name
        for name in dir(Driver)
        if name.startswith("nvmlDeviceGet") and not name.endswith(("Count", "ByIndex"))
    }
    found = CardReader().read()
    assert [card.name for card in found] == ["GPU", "GPU"]
    assert {card.used for card in found} == {card.others_count for card in found} == {None}


@pytest.mark.parametrize("broken", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_a_driver_that_cannot_be_asked_has_no_cards(driver: Driver, broken: str) -> None:
    driver.refused = {broken}
    reader = CardReader()
    assert reader.read() == []
    reader.close()


def test_the_run_has_its_share_and_others_have_theirs(driver: Driver) -> None:
    own = os.getpid()
    driver.compute = [process(own, 2 * GIB), process(own + 1, GIB), process(own + 2, 5 * GIB)]
    driver.graphics = [process(own + 1, GIB // 2), process(own + 3, 8)]
    driver.samples = [
        *(sample(own, 10, 40), sample(own, 11, 60), sample(own + 1, 11, 30)),
        sample(own, 12, 4_000_000_000),  # some drivers fill lists with such numbers
    ]
    names = {own + 1: "ann", own + 2: "b\x1b]0;x\x07ob\n"}
    reader = CardReader(user_of=names.__getitem__)
    card = reader.read()[0]
    assert card.own_used == 2 * GIB
    assert card.own_load == pytest.approx(0.5)
    assert (card.others_count, card.others_used) == (3, 6 * GIB + 8)
    assert card.others == [
        (own + 2, "b]0;xob", 5 * GIB),
        (own + 1, "ann", GIB),
        (own + 3, "", 8),  # who it is cannot be found out
    ]
    # The samples of before are not asked for again; of the time since there is none.
    card = reader.read()[0]
    assert card.own_load == 0.0
    assert driver.asked_since == [0, 0, 12, 12], "of each card"


def test_a_process_whose_memory_nobody_tells_leaves_the_sum_unknown(driver: Driver) -> None:
    own = os.getpid()
    driver.compute = [process(own, None), process(own + 1, GIB), process(own + 2, 0)]
    card = CardReader().read()[0]
    assert (card.own_used, card.others_count, card.others_used) == (None, 2, None)


def test_in_a_container_nobody_is_told_apart_by_numbers_of_the_host(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any of the processes may be this one: nothing is said, rather than something wrong."""
    monkeypatch.setattr(cards, "_sees_pids_of_host", lambda: False)
    own = os.getpid()
    driver.compute = [process(own + 1, GIB)]
    driver.samples = [sample(own + 1, 5, 50)]
    card = CardReader(user_of=lambda pid: "wrong").read()[0]
    assert (card.own_used, card.own_load, card.others, card.others_count) == (None,) * 4
    # A driver that translates the numbers of some functions and not those of others.
    driver.compute = [process(own, GIB)]
    card = CardReader().read()[0]
    assert (card.own_used, card.own_load, card.others_count) == (GIB, None, 0)


def test_many_others_are_counted_and_some_are_named(driver: Driver) -> None:
    own = os.getpid()
    driver.compute = [process(own + 1 + i, 100 - i) for i in range(50)]
    card = CardReader().read()[0]
    assert card.others is not None
    assert (card.others_count, len(card.others)) == (50, MOST_OTHERS)
    assert card.others[0] == (own + 1, "", 100)


def test_the_cards_of_a_run_are_found_by_their_names_in_cuda(driver: Driver) -> None:
    assert [card.index for card in CardReader(["BB"]).read()] == [1]
    assert [card.index for card in CardReader(["GPU-bb", "aa"]).read()] == [1, 0]
    assert [card.index for card in CardReader(["cc"]).read()] == [7], "a slice of a card"
    assert CardReader(["dd"]).read() == [], "rather none than another one"


def test_of_a_run_on_a_cpu_no_driver_is_loaded(driver: Driver) -> None:
    assert CardReader([]).read() == []
    assert driver.opened == 0
