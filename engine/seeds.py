"""Seeds for the many independent streams of random numbers in a run."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**63) for one stream of random numbers.

    Streams with other names, and the same streams of other seeds, are independent. The value is
    the same in every process and version: resumed runs and old checkpoints depend on it.

    Args:
        seed: ``runtime.seed`` of the run, or another seed that a person chose.
        names: what the stream is for; part of its identity, in this order.
    """
    # A hash, since seed + offset would give run 0 the streams of run 1; blake2b, since ``hash`` of
    # a text differs from process to process (PYTHONHASHSEED).
    text = "/".join(str(part) for part in (seed, *names))
    # 63 bits: a non-negative int64.
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator of its own, seeded with ``stream_seed``.

    A GPU's generator gives other numbers for the same seed: what is drawn with this one (subsets,
    orders of images) is the same on every device.
    """
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
    # Without ``devices`` fork_rng saves the generators of all cards, and warns of several.
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # Not torch.manual_seed: it seeds every card, also those that fork_rng does not restore.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
