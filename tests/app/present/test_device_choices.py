"""Devices are offered with their memory and who is on them, numbered as CUDA does."""

from __future__ import annotations

import pytest

from engine.machine.cards import Card, CardProcess
from engine.machine.load_reader import Load
from moco_tui.present.device_choices import card_words, device_choices, visible_cards

GIB = 2**30
A = Card("A", used=10 * GIB, total=80 * GIB, index=0, uuid="aaaa-1", others_count=0)
B = Card(
    "B",
    used=4 * GIB,
    total=80 * GIB,
    index=1,
    uuid="bbbb-2",
    others=[CardProcess(7, "anna"), CardProcess(8, "anna")],
    others_count=3,
)


def test_a_machine_without_cards() -> None:
    choices, about = device_choices(Load(cores=12, used=4 * GIB, total=16 * GIB), {}, None)
    assert [choice.name for choice in choices] == ["auto", "cpu", "own ..."]
    assert about["cpu"] == "12 cores, 12.0 GiB free of 16.0 GiB"
    assert about["auto"] == "cpu: " + about["cpu"]
    assert device_choices(Load(), {}, None)[1]["cpu"] == "the processor"
    assert "mps" in device_choices(Load(), {}, None, mps=True)[1]


def test_cards_with_who_is_on_them() -> None:
    choices, about = device_choices(Load(cards=[A, B]), {"aaaa-1": "run k7m2qx"}, None)
    names = ["auto", "cuda:0", "cuda:1", "cpu", "own ..."]
    assert [choice.name for choice in choices] == names
    assert (
        about["cuda:0"] == "A, 70.0 GiB free of 80.0 GiB, run k7m2qx trains on it, a new run waits"
    )
    assert about["cuda:1"] == "B, 76.0 GiB free of 80.0 GiB, 3 other processes of anna"
    assert about["auto"].startswith("cuda:1: B"), "the first that nobody trains on"
    assert card_words(A, "").endswith("nobody on it")
    assert card_words(Card("C\x1b[31m"), "") == "C?[31m"


def test_what_this_app_trains_counts_before_its_lock_is_taken() -> None:
    here = {"cpu": "run k7m2qx", "cuda:0": "run q4r8st"}
    _, about = device_choices(Load(cards=[A, B], cores=2), {"bbbb-2": "run x"}, None, here=here)
    assert about["cpu"] == "2 cores, run k7m2qx trains on it, a new run waits"
    assert "run q4r8st trains on it, a new run waits" in about["cuda:0"]
    assert about["auto"].startswith("cuda:0: A"), "every one is taken: it waits for the first"


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, "AB"),
        ("", ""),
        ("1", "B"),
        ("1,0", "BA"),
        ("1,7,0", "B"),
        ("GPU-bbbb", "B"),
        ("GPU-cccc,0", ""),
        ("-1,0", ""),
    ],
)
def test_cuda_numbers_what_is_visible(visible: str | None, names: str) -> None:
    assert "".join(card.name for card in visible_cards([A, B], visible)) == names
