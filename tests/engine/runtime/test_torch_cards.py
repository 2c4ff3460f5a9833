"""Which cards a torch can compute on, and which of them a run takes that names none."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
import torch

from engine.config.run_schema import RuntimeConfig
from engine.errors import ConfigError
from engine.runs.device_holder import lock_path
from engine.runtime import device, torch_cards
from engine.runtime.device import resolve_runtime
from engine.runtime.device_lock import DeviceLock
from engine.runtime.torch_cards import TorchCard, first_free, unusable
from tests.made_up_cards import WHEEL, show_cards

TESLA = TorchCard(0, "Tesla P100", (6, 0), "tesla")
H100 = TorchCard(1, "NVIDIA H100", (9, 0), "hopper")
L40 = TorchCard(2, "NVIDIA L40", (8, 9), "ada")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine with an old card and two that torch can use."""
    monkeypatch.setenv("MOCO_TUI_LOCKS", str(tmp_path))
    show_cards(monkeypatch, TESLA, H100, L40)
    monkeypatch.setattr(device, "_name", str)  # torch knows no such card
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    return monkeypatch


def hold(card: TorchCard) -> int:
    fd = os.open(lock_path(card.key), os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def chosen(name: str = "auto") -> str:
    return str(resolve_runtime(RuntimeConfig(device=name)).device)


@pytest.mark.usefixtures("machine")
def test_auto_takes_the_first_card_that_is_free_and_not_too_old() -> None:
    assert chosen() == "cuda:1"
    fd = hold(H100)
    assert chosen() == "cuda:2"
    other = hold(L40)
    assert chosen() == "cuda:1", "all are held: it waits for the first"
    os.close(fd)
    os.close(other)
    assert chosen() == "cuda:1"
    assert first_free([]) is None


def test_a_card_that_is_too_old_gets_a_sentence_and_the_cpu(machine: pytest.MonkeyPatch) -> None:
    show_cards(machine, TESLA)
    runtime = resolve_runtime(RuntimeConfig())
    assert runtime.device.type == "cpu"
    assert runtime.notice.startswith("Running on the CPU: this torch (")
    assert "built for sm_70, sm_75," in runtime.notice
    assert "cannot use cuda:0 (Tesla P100), which has compute capability 6.0;" in runtime.notice
    with pytest.raises(ConfigError, match=r"^runtime\.device is cuda:0: this torch .* use cuda:0 "):
        chosen("cuda:0")
    assert unusable(H100, WHEEL) == ""


@pytest.mark.usefixtures("machine")
def test_a_card_by_its_number_is_taken_as_named_or_refused() -> None:
    assert chosen("cuda:2") == "cuda:2"
    with pytest.raises(ConfigError, match=r"^runtime\.device is cuda:3, but there are only cuda"):
        chosen("cuda:3")


@pytest.mark.usefixtures("machine")
def test_the_lock_is_taken_with_the_choice() -> None:
    keys = [card.key for card in torch_cards.usable_cards()]
    first, second, third = DeviceLock(), DeviceLock(), DeviceLock()
    assert first.take_first(keys) == H100.key
    assert second.take_first(keys) == L40.key
    assert third.take_first(keys) == "", "both have a run"
    first.close()
    assert third.take_first(keys) == H100.key
    assert second.fd is not None
    heir = DeviceLock(os.dup(second.fd))
    assert heir.take_first(keys) == L40.key, "who takes a run over stays on its card"
    for lock in (second, third, heir):
        lock.close()


def test_shared_cards_are_not_locked(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("MOCO_TUI_SHARE_DEVICE", "1")
    assert DeviceLock().take_first([H100.key]) == ""
