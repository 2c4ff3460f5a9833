"""The small form of ``terminal.py``: a lost terminal never costs a run."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from . import terminal
from .ptys import Bench, kill_left_over

CHANCE = random.Random(5)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench.prepare(tmp_path_factory.mktemp("survival"))
    yield bench
    for root in bench.folder.iterdir():
        kill_left_over(root.name)


def test_the_terminal_closes_while_torch_is_imported(bench: Bench) -> None:
    line, _ = terminal.close_once(bench, "importing", CHANCE.uniform(0.0, 1.0), None)
    assert "bit-equal" in line


def test_the_terminal_closes_in_side_work(bench: Bench) -> None:
    line, _ = terminal.close_once(bench, "side-work", CHANCE.uniform(0.0, 0.05), 1)
    assert "bit-equal" in line


def test_the_terminal_closes_while_a_probe_waits_for_its_encoder(bench: Bench) -> None:
    (line,) = terminal.queue(bench, CHANCE, 1, True)
    assert "went on, the same" in line


def test_the_terminal_closes_in_a_study(bench: Bench) -> None:
    (line,) = terminal.study(bench, CHANCE, 1, True)
    assert "bit-equal" in line


def test_nobody_reads_what_the_app_draws(bench: Bench) -> None:
    (line,) = terminal.frozen(bench, CHANCE, 1, True)
    assert "run went on" in line


def test_waiting_without_a_terminal_takes_no_processor(bench: Bench) -> None:
    (line,) = terminal.idle(bench, CHANCE, 1, True)
    assert "% CPU" in line


def test_an_error_of_the_app_does_not_end_its_training(bench: Bench) -> None:
    (line,) = terminal.crash(bench, CHANCE, 1, True)
    assert "bit-equal" in line
