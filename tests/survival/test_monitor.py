"""The small form of ``monitor.py``: a monitor that stays open does not grow."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import monitor

from engine.config import PretrainConfig
from engine.presets import resolve
from engine.runs import create


async def test_a_monitor_that_stays_open_does_not_grow(tmp_path: Path) -> None:
    run = create(tmp_path / "runs", "pretrain", resolve(PretrainConfig, preset_name="quick"))
    grown = await monitor.watch(run, 240 / 3600, 1, 80, print)
    assert grown.looks > 100
    # A widget, timer, message or callback that every look leaves behind would count once a look;
    # tuples are what the caches of the library, which are of bounded size, are made of.
    left = {name: n for name, n in grown.objects.items() if n > 0.5 * grown.looks}
    left.pop("tuple", None)
    assert not left
    assert grown.allowed, grown
