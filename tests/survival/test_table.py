"""The table adds up what the scripts print, in every form that they print it."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import table


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("BROKEN: x\n3 resumes [2 s]\ntraining: tried 12, survived 11\n", (12, 11)),
        ("tags: held: tried 320, kept 320\nnotes: held: tried 80, kept 79: x\n", (400, 399)),
        ("tag: as written\ntried 42, as written 42\n", (42, 42)),
        ("checkpoints: tried 2,000, survived 2,000\n", (2000, 2000)),
        ("kills: held: 12 kills [3 s]\ndamage: BROKEN: x [1 s]\n", (2, 1)),
        ("Traceback\n", (0, 0)),
    ],
)
def test_counts(said: str, wanted: tuple[int, int]) -> None:
    assert table.counts(said) == wanted


def test_every_script_gets_the_options_that_it_takes() -> None:
    for row in table.ROWS:
        if (Path(table.__file__).parent / row.script).exists():
            small = table.words(row, large=False, seed=5)
            large = table.words(row, large=True, seed=5)
            assert ("--small" in small) != ("--tries" in small), row
            assert "--small" not in large, row
            assert not row.large or large[large.index("--tries") + 1] == str(row.large), row
