"""What is said of a card that torch cannot use: the cause, and the build that would use it."""

from __future__ import annotations

import pytest

from engine.machine.card_builds import is_built_for, no_code_for, not_seen
from tests.made_up_cards import WHEEL

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
    text = not_seen(CARD, "2.14.1", built_for, driver)
    assert text.startswith("this torch (2.14.1, built ")
    assert f"cannot use the {CARD} that is here." in text
    for words in said:
        assert words in text
    for words in not_said:
        assert words not in text


@pytest.mark.parametrize(
    ("capability", "built", "fits"),
    [
        ((9, 0), WHEEL, True),
        ((8, 9), WHEEL, True),  # code of 8.6 runs on 8.9
        ((8, 0), ("sm_86",), False),  # but not the other way round
        ((6, 1), WHEEL, False),
        ((13, 0), WHEEL, True),  # PTX of 12.0 is compiled for it
        ((11, 0), WHEEL, False),
        ((9, 0), ("sm_90a",), True),
        ((9, 1), ("sm_90a",), False),
        ((12, 0), ("compute_90a",), False),
        ((10, 3), ("sm_100f",), True),
        ((12, 0), ("sm_100f",), False),
        ((12, 0), ("compute_90",), True),
        ((9, 0), ("gfx90a", "gfx942"), True),  # ROCm: nothing is known
        ((9, 0), (), True),
    ],
)
def test_what_runs_on_a_card(
    capability: tuple[int, int], built: tuple[str, ...], fits: bool
) -> None:
    assert is_built_for(capability, built) is fits


def test_a_card_without_code_is_said_as_one_that_is_not_seen() -> None:
    text = no_code_for("cuda:1 (Tesla P100)", (6, 0), "2.14.1", ("sm_70", "sm_75"))
    assert text == (
        "this torch (2.14.1, built for sm_70, sm_75) cannot use cuda:1 (Tesla P100), which has "
        "compute capability 6.0; a torch that was built for that is needed."
    )
