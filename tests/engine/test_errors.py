"""Errors of somebody else's code in words."""

from __future__ import annotations

import pytest

from engine.errors import described


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (KeyError("a"), "KeyError: 'a'"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_type_and_text_or_the_type_alone(error: BaseException, text: str) -> None:
    assert described(error) == text
