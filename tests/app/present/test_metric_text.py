"""Metrics in words."""

from __future__ import annotations

import math

import pytest

from moco_tui.present.metric_text import difference_text, short_texts, title, value_text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("train/loss", 9.41234, "9.412"),
        ("train/lr", 0.0123456, "0.0123"),
        ("knn/top1", 41.25, "41.2 %"),
        ("mine/accuracy", 5.0, "5.0 %"),
        ("mine/gradient", 1234567.0, "1.23e6"),
        ("knn/top1", math.nan, "NaN"),
        ("train/loss", -math.inf, "-inf"),
        ("knn/top1", None, "–"),
    ],
)
def test_a_value(name: str, value: float | None, text: str) -> None:
    assert value_text(name, value) == text


def test_a_difference() -> None:
    assert difference_text("knn/top1", -2.5) == "-2.5 pts"
    assert difference_text("train/loss", 0.25) == "+0.2500"
    assert difference_text("train/loss", 0.0) == "="
    assert difference_text("train/loss", None) == ""


def test_titles_and_a_line_of_progress() -> None:
    assert title("knn/top1") == "kNN top-1, withheld labels"
    assert title("mine\x1b/top1") == "mine?/top1"
    values = {"knn/top1": 41.25, "train/lr": 0.06, "mine/loss": 1.0, "train/loss": 9.4}
    assert short_texts(values) == ["loss 9.400", "lr 0.0600", "kNN 41.2 %"]
