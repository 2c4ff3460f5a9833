"""Cards for a machine that has none, as torch would list them."""

from __future__ import annotations

import pytest

from engine.runtime import device, torch_cards
from engine.runtime.torch_cards import TorchCard

# As torch 2.9 for CUDA 12.8 lists them.
WHEEL = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")


def made_up(number: int, capability: tuple[int, int] = (9, 0)) -> TorchCard:
    """A card; one of a capability below 7.0 is too old for ``WHEEL``."""
    name = "NVIDIA H100" if capability == (9, 0) else "Tesla P100"
    return TorchCard(number, name, capability, f"card-{number}")


def show_cards(monkeypatch: pytest.MonkeyPatch, *cards: TorchCard) -> None:
    """Has torch see these, and say that it is built as ``WHEEL``."""
    for module in (device, torch_cards):
        monkeypatch.setattr(module, "torch_cards", lambda: cards)
        monkeypatch.setattr(module, "architectures", lambda: WHEEL)
