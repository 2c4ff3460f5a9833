"""What has to be the same on all ranks of a run, and what is said where it is not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import torch

from engine.errors import ConfigError


def versions_of(device: torch.device) -> dict[str, str]:
    """What has to be the same for all ranks to keep the same weights, in words."""
    try:
        version = metadata.version("moco-tui")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    name = f"the device {device.type}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    generator = torch.Generator(device).manual_seed(0)
    draws = torch.rand(1024, 64, generator=generator, device=device).cpu().numpy().tobytes()
    return {
        "moco-tui": f"moco-tui {version}",
        "torch": f"torch {torch.__version__}",
        "device": name,
        "instructions": f"the instructions {torch.backends.cpu.get_cpu_capability()}",
        # A card draws otherwise than one with another number of processors.
        "draws": f"the random numbers {hashlib.blake2b(draws, digest_size=4).hexdigest()}",
    }


def compare(entries: Sequence[Mapping[str, Any]], own: int) -> None:
    """Refuses ranks that differ, or one that cannot train.

    Raises:
        ConfigError: naming the rank and what it has.
    """
    for rank, entry in enumerate(entries):
        if entry["error"]:
            where = "" if rank == own else f"Rank {rank} on {entry['host']}: "
            raise ConfigError(f"{where}{entry['error']}")
    first = entries[0]["facts"]
    for rank, entry in enumerate(entries):
        for name in first:
            if entry["facts"].get(name) != first[name]:
                raise ConfigError(
                    f"Rank {rank} on {entry['host']} has {entry['facts'].get(name, 'no ' + name)}, "
                    f"and rank 0 on {entries[0]['host']} has {first[name]}; all ranks of a run "
                    "need the same."
                )
