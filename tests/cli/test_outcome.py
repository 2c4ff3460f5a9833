"""The table of a probe as it is printed."""

from __future__ import annotations

import pytest

from moco_tui.cli import outcome

from .conftest import RESULT

PROTOCOL = "Frozen features, standardised on the labelled images; logistic-regression to the end."


@pytest.mark.parametrize("columns", [40, 80])
def test_in_a_terminal_the_protocol_breaks_between_words(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(outcome, "terminal_width", lambda: columns)
    lines = outcome.result_table(RESULT | {"protocol": PROTOCOL}).split("\n\n")[-1].splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) < columns
    assert " ".join(lines) == PROTOCOL


def test_in_a_file_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "terminal_width", lambda: None)
    assert outcome.result_table(RESULT | {"protocol": PROTOCOL}).endswith(f"\n\n{PROTOCOL}")
