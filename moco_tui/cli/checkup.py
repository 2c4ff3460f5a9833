"""The report on this machine and installation: every section, and what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moco_tui.cli.folder_facts import folder, runs_held
from moco_tui.cli.logout_facts import logout
from moco_tui.cli.machine_facts import compute_device, cpu, nvidia, system, terminal, versions


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
        "runs folder": folder(runs, problems, write=write) | runs_held(runs, problems),
        "data folder": folder(data, problems, write=write),
        "logout": logout(problems),
        "problems": problems,
    }
