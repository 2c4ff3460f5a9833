"""What the dry run says of memory and of the online probe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.jobs.estimate import knn_passes, peak_memory
from moco_tui.widgets.estimate_panel import estimate_text

from ...environment import with_packages

BALLAST = 1_500_000_000
_HELD = f"ballast = bytearray(b'1') * {BALLAST}"
_SAY = """
import os, psutil
from engine.jobs.estimate import peak_memory
print(psutil.Process().memory_info().rss, peak_memory(os.getpid()))
"""


def measured(code: str) -> tuple[int, int]:
    """Memory that a process of its own holds after some code, and the most that it held."""
    held = f"{_HELD}\n{code}" if code else ""
    command = [sys.executable, "-c", held + _SAY]
    done = subprocess.run(command, env=with_packages(), capture_output=True, text=True, check=True)
    now, peak = map(int, done.stdout.split())
    return now, peak


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_process_does_not_count_what_its_parent_held() -> None:
    """As an estimate that is started from an app in which something large was trained."""
    ballast = bytearray(b"\1") * BALLAST
    held, peak = measured("")
    assert held <= peak < len(ballast)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_the_peak_outlives_what_was_given_back() -> None:
    held, peak = measured("del ballast")
    assert peak > BALLAST > held


def test_a_process_that_is_not_there_is_not_known() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert peak_memory(gone.pid) == 0


CONFIG = """
[data]
source = "shapes"
limit = 64
[optim]
batch_size = 16
[moco]
queue_size = 64
[model]
bn_splits = 2
[monitor]
online_probe = {}
"""


@pytest.mark.parametrize("probed", [True, False])
def test_the_share_of_the_online_probe_is_told(probed: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "moco_tui", "_estimate", "--steps", "2"]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path)],
        input=CONFIG.format(str(probed).lower()),
        env=with_packages(),
        capture_output=True,
        text=True,
        check=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout)
    share = facts["online_probe_share"]
    assert (0.0 < share < 0.5) if probed else share == 0.0
    assert facts["seconds_per_epoch"] == pytest.approx(4 * facts["seconds_per_step"])
    assert ("% of it the online probe" in estimate_text(facts)) == probed


def test_the_line_of_the_online_probe_is_a_share_of_the_time() -> None:
    facts = {
        "seconds_per_step": 0.2,
        "online_probe_share": 0.0125,
        "steps_per_epoch": 10,
        "seconds_per_epoch": 2.0,
        "seconds_total": 20.0,
        "seconds_run": 20.0,
        "seconds_knn": 0.0,
        "knn_passes": 0,
        "seconds_checkpoint": 0.0,
        "checkpoints": 0,
        "disk_bytes": 1 << 20,
        "memory_bytes": 1 << 30,
        "device": "cpu",
        "precision": "float32",
        "fused_later": False,
    }
    lines = estimate_text(facts).splitlines()
    assert lines[2].strip() == "1.2 % of it the online probe"
    assert "online" not in estimate_text(facts | {"online_probe_share": 0.0})
    assert "fused" not in estimate_text(facts)
    assert "less once its kernels are ready" in estimate_text(facts | {"fused_later": True})


@pytest.mark.parametrize(
    ("epochs", "stop_epoch", "every", "passes"),
    [(4, 0, 2, 3), (5, 0, 2, 4), (5, 3, 5, 2), (5, 0, 9, 2), (5, 0, 1, 6), (5, 0, 0, 0)],
)
def test_knn_is_taken_of_the_untrained_every_so_often_and_at_the_end(
    epochs: int, stop_epoch: int, every: int, passes: int
) -> None:
    """For example after epochs 2, 4 and 5 of five; beside it that of the untrained encoder."""
    sets = (f"epochs={epochs}", f"stop_epoch={stop_epoch}", f"knn_every={every}")
    assert knn_passes(resolve(PretrainConfig, sets=sets)) == passes
