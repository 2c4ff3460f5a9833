"""Facts of this machine and installation, and what is wrong with them; changes nothing."""

from __future__ import annotations

import contextlib
import getpass
import locale
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
    "filelock",
    "psutil",
    "nvidia-ml-py",
    "tensorboard",
)
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "bf16", "sve")
_LOW_DISK = 2 << 30  # bytes: a few checkpoints of the larger model and the image cache

LOGIND_FOLDERS = tuple(
    Path(folder) for folder in ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd")
)
LOGIND_MAIN = Path("/etc/systemd/logind.conf")
LINGER = Path("/var/lib/systemd/linger")


def checkup(
    runs: Path, data: Path, device: str | None = None, *, write: bool = True
) -> dict[str, Any]:
    """Everything that a bug report needs.

    Args:
        runs: folder of the run folders.
        data: folder of the data sets.
        device: the device asked for, as ``--device`` takes it.
        write: also try whether the folders can be written and locked; leaves nothing behind.

    Returns:
        Sections of builtin values, and ``problems``: a sentence for each thing that is wrong.
    """
    problems: list[str] = []
    return {
        "versions": versions(),
        "system": system(),
        "cpu": cpu(),
        "device": compute_device(device, problems),
        "nvidia": nvidia(),
        "terminal": terminal(problems),
        "runs folder": folder(runs, problems, write=write),
        "data folder": folder(data, problems, write=write),
        "logout": logout(problems),
        "problems": problems,
    }


def versions() -> dict[str, Any]:
    """Python and the packages."""
    found: dict[str, Any] = {"python": platform.python_version(), "executable": sys.executable}
    for name in PACKAGES:
        found[name] = "not installed"
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


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
    model, flags = platform.processor() or platform.machine(), set[str]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, text = line.partition(":")
            if key.strip() == "model name":
                model = text.strip()
            elif key.strip() in ("flags", "Features"):
                flags |= set(text.split())
                break
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "model": model,
        "cores": os.cpu_count(),
        "cores usable": usable,
        "flags": [flag for flag in _CPU_FLAGS if flag in flags],
    }


def compute_device(asked: str | None, problems: list[str]) -> dict[str, Any]:
    """Where a run would compute, as the engine decides it."""
    try:
        import torch

        from engine.config.presets import build
        from engine.config.schema import RuntimeConfig
        from engine.runtime.device import resolve_runtime
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
    try:
        runtime = resolve_runtime(build(RuntimeConfig, {"device": asked} if asked else {}))
    except Exception as error:
        problems.append(str(error))
        return found
    if runtime.notice:
        problems.append(runtime.notice)
    return found | {
        "device": runtime.name,
        "precision": "bfloat16" if runtime.bfloat16 else "float32",
        "threads": runtime.threads,
    }


def nvidia() -> dict[str, Any]:
    """The driver and its cards, as NVML tells them."""
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
    size = shutil.get_terminal_size()
    encoding = (sys.stdout.encoding or "").lower()
    names = ("TERM", "COLORTERM", "TERM_PROGRAM", "NO_COLOR", "LANG", "LC_ALL")
    found: dict[str, Any] = {name: os.environ.get(name, "") for name in names}
    tty = sys.stdin.isatty() and sys.stdout.isatty()
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


def folder(path: Path, problems: list[str], *, write: bool) -> dict[str, Any]:
    """Rights, locks and space of a folder, or of the place where it would be made."""
    found: dict[str, Any] = {"path": str(path), "exists": path.is_dir()}
    here = path
    while not here.exists() and here != here.parent:
        here = here.parent
    if path.exists() and not path.is_dir():
        problems.append(f"{path} is no folder.")
        return found
    rights = os.access(here, os.W_OK | os.X_OK)
    found["writable"] = rights
    if not rights:
        problems.append(f"{here} cannot be written by {_user()}.")
    found["file system"] = _file_system(here)
    with contextlib.suppress(OSError):
        space = shutil.disk_usage(here)
        found["free"] = f"{fmt.size(space.free)} of {fmt.size(space.total)}"
        if space.free < _LOW_DISK:
            problems.append(f"{here} has only {fmt.size(space.free)} of free space.")
    if write and rights:
        found["locks"] = _locks_work(here)
        if found["locks"] is False:
            problems.append(
                f"The file system of {here} has no file locks (flock); keep runs elsewhere."
            )
    return found


