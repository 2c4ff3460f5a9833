"""The CUDA cards that torch sees, and whether this torch was built for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from engine.config.phrases import listed
from engine.machine.card_builds import is_built_for, no_code_for
from engine.runs.device_holder import holder_of

NO_CARD = "there is no card here that torch can use"


class TorchCard(NamedTuple):
    """A card under the number that CUDA gives it in this process.

    Attributes:
        number: that number, from 0.
        name: of its model.
        capability: major and minor compute capability.
        uuid: the same in every process; empty where the driver does not tell.
    """

    number: int
    name: str
    capability: tuple[int, int]
    uuid: str

    @property
    def device(self) -> str:
        """Its name as a setting: ``cuda:0``."""
        return f"cuda:{self.number}"

    @property
    def key(self) -> str:
        """Of its lock, see ``device_lock.device_key``."""
        return f"cuda-{self.uuid}"


def torch_cards() -> tuple[TorchCard, ...]:
    """The cards that torch sees, in the order of their numbers, also those it is too new for."""
    if not torch.cuda.is_available():
        return ()
    found = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        capability = (int(about.major), int(about.minor))
        found.append(TorchCard(index, about.name, capability, str(getattr(about, "uuid", ""))))
    return tuple(found)


def architectures() -> tuple[str, ...]:
    """What this torch was built for: ``sm_90`` is machine code, ``compute_90`` is PTX."""
    return tuple(torch.cuda.get_arch_list())


def unusable(card: TorchCard, built: Sequence[str]) -> str:
    """Why torch cannot compute on a card, as a sentence; empty where it can."""
    if is_built_for(card.capability, built):
        return ""
    name = f"{card.device} ({card.name})"
    return no_code_for(name, card.capability, str(torch.__version__), built)


def usable_cards() -> tuple[TorchCard, ...]:
    """The cards that this torch can compute on."""
    built = architectures()
    return tuple(card for card in torch_cards() if not unusable(card, built))


def why_not(device: str) -> str:
    """Why torch cannot compute on a card, to follow upon a comma; empty where it can.

    Args:
        device: ``cuda:N``.
    """
    cards, built = torch_cards(), architectures()
    why = {card.device: unusable(card, built) for card in cards}
    if device in why:
        return why[device].removesuffix(".")
    usable = [name for name, reason in why.items() if not reason]
    if usable:
        return f"torch can use only {listed(usable)} here"
    return NO_CARD


def first_free(cards: Sequence[TorchCard]) -> TorchCard | None:
    """The first card whose lock nobody holds; the first of all where every one is held."""
    free = (card for card in cards if not holder_of(card.key))
    return next(free, cards[0] if cards else None)
