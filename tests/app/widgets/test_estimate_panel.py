"""The panel of the estimate says what slowed the measurement, before and after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.app import ComposeResult

from moco_tui.terminal.themed_app import ThemedApp
from moco_tui.widgets.estimate_panel import EstimatePanel

from ..conftest import screen_text, until

FACTS = {
    "seconds_per_step": 0.1,
    "online_probe_share": 0.0,
    "steps_per_epoch": 10,
    "seconds_per_epoch": 1.0,
    "seconds_total": 60.0,
    "seconds_run": 66.0,
    "seconds_knn": 1.0,
    "knn_passes": 4,
    "seconds_checkpoint": 0.5,
    "checkpoints": 4,
    "disk_bytes": 2**22,
    "memory_bytes": 2**20,
    "device": "cpu",
    "precision": "float32",
    "fused_later": False,
}


class OnePanel(ThemedApp):
    def compose(self) -> ComposeResult:
        yield EstimatePanel(Path())


async def test_who_trains_beside_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: EstimatePanel, toml: str, words: list[str]) -> tuple[int, str, str]:
        return 0, json.dumps(FACTS), ""

    monkeypatch.setattr(EstimatePanel, "_run", run)
    app: Any = OnePanel()
    async with app.run_test() as pilot:
        panel = app.query_one(EstimatePanel)
        panel.measure("", "pretrain", Path(), "small is training on this machine.")
        await until(pilot, lambda: "an epoch" in screen_text(app))
        assert "small is training on this machine." in screen_text(app)
        panel.outdate()
        await until(pilot, lambda: "before the last change" in screen_text(app))
        assert "small is training on this machine." in screen_text(app)
        panel.measure("", "pretrain", Path())
        await until(pilot, lambda: "small" not in screen_text(app))
