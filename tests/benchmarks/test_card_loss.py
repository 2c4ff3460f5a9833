"""``card/loss.py`` also runs on a CPU, so that it still works when there is a card to measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .card import loss


def test_every_way_is_measured_and_is_the_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert loss.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "loss.json").read_text(encoding="utf-8"))
    found = {(row["case"], row["way"]): row for row in rows}
    shown = capsys.readouterr().out
    for way in ("torch float32", "cublas pairs", "kernels"):
        row = found["quick", way]
        assert row["us"] > 0
        assert row["limit_us"] == pytest.approx(2 * 3 * 2 * 16 * 70 * 12 / 780e12 * 1e6)
        assert row["loss_error"] < 1e-6
        assert row["gradient_error"] < 1e-5
        assert f"loss, quick, {way}: us " in shown
    for part in ("unit vectors with gradient", "order of keys", "queue", "updates"):
        assert len([case for case, _ in found if case == f"{part}, quick"]) == 2


def test_a_way_that_fails_is_named_and_the_others_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(loss, "by_cublas", fails)
    assert loss.main(["--device", "cpu", "--quick", "--out", str(tmp_path)]) == 1
    said = "loss, quick, cublas pairs FAILED: RuntimeError: no kernel image"
    assert said in capsys.readouterr().out
    ways = [row["way"] for row in json.loads((tmp_path / "loss.json").read_text(encoding="utf-8"))]
    assert "kernels" in ways
    assert "cublas pairs" not in ways


def test_nothing_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    assert loss.main(["-1", "--device", "cpu", "--quick", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "loss.json").read_text(encoding="utf-8")) == []
