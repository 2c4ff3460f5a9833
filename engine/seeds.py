"""Seeds for the many independent streams of random numbers in a run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**63) for one stream of random numbers.

    Streams with other names, and the same streams of other seeds, are independent.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator of its own, seeded with ``stream_seed``."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))


@contextlib.contextmanager
def default_generator(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's default generators, seeded inside the block and as they were after it.

    Initialisation and dropout draw from them; they belong to the process, so only its training
    thread may use this.

    Args:
        seed: for the CPU's generator and the device's.
        device: the device whose generator is used beside the CPU's.
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
