"""While a run is trained in the process of the screens, a thread that draws gives way soon."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import create
from moco_tui.training.runner import Runner
from moco_tui.training.turns import SECONDS, short_turns


@pytest.mark.parametrize("fails", [False, True])
def test_turns_are_short_during_a_run_and_as_before_after_it(tmp_path: Path, fails: bool) -> None:
    before, seen = sys.getswitchinterval(), []

    def execute(*_args: Any, **_more: Any) -> None:
        seen.append(sys.getswitchinterval())
        if fails:
            raise RuntimeError("as a trainer may")

    runner = Runner(tmp_path, execute=execute)
    for _ in range(2):
        runner.start(create(tmp_path, "pretrain", resolve(PretrainConfig)))
    assert runner.join(60)
    assert seen == pytest.approx([SECONDS, SECONDS], rel=0.01)
    assert sys.getswitchinterval() == before


def test_turns_that_are_shorter_stay() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SECONDS / 10)
    try:
        with short_turns():
            assert sys.getswitchinterval() == pytest.approx(SECONDS / 10, rel=0.05)
    finally:
        sys.setswitchinterval(before)
