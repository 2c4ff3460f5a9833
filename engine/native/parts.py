"""A batch in parts, each on a thread of its own, that BatchNorm normalises over as a whole."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class Parts:
    """Where the threads of a batch meet, once a BatchNorm layer and direction.

    All threads must come to the same places in the same order.

    Args:
        count: parts, each of which has a thread.

    Attributes:
        sizes: images in each part; set before a pass, at least 1 each.
        seeds: of dropout, by place; set before a pass in training.
        places: how many layers have been given a place.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.sizes: Sequence[int] = ()
        self.seeds: Sequence[int] = ()
        self.places = 0
        self._barrier = threading.Barrier(count)
        self._told: dict[Hashable, list[Tensor]] = {}

    def exchange(self, place: Hashable, number: int, values: Tensor) -> Tensor:
        """What all parts tell at a place, ``(count, ...)``, once all have come.

        Args:
            place: of the layer, and the direction.
            number: of the part that tells.
            values: of the same shape and dtype in every part; not written to afterwards.

        Raises:
            threading.BrokenBarrierError: another part has failed.
        """
        # A thread that is told comes here again only after it has met the others elsewhere, and so
        # after they have read this.
        told = self._told.setdefault(place, [values] * self.count)
        told[number] = values
        self._barrier.wait()
        return torch.stack(told)

    def abort(self) -> None:
        """Tell those that wait that a part has failed."""
        self._barrier.abort()

    def reset(self) -> None:
        """Make meeting possible again, when no thread waits."""
        self._barrier.reset()


@dataclass(frozen=True)
class Seat:
    """A BatchNorm layer of one part.

    Attributes:
        parts: of the batch.
        number: of the part.
        place: of the layer, the same in every part.
    """

    parts: Parts
    number: int
    place: int

    @property
    def first(self) -> int:
        """The number in the batch of the first image of the part."""
        return sum(self.parts.sizes[: self.number])

    def exchange(self, direction: str, values: Tensor) -> Tensor:
        """See ``Parts.exchange``."""
        return self.parts.exchange((self.place, direction), self.number, values)

    def counts(self, pixels: int) -> Tensor:
        """int64 (parts,): values of a channel in each part, whose images have so many pixels."""
        return torch.tensor(self.parts.sizes, dtype=torch.int64) * pixels
