"""Spans and amounts as people type them."""

from __future__ import annotations

import pytest

from engine.history.units import bytes_of, seconds_of


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4096", 4096),
        ("1.5GiB", 1.5 * 1024**3),
        ("1.5 GiB", 1.5 * 1024**3),
        ("200M", 200 * 1024**2),
        ("200mb", 200 * 1024**2),
        ("3k", 3072),
        ("2 TiB", 2 * 1024**4),
        ("1_000B", 1000),
        ("1e6", 1e6),
        ("GiB", None),
        ("", None),
        ("12 parsec", None),
        ("5 EiB", None),
        ("1-2", None),
    ],
)
def test_an_amount_of_bytes(text: str, wanted: float | None) -> None:
    assert bytes_of(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("90", 90), ("30m", 1800), ("30d", 2_592_000), ("2w", 1_209_600), ("d", None)],
)
def test_a_span(text: str, wanted: float | None) -> None:
    assert seconds_of(text) == wanted
