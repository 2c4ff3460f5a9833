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
from engine.runtime.torch_cards import TorchCard, first_free, is_built_for, unusable

# As torch 2.9 for CUDA 12.8 lists them.
WHEEL = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
TESLA = TorchCard(0, "Tesla P100", (6, 0), "tesla")
H100 = TorchCard(1, "NVIDIA H100", (9, 0), "hopper")
L40 = TorchCard(2, "NVIDIA L40", (8, 9), "ada")


@pytest.mark.parametrize(
    ("capability", "built", "fits"),
    [
        ((9, 0), WHEEL, True),
        ((8, 9), WHEEL, True),  # code of 8.6 runs on 8.9
        ((8, 0), ("sm_86",), False),  # but not the other way round
        ((6, 1), WHEEL, False),
        ((13, 0), WHEEL, True),  # PTX of 12.0 is compiled for it
        ((11, 0), WHEEL, False),
        ((9, 0), ("sm_90a",), True),
        ((9, 1), ("sm_90a",), False),
        ((12, 0), ("compute_90a",), False),
        ((10, 3), ("sm_100f",), True),
        ((12, 0), ("sm_100f",), False),
        ((12, 0), ("compute_90",), True),
        ((9, 0), ("gfx90a", "gfx942"), True),  # ROCm: nothing is known
        ((9, 0), (), True),
    ],
)
def test_what_runs_on_a_card(
    capability: tuple[int, int], built: tuple[str, ...], fits: bool
) -> None:
    assert is_built_for(capability, built) is fits


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine with an old card and two that torch can use."""
    monkeypatch.setenv("MOCO_TUI_LOCKS", str(tmp_path))
    show(monkeypatch, TESLA, H100, L40)
    monkeypatch.setattr(device, "_name", str)  # torch knows no such card
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    return monkeypatch


def show(monkeypatch: pytest.MonkeyPatch, *cards: TorchCard) -> None:
    for module in (device, torch_cards):
        monkeypatch.setattr(module, "torch_cards", lambda: cards)
        monkeypatch.setattr(module, "architectures", lambda: WHEEL)


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
    show(machine, TESLA)
    runtime = resolve_runtime(RuntimeConfig())
    assert runtime.device.type == "cpu"
    assert runtime.notice.startswith("Running on the CPU: cuda:0 (Tesla P100) has compute capab")
    assert "6.0, and this torch" in runtime.notice
    assert "was built for sm_70, sm_75," in runtime.notice
    with pytest.raises(ConfigError, match=r"^runtime\.device is cuda:0: cuda:0 .Tesla P100. has c"):
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
