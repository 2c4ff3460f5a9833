"""Why torch cannot use a card that the driver lists, and which build of torch would.

The least driver of each CUDA generation is that of NVIDIA's table of minor version compatibility
(https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html): a newer driver
runs what was built for an older CUDA, an older one nothing of a newer generation. The builds are
those that torch 2.11 to 2.14 are published in on https://download.pytorch.org/whl; that for
CUDA 12 ends with 2.14 (https://github.com/pytorch/pytorch/issues/190385).
"""

from __future__ import annotations

from collections.abc import Mapping
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


def unusable_card(card: str, torch_version: str, built_for: str | None, driver: str) -> str:
    """A sentence or two: that a card is not used, the cause where it is known, and what helps.

    Args:
        card: its name, as NVML tells it.
        torch_version: that of the torch at hand.
        built_for: the CUDA that it was built for, such as ``"13.0"``; None: without CUDA.
        driver: the version of the driver, such as ``"535.104.05"``; empty where it is unknown.
    """
    built = f"built for CUDA {built_for}" if built_for else "built without CUDA"
    said = f"There is a {card}, but this torch ({torch_version}, {built}) cannot use it: "
    said += "running on the CPU."
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


def _first(version: str) -> int | None:
    number = version.partition(".")[0]
    return int(number) if number.isdecimal() else None
