"""``card/kernels.py`` also runs on a CPU, so that it still works where there is a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.kernels.choices import CHOICES
from engine.kernels.operations import HAS_TRITON

from .card import kernels

ROOT = Path(__file__).parents[2]


def test_every_kernel_is_in_a_case_and_every_case_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.random.fork_rng():
        assert kernels.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    found = list(kernels.cases(quick=True))
    assert {name for case in found for name in case.kernels} == set(CHOICES)
    rows = json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["shape"]) for row in rows] == [
        (case.name, case.shape) for case in found
    ]
    shown = capsys.readouterr().out
    for row in rows:
        assert row["ours"] > 0
        assert row["copied"] > 0
        assert row["better"] == []
        assert f"{row['name']:32} {row['shape']}" in shown


@pytest.mark.skipif(not HAS_TRITON, reason="needs triton")
def test_the_kernels_themselves_are_launched_with_other_tiles(tmp_path: Path) -> None:
    """In Triton's interpreter; the time is up after a few."""
    script = ROOT / "tests" / "benchmarks" / "card" / "kernels.py"
    words = [str(script), "2", "--device", "cpu", "--quick", "--tiles", "--only", "stem"]
    done = subprocess.run(
        [sys.executable, *words, "--out", str(tmp_path)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "only 0-dimensional arrays can be converted" in done.stdout + done.stderr:
        pytest.skip("Triton's interpreter, up to 3.6, does not work with NumPy from 2.4 on")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "failed" not in done.stdout
    assert json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8"))[0]["ours"] > 0


def test_a_case_that_fails_is_named_and_the_others_are_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: torch.device) -> tuple[kernels.Call, None]:
        raise RuntimeError("no kernel image")

    def whole(device: torch.device) -> tuple[kernels.Call, kernels.Call]:
        x = torch.ones(4, device=device)
        return lambda: x + 1, lambda: x + 2

    made = [
        kernels.Case("one", "4", 16, ("apply",), broken),
        kernels.Case("other", "4", 16, ("apply",), whole),
    ]
    monkeypatch.setattr(kernels, "cases", lambda _: iter(made))
    assert kernels.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 1
    assert "one 4 FAILED: RuntimeError: no kernel image" in capsys.readouterr().out
    [row] = json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8"))
    assert row["name"] == "other"
    assert row["torchs"] > 0


def test_a_better_choice_is_shown_and_the_table_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(CHOICES)

    def spent(*_: object) -> float:
        choice = CHOICES["apply"]
        return 5.0 if choice == before["apply"] else 1.0 + choice.warps

    monkeypatch.setattr(kernels, "spent_on", spent)
    case = kernels.Case("apply", "4", 16, ("apply",), lambda _: (lambda: None, None))
    row = kernels.timed(case, torch.device("cpu"), 1.0, tiles=True, until=float("inf"))
    assert before == CHOICES
    assert row.ours == 5.0
    assert row.better == []  # four warps are no better, and eight are worse
    monkeypatch.setitem(CHOICES, "apply", before["apply"]._replace(warps=16))
    monkeypatch.setattr(kernels, "spent_on", lambda *_: float(CHOICES["apply"].warps))
    row = kernels.timed(case, torch.device("cpu"), 1.0, tiles=True, until=float("inf"))
    assert [time for time, _ in row.better] == [4.0] * 3
    assert "us by KernelChoice(tile=" in kernels.show(row)
    assert all(CHOICES["apply"] != choice for _, choice in row.better)


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    words = ["-1", "--device", "cpu", "--quick", "--out", str(tmp_path)]
    assert kernels.main(words) == 0
    assert json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8")) == []
