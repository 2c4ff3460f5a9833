"""Why torch cannot use a card, and which build of torch would.

Either this torch sees no card at all, or it sees one that it has no code for.

The least driver of each CUDA generation is that of NVIDIA's table of minor version compatibility
(https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html): a newer driver
runs what was built for an older CUDA, an older one nothing of a newer generation. The builds are
those that torch 2.11 to 2.14 are published in on https://download.pytorch.org/whl; that for
CUDA 12 ends with 2.14 (https://github.com/pytorch/pytorch/issues/190385).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class TorchBuild(NamedTuple):
    """A published build of torch.

    Attributes:
        folder: its place below download.pytorch.org/whl.
        versions: what pip is asked for, in the range that this program takes.
    """

    folder: str
    versions: str


LEAST_DRIVER: Mapping[int, int] = {13: 580, 12: 525, 11: 450}
"""The first part of the oldest driver that runs programs built for a CUDA, by the latter's."""
BUILDS: Mapping[int, TorchBuild] = {
    13: TorchBuild("cu130", "torch"),
    12: TorchBuild("cu126", "'torch<2.15'"),
}
"""By generation of CUDA, the newest first."""
_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)", re.ASCII)


def is_built_for(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether a torch has code that a card can run.

    Machine code runs on its own and on later cards of the same major capability, PTX on all later
    ones. Code for ``sm_90a`` runs on that one alone, for ``sm_100f`` on its family, which has one
    major number (CUDA's programming guide, "Compute capabilities"; nvcc's manual, "Virtual
    architecture feature list").

    Args:
        capability: of the card, major and minor.
        built: what the torch was built for: ``sm_90`` is machine code, ``compute_90`` PTX. Of a
            list without any of NVIDIA's (ROCm names ``gfx90a``) nothing is known: then True.
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


def no_code_for(
    card: str, capability: tuple[int, int], torch_version: str, built: Sequence[str]
) -> str:
    """A sentence: that a card cannot be used by a torch that sees it, and what would use it.

    Args:
        card: its name.
        capability: of it, major and minor.
        torch_version: that of the torch at hand.
        built: see ``is_built_for``.
    """
    major, minor = capability
    return (
        f"{_cannot_use(card, torch_version, ', '.join(built))}, which has compute capability "
        f"{major}.{minor}; a torch that was built for that is needed."
    )


def not_seen(card: str, torch_version: str, built_for: str | None, driver: str) -> str:
    """A sentence or two: that torch sees no card, the cause where it is known, and what helps.

    Args:
        card: the name of one that the driver lists, as NVML tells it.
        torch_version: that of the torch at hand.
        built_for: the CUDA that it was built for, such as ``"13.0"``; None: without CUDA.
        driver: the version of the driver, such as ``"535.104.05"``; empty where it is unknown.
    """
    cuda_of_it = f"CUDA {built_for}" if built_for else ""
    said = f"{_cannot_use(f'the {card} that is here', torch_version, cuda_of_it)}."
    has, cuda = _first(driver), _first(built_for or "")
    least = LEAST_DRIVER.get(cuda or 0)
    if has is None or (built_for and (least is None or has >= least)):
        return said  # the cause is another one, or not known
    fitting = next((build for known, build in BUILDS.items() if has >= LEAST_DRIVER[known]), None)
    oldest = LEAST_DRIVER[min(BUILDS)]
    if built_for:
        said += f" Its driver is {driver}, and CUDA {cuda} needs {least} or newer."
    if fitting is None:
        return f"{said} A driver of {oldest} or newer would help."
    advice = "Update the driver, or take another build" if built_for else "Take a build for CUDA"
    return (
        f"{said} {advice}: pip uninstall torch torchvision, then pip install {fitting.versions} "
        f"torchvision --index-url https://download.pytorch.org/whl/{fitting.folder}"
    )


def _cannot_use(card: str, torch_version: str, built_for: str) -> str:
    """What both have to say; it can follow upon other words."""
    built = f"built for {built_for}" if built_for else "built without CUDA"
    return f"this torch ({torch_version}, {built}) cannot use {card}"


def _first(version: str) -> int | None:
    number = version.partition(".")[0]
    return int(number) if number.isdecimal() else None