def _locks_work(place: Path) -> bool | None:
    """Whether a second descriptor is refused the lock that a first one holds; None: unknown."""
    import fcntl
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as first:
            try:
                fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            with open(first.name, "rb") as second:  # noqa: PTH123 - the name is a text
                try:
                    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                return False
    except OSError:
        return None


def _file_system(path: Path) -> str | None:
    """Kind of the file system that a path lies on."""
    with contextlib.suppress(Exception):
        import psutil

        resolved = path.resolve()
        mounts = [
            (len(Path(part.mountpoint).parts), part.fstype)
            for part in psutil.disk_partitions(all=True)
            if resolved.is_relative_to(part.mountpoint)
        ]
        return str(max(mounts)[1])
    return None


def _user() -> str:
    with contextlib.suppress(Exception):
        return getpass.getuser()
    return f"user {os.getuid()}"


# --------------------------------------------------------------------------------------------
# What happens to a detached process when its user logs out


def logout(problems: list[str]) -> dict[str, Any]:
    """Whether systemd-logind kills what a user leaves running, and for whom."""
    user = _user()
    live = _asked_logind()
    known = live or _configured_logind()
    kills = known.get("KillUserProcesses", "").lower() in ("yes", "true", "1", "on")
    only = known.get("KillOnlyUsers", "").split()
    spared = known.get("KillExcludeUsers", "root").split()
    concerned = kills and user not in spared and (not only or user in only)
    if concerned:
        problems.append(
            "systemd-logind kills your processes when you log out (KillUserProcesses=yes), "
            "detached runs too; start moco-tui with: loginctl enable-linger; "
            "systemd-run --user --scope moco-tui."
        )
    return {
        "asked": "systemd-logind" if live else "logind.conf" if known else "nothing found",
        "KillUserProcesses": known.get("KillUserProcesses"),
        "kills your processes": concerned if known else None,
        "lingering": (LINGER / user).exists(),
    }


def _asked_logind() -> dict[str, str]:
    """The properties of the running systemd-logind; empty where there is none."""
    names = ("KillUserProcesses", "KillOnlyUsers", "KillExcludeUsers")
    command = ["loginctl", "show-session", *(f"--property={name}" for name in names)]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return _pairs(answer.splitlines())


def _configured_logind() -> dict[str, str]:
    """The settings in the files of systemd-logind, the later file before the earlier one."""
    # Drop-ins are read in the order of their names, whatever folder they are in, after the main
    # file; one in /etc hides one of the same name in /run, and that one in /usr (logind.conf(5)).
    main = [base / "logind.conf" for base in LOGIND_FOLDERS]
    drop_ins: dict[str, Path] = {}
    for base in (*LOGIND_FOLDERS, LOGIND_MAIN.parent):
        with contextlib.suppress(OSError):
            drop_ins |= {file.name: file for file in (base / "logind.conf.d").glob("*.conf")}
    files = [LOGIND_MAIN] if LOGIND_MAIN.exists() else [file for file in main if file.exists()][-1:]
    found: dict[str, str] = {}
    for file in [*files, *(drop_ins[name] for name in sorted(drop_ins))]:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found |= _pairs(file.read_text(encoding="utf-8").splitlines())
    return found


def _pairs(lines: Iterable[str]) -> dict[str, str]:
    """``key=value`` lines. A commented line of the main file names the compiled default."""
    found: dict[str, str] = {}
    for commented in (True, False):
        for line in lines:
            text = line.strip()
            if text.startswith("#") is commented and "=" in text:
                key, _, value = text.lstrip("#").partition("=")
                if key.strip().isalnum():
                    found[key.strip()] = value.strip()
    return found
