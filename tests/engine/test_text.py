"""Text of people and of other programs: one line that is safe to show."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text import clean_text, one_line, shorten, visible_line
from moco_tui.cli import output
from moco_tui.present import fmt


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


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
def test_a_text_of_others_is_one_line_that_no_terminal_obeys(text: str) -> None:
    shown = one_line(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(c)[0] == "C" for c in shown)
    shown.encode("utf-8")
    for was, now in zip(text, shown, strict=True):
        assert now == was or now == (" " if was.isspace() else "?")


def test_the_app_and_the_commands_show_a_text_alike() -> None:
    assert one_line("a\x1b[31m\nb\tc\u202ed\u200be\ufefff") == "a?[31m b c?d?e?f"
    for text in ("a\x1b[31m\nb", "\u202e", "\udce9", "plain"):
        assert fmt.clean(text) == output.clean(text) == one_line(text)


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
