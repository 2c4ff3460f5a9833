"""What this machine and installation are: versions, processor, device, terminal."""

from __future__ import annotations

import contextlib
import locale
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from engine.machine.installation import program_version
from engine.machine.processor import processor
from engine.runs.device_holder import holder_of
from moco_tui.present import fmt

PACKAGES = (
    "moco-tui",
    "torch",
    "torchvision",
    "textual",
    "textual-plotext",
    "plotext",
    "tinydb",
    "msgspec",
    "click",
    "psutil",
    "nvidia-ml-py",
    "tensorboard",
)
"""Distributions whose versions decide what works, the optional ones included."""


def versions() -> dict[str, Any]:
    """Python and the packages."""
    found: dict[str, Any] = {"python": platform.python_version(), "executable": sys.executable}
    for name in PACKAGES:
        found[name] = "not installed"
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    # Of a checkout that of its files, whatever was installed of it before.
    return found | {"moco-tui": program_version()}


def system() -> dict[str, Any]:
    """Operating system and memory."""
    found: dict[str, Any] = {"system": platform.platform()}
    with contextlib.suppress(Exception):
        import psutil

        memory = psutil.virtual_memory()
        found["memory"] = fmt.size(memory.total)
        found["memory free"] = fmt.size(memory.available)
    return found


def cpu() -> dict[str, Any]:
    """Cores this process may use and the instructions that matter here."""
    model, flags = processor()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "model": model,
        "cores": os.cpu_count(),
        "cores usable": usable,
        "flags": flags,
    }


def compute_device(asked: str | None, problems: list[str]) -> dict[str, Any]:
    """Where a run would compute, as the engine decides it."""
    try:
        import torch

        from engine.config.resolve import build
        from engine.config.run_schema import RuntimeConfig
        from engine.runtime.device import resolve_runtime
        from engine.runtime.torch_cards import architectures, torch_cards, unusable
    except Exception as error:  # a broken installation is what this command is for
        problems.append(f"torch cannot be imported: {type(error).__name__}: {error}")
        return {"torch": "cannot be imported"}
    found: dict[str, Any] = {
        "torch": str(torch.__version__),
        "built for CUDA": torch.version.cuda or "no",
        "CUDA usable": torch.cuda.is_available(),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
    }
    try:
        import torchvision

        found["torchvision"] = torchvision.__version__
    except Exception as error:
        problems.append(f"torchvision cannot be imported: {type(error).__name__}: {error}")
    built = architectures()
    for card in torch_cards():
        why = unusable(card, built)
        problems += [why] if why else []
        holder = holder_of(card.key)
        use = "too old for this torch" if why else f"{holder} trains on it" if holder else "free"
        found[card.device] = (
            f"{card.name}, capability {card.capability[0]}.{card.capability[1]}, {use}"
        )
    try:
        runtime = resolve_runtime(build(RuntimeConfig, {"device": asked} if asked else {}))
    except Exception as error:
        problems.append(str(error))
        return found
    if runtime.notice and not any(why in runtime.notice for why in problems):
        problems.append(runtime.notice)
    return found | {
        "device": runtime.name,
        "precision": "bfloat16" if runtime.bfloat16 else "float32",
        "threads": runtime.threads,
        "kernels in C": runtime.kernels,
    }


def nvidia() -> dict[str, Any]:
    """The driver and its cards, as NVML tells them, whether or not torch can use them."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:
        return {"nvml": f"not available ({type(error).__name__})"}
    try:
        found: dict[str, Any] = {"nvml": "available"}
        with contextlib.suppress(Exception):
            found["driver"] = str(pynvml.nvmlSystemGetDriverVersion())
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
            found[f"card {index}"] = f"{pynvml.nvmlDeviceGetName(handle)}, {fmt.size(total)}"
        return found
    finally:
        with contextlib.suppress(Exception):
            pynvml.nvmlShutdown()


def terminal(problems: list[str]) -> dict[str, Any]:
    """What the terminal says of itself."""
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    size = shutil.get_terminal_size()
    if tty:  # as the app takes it: COLUMNS and LINES may be those of a window before
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(sys.stdout.fileno())
    encoding = (sys.stdout.encoding or "").lower()
    names = ("TERM", "COLORTERM", "TERM_PROGRAM", "NO_COLOR", "LANG", "LC_ALL")
    found: dict[str, Any] = {name: os.environ.get(name, "") for name in names}
    unicode = "utf" in encoding
    if tty and not unicode:
        problems.append(f"The terminal's encoding is {encoding}, so drawings use ASCII only.")
    if tty and (size.columns < 80 or size.lines < 24):
        problems.append(
            f"The terminal has {size.columns}x{size.lines} characters; the app wants 80x24."
        )
    return found | {
        "terminal": tty,
        "size": f"{size.columns}x{size.lines}",
        "encoding": f"{encoding} (locale {locale.getpreferredencoding(False)})",
        "unicode": unicode,
        "over ssh": "SSH_CONNECTION" in os.environ,
        "multiplexer": "tmux" if "TMUX" in os.environ else "screen" if "STY" in os.environ else "",
    }
