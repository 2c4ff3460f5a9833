"""What is said of a card that torch cannot use: the cause, and the build that would use it."""

from __future__ import annotations

import pytest

from engine.machine.card_builds import unusable_card

CARD = "NVIDIA L4"


@pytest.mark.parametrize(
    ("built_for", "driver", "said", "not_said"),
    [
        # CUDA 13 needs 580 (NVIDIA's table), CUDA 12 needs 525
        ("13.0", "535.104.05", ["CUDA 13 needs 580", "535.104.05", "/whl/cu126"], ["cu130"]),
        ("13.2", "579.99", ["needs 580", "/whl/cu126", "'torch<2.15'"], []),
        ("13.0", "525.60.13", ["/whl/cu126"], []),
        ("13.0", "524.99", ["525 or newer would help"], ["pip"]),
        ("12.6", "470.57.02", ["CUDA 12 needs 525", "525 or newer"], ["pip"]),
        ("13.0", "580.65.06", [], ["needs", "pip"]),  # new enough: the cause is another one
        ("12.6", "535.104.05", [], ["needs", "pip"]),
        (None, "580.65.06", ["built without CUDA", "/whl/cu130"], ["needs", "2.15"]),
        (None, "550.54", ["built without CUDA", "/whl/cu126"], ["needs"]),
        (None, "", ["built without CUDA"], ["pip"]),
        ("13.0", "not a number", [], ["needs", "pip"]),
        ("99.0", "535.1", [], ["needs", "pip"]),
    ],
)
def test_the_cause_and_what_helps(
    built_for: str | None, driver: str, said: list[str], not_said: list[str]
) -> None:
    text = unusable_card(CARD, "2.14.1", built_for, driver)
    assert text.startswith(f"There is a {CARD}, but this torch (2.14.1, built ")
    assert "cannot use it: running on the CPU." in text
    for words in said:
        assert words in text
    for words in not_said:
        assert words not in text
