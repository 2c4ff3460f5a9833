"""What a run is computed with: program, the user's own code, packages, machine, environment.

Gathered once a process and code, in a thread beside the training (``provenance_notes``).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.jobs.checkout import Checkout, checkout_of, patch_name
from engine.machine.cpu_count import available_cpus
from engine.machine.installation import built_from, distributions, program_version
from engine.machine.processor import processor
from engine.runs.command_line import command, is_secret, without_passwords
from engine.runs.heartbeat import host_name
from engine.text import clean_text

PACKAGES = (
    "torch", "torchvision", "triton", "numpy", "pillow", "msgspec", "tinydb", "psutil",
    "nvidia-ml-py", "click", "rich", "textual", "textual-plotext", "plotext", "tqdm",
)  # fmt: skip
"""Distributions whose versions stand in the record; all others stand in a file beside it."""
VARIABLES = frozenset({
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY",
    "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION", "SLURM_CPUS_PER_TASK", "SLURM_PROCID",
})  # fmt: skip
"""Environment variables that are recorded, beside those of ``FAMILIES``; no other ever is."""
FAMILIES = ("MKL_", "ONEDNN_", "MOCO_TUI_", "PYTORCH_", "TORCH_", "NVIDIA_")
NO_COMMIT = "The commit is not known: the program was installed without a repository."
"""Note of an installation from files that belong to no repository."""
_HERE = Path(__file__).resolve()
_NOT_SETTINGS = frozenset({"MOCO_TUI_COMMAND"})  # recorded as the command
_VALUE_LIMIT = 200


@dataclass(frozen=True)
class Surroundings:
    """What ``engine.runs.provenance`` keeps.

    Attributes:
        values: by dotted key.
        files: to lie in the run folder, by name.
    """

    values: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


def gather(card: Mapping[str, Any], own_code: Iterable[str] = ()) -> Surroundings:
    """Everything that is known of what a run is computed with.

    Args:
        card: see ``card_facts``.
        own_code: paths ``package.module:Name`` that its configuration names, imported already.
    """
    files: dict[str, bytes] = {}
    values: dict[str, Any] = {"command": command(), **program_state(files)}
    for module in dict.fromkeys(path.partition(":")[0] for path in own_code):
        values |= _own_module(module, files)
    installed = distributions()
    text = "".join(f"{name}=={version}\n" for name, version in installed.items()).encode()
    name = f"packages-{hashlib.sha256(text).hexdigest()[:12]}.txt"
    files[name] = text
    values["packages.python"] = platform.python_version()
    values |= {f"packages.{n}": installed[n] for n in PACKAGES if n in installed}
    values["packages.all"] = name
    values |= {f"machine.{key}": value for key, value in _machine(card).items()}
    values |= {f"environment.{key}": text for key, text in variables(os.environ).items()}
    return Surroundings(values, files)


def program_state(files: dict[str, bytes] | None = None) -> dict[str, Any]:
    """Version, commit and changes of this program: ``program.version`` and so on.

    Args:
        files: receives the patch, if there is one.
    """
    values: dict[str, Any] = {"program.version": program_version()}
    found = checkout_of(_HERE)
    if found is None:
        built = built_from()
        if not built.commit:
            return values | {"program.note": NO_COMMIT}
        found = Checkout(built.commit, "", built.changed, built.untracked)
    return values | _about("program", found, {} if files is None else files)


def _about(key: str, found: Checkout, files: dict[str, bytes]) -> dict[str, Any]:
    """A checkout as values; its patch goes into ``files``."""
    facts: dict[str, Any] = {
        "commit": found.commit,
        "branch": clean_text(found.branch),
        "changed": found.changed,
        "untracked": found.untracked,
        "note": found.note,
    }
    if found.patch:
        facts["patch"] = patch_name(found.patch)
        files[facts["patch"]] = found.patch
    kept = {name: value for name, value in facts.items() if value not in ("", None)}
    return {f"{key}.{name}": value for name, value in kept.items()}


def _own_module(module: str, files: dict[str, bytes]) -> dict[str, Any]:
    """The state of a module of the user's own, and the digest of its file."""
    key = f"code.{module}"
    place = getattr(sys.modules.get(module), "__file__", None)
    if not place:
        return {f"{key}.note": "It has no file."}
    file = Path(place).resolve()
    values: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        values[f"{key}.digest"] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    found = checkout_of(file)
    return values if found is None else values | _about(key, found, files)


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that change what or how is computed, cleaned and shortened, by name.

    Only those named here, and of these none whose name says that it is a key or a password.
    """
    names = [
        name
        for name in sorted(environment)
        if (name in VARIABLES or name.startswith(FAMILIES))
        and name not in _NOT_SETTINGS
        and not is_secret(name)
        and name.isascii()
        and name.isprintable()
    ]
    return {
        name: clean_text(without_passwords(environment[name]), _VALUE_LIMIT)
        for name in names
        if len(name) <= _VALUE_LIMIT
    }


def card_facts(device: torch.device) -> dict[str, Any]:
    """The card that a run computes on, and the libraries for it; empty for a CPU.

    Called in the thread that trains: no other may call CUDA while a graph is recorded.
    """
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "gpu_memory": properties.total_memory,
        "cuda": torch.version.cuda or "",
        "cudnn": str(torch.backends.cudnn.version() or ""),  # type: ignore[no-untyped-call]
    }


def _machine(card: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {"host": host_name(), **_processor_and_memory(), **card}
    if card:
        facts["driver"] = _driver()
    return {key: value for key, value in facts.items() if value not in ("", None)}


@functools.cache
def _processor_and_memory() -> dict[str, Any]:
    memory = None
    with contextlib.suppress(Exception):  # psutil knows few systems
        import psutil

        memory = psutil.virtual_memory().total
    return {
        "system": platform.platform(),
        "cpu": clean_text(processor()[0]),
        "cores": os.cpu_count(),
        "cores_usable": available_cpus(),
        "memory": memory,
    }


@functools.cache
def _driver() -> str:
    """Version of the NVIDIA driver; empty where it does not say."""
    with contextlib.suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        try:
            return str(pynvml.nvmlSystemGetDriverVersion())
        finally:
            pynvml.nvmlShutdown()
    return ""
