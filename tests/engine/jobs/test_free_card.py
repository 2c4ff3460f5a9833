"""A run that names no card gets one that nobody trains on, and its lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.run_schema import RuntimeConfig
from engine.config.schema import PretrainConfig, StudyConfig
from engine.jobs.free_card import on_device, on_free_card
from engine.runs.device_holder import holder_of
from engine.runtime.device_lock import DeviceLock
from engine.sink import NullSink
from tests.made_up_cards import made_up, show_cards

CARDS = tuple(map(made_up, range(3)))
AUTO = PretrainConfig()


@pytest.fixture(autouse=True)
def three_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOCO_TUI_LOCKS", str(tmp_path))
    show_cards(monkeypatch, *CARDS)


def test_runs_that_begin_together_get_a_card_each() -> None:
    locks = [DeviceLock() for _ in range(4)]
    assert [on_device(on_free_card(AUTO, lock)) for lock in locks] == [
        *("cuda:0", "cuda:1", "cuda:2"),
        "auto",
    ]
    locks[1].close()
    placed = on_free_card(AUTO, locks[3])
    assert on_device(placed) == "cuda:1"
    # The run's own acquisition goes on with the lock, and writes who has it.
    locks[3].acquire(CARDS[1].key, name="cuda:1", holder="run k7m2qx (process 7)", sink=NullSink())
    assert holder_of(CARDS[1].key) == "run k7m2qx (process 7)"
    for lock in locks:
        lock.close()
    assert holder_of(CARDS[1].key) == ""


def test_the_card_that_was_meant_goes_before_the_others() -> None:
    first, second = DeviceLock(), DeviceLock()
    assert on_device(on_free_card(AUTO, first, device="cuda:2", prepared="cuda:1")) == "cuda:1"
    assert on_device(on_free_card(AUTO, second, device="cuda:2", prepared="cuda:1")) == "cuda:2"
    first.close()
    second.close()
    third = DeviceLock()
    assert on_device(on_free_card(AUTO, third, device="cuda:9", prepared="cpu")) == "cuda:0"
    third.close()


def test_a_run_that_names_its_device_and_a_study_take_no_lock() -> None:
    lock = DeviceLock()
    named = PretrainConfig(runtime=RuntimeConfig(device="cuda:1"))
    assert on_free_card(named, lock) is named
    study = StudyConfig()
    assert on_free_card(study, lock) is study
    assert on_device(study) == ""
    assert lock.fd is None


def test_without_cards_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    show_cards(monkeypatch)
    lock = DeviceLock()
    assert on_free_card(AUTO, lock) is AUTO
    assert lock.fd is None
