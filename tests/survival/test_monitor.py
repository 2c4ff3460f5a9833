"""The small form of ``monitor.py``: a monitor that stays open does not grow."""

from __future__ import annotations

from pathlib import Path

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import create

from . import monitor


async def test_a_monitor_that_stays_open_does_not_grow(tmp_path: Path) -> None:
    run = create(tmp_path / "runs", "pretrain", resolve(PretrainConfig, preset_name="quick"))
    grown = await monitor.watch(run, looks=240, every=1, rate=1, warm_up=80, say=print)
    # A widget, timer, message or callback that every look leaves behind would count once a look.
    assert not grown.left(0.5)
    assert grown.after < grown.before + 6 * 2**20, grown
