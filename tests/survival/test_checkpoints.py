"""The small form of ``checkpoints.py``."""

import random
from pathlib import Path

import pytest

from . import checkpoints


@pytest.mark.parametrize("part", [checkpoints.todays, checkpoints.of_0_1])
def test_no_damaged_checkpoint_loads(part, tmp_path: Path) -> None:
    tried, survived = part(tmp_path, 60, random.Random(3))
    assert tried == survived >= 60
