"""``card/views.py`` also runs on a CPU, so that it still works when there is a card to measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from .card import views


def test_every_case_is_timed_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "TURNS", 2)
    assert views.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "views.json").read_text(encoding="utf-8"))
    names = [case.name for case in views.cases(quick=True, cuda=False)]
    assert [row["name"] for row in rows] == names
    shown = capsys.readouterr().out
    for row in rows:
        assert row["name"] in shown
        assert row["microseconds"] > 0
        assert row["kernels"] > 0
        rounded = "float32" not in row["name"] and "written" not in row["name"]
        assert row["share"] < (2.0**-8 if rounded else 1e-6)
    # 4 images of bytes, 38 numbers a view, and 8 views of 3 channels in bfloat16
    assert rows[0]["megabytes"] == pytest.approx((4 * 3 * 64 + 8 * 38 * 4 + 8 * 3 * 64 * 2) / 1e6)


def test_a_case_that_fails_is_named_and_the_others_are_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(case: views.Case, _: torch.device) -> views.Row:
        if case.way == "kernel":
            raise RuntimeError("no kernel image")
        return views.Row(case.name, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)

    monkeypatch.setattr(views, "measure", measure)
    assert views.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 1
    assert "FAILED: RuntimeError: no kernel image" in capsys.readouterr().out
    rows = json.loads((tmp_path / "views.json").read_text(encoding="utf-8"))
    assert [row["name"].endswith("as written") for row in rows] == [True, True]


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    assert views.main(["-1", "--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "views.json").read_text(encoding="utf-8")) == []
