"""Text of people and of other programs: one line that is safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text import clean_text, shorten, visible_line


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=300))
def test_clean_text_is_safe_to_print_and_done_once(text: str) -> None:
    cleaned = clean_text(text)
    assert len(cleaned) <= 200
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in cleaned)
    cleaned.encode("utf-8")
    assert clean_text(cleaned) == cleaned
    if text.isascii() and text.isprintable() and len(text) <= 200:
        assert cleaned == text.strip()


def test_a_message_repeats_at_most_forty_characters() -> None:
    assert shorten("a" * 40) == "a" * 40
    assert shorten("a" * 41) == "a" * 37 + "..."
    assert shorten("two\nlines") == "two lines"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain ", "plain"),
        (" 10%|#\r100%|###\r", "100%|###"),
        ("\x1b[31mred\x1b[0m \x00end", "red  end"),
        ("\x1b]0;title\x07text", "text"),
        ("", ""),
    ],
)
def test_a_printed_line_is_what_a_terminal_shows_of_it(printed: str, shown: str) -> None:
    assert visible_line(printed) == shown
