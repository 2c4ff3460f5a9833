"""The CUDA cards that torch sees, and whether this torch was built for each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch

from engine.runs.device_holder import holder_of

_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)", re.ASCII)


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


def is_built_for(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether a torch has code that a card can run.

    Machine code runs on its own and on later cards of the same major capability, PTX on all later
    ones. Code for ``sm_90a`` runs on that one alone, for ``sm_100f`` on its family, which has one
    major number (CUDA's programming guide, "Compute capabilities"; nvcc's manual, "Virtual
    architecture feature list").

    Args:
        capability: of the card, major and minor.
        built: from ``architectures``. Of a list without any of NVIDIA's (ROCm names ``gfx90a``)
            nothing is known: then True.
    """
    known = [match for text in built if (match := _ARCHITECTURE.fullmatch(text)) is not None]
    for match in known:
        kind, suffix = match[1], match[4]
        wanted = (int(match[2]), int(match[3]))
        same_major = capability[0] == wanted[0]
        if suffix == "a":
            fits = capability == wanted
        elif kind == "sm" or suffix == "f":
            fits = same_major and capability >= wanted
        else:
            fits = capability >= wanted
        if fits:
            return True
    return not known


def unusable(card: TorchCard, built: Sequence[str]) -> str:
    """Why torch cannot compute on a card, in a sentence; empty where it can."""
    if is_built_for(card.capability, built):
        return ""
    major, minor = card.capability
    return (
        f"{card.device} ({card.name}) has compute capability {major}.{minor}, and this torch "
        f"({torch.__version__}) was built for {', '.join(built)}; a torch that was built for the "
        "card is needed."
    )


def usable_cards() -> tuple[TorchCard, ...]:
    """The cards that this torch can compute on."""
    built = architectures()
    return tuple(card for card in torch_cards() if not unusable(card, built))


def first_free(cards: Sequence[TorchCard]) -> TorchCard | None:
    """The first card whose lock nobody holds; the first of all where every one is held."""
    free = (card for card in cards if not holder_of(card.key))
    return next(free, cards[0] if cards else None)
