"""The first screen does not wait for torch, numpy or anything it does not show."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..environment import with_packages

SLOW = ("torch", "torchvision", "numpy", "PIL", "plotext", "textual_plotext", "psutil", "pynvml")


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["moco_tui.app"], SLOW),
        (
            ["moco_tui.app", "moco_tui.screens.runs_screen"],
            (
                *SLOW,
                "statistics",
                "engine.study",
                "moco_tui.charts",
                "moco_tui.present.run_preview",
            ),
        ),
        (
            ["moco_tui.app", "moco_tui.screens.monitor_screen", "moco_tui.screens.compare_screen"],
            ("torch", "torchvision", "numpy", "PIL"),
        ),
        (
            [
                "moco_tui.screens.new_run_screen",
                "moco_tui.screens.help_screen",
                "moco_tui.training.demo_runs",
            ],
            ("torch", "torchvision", "numpy", "PIL"),
        ),
    ],
    ids=["app", "first screen", "curves", "form"],
)
def test_what_a_screen_does_not_import(modules: list[str], absent: tuple[str, ...]) -> None:
    code = (
        f"import sys, {', '.join(modules)}\n"
        f"print(*[name for name in {absent!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=with_packages(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
