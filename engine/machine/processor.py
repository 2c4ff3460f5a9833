"""The model of this machine's processor, and the instructions that matter here."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

# What decides how fast float32 and bfloat16 are computed, on x86 and on ARM.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "bf16", "sve")
_CPUINFO = Path("/proc/cpuinfo")


def processor(cpuinfo: Path = _CPUINFO) -> tuple[str, list[str]]:
    """The model for people, and which instructions it has of those that matter.

    On Linux ``platform.processor`` knows the architecture at best; ``/proc`` names the model, and
    the instructions as "flags" on x86, as "Features" on ARM.

    Args:
        cpuinfo: the file.
    """
    model, flags = platform.processor() or platform.machine(), set[str]()
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, text = line.partition(":")
            if key.strip() == "model name":
                model = text.strip()
            elif key.strip() in ("flags", "Features"):
                flags |= set(text.split())
                break  # the other cores say the same
    return model, [flag for flag in _FLAGS if flag in flags]
