"""The paired difference of a probe's rows to training from scratch."""

from __future__ import annotations

import math

import pytest
import torch

from engine.probe.scratch_gain import packed, unpacked, with_gains


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_which_images_are_right_survives_as_text(count: int) -> None:
    right = torch.rand(count, generator=torch.Generator().manual_seed(count)) < 0.5
    text = packed(right)
    assert text.isascii()
    found = unpacked(text, count)
    assert found is not None
    assert torch.equal(found, right)


@pytest.mark.parametrize("text", [None, 3, "", "?", "AAAA", [1], "\u00fc"])
def test_what_is_no_such_text_is_left_out(text: object) -> None:
    """A damaged or foreign record costs the comparison and nothing else."""
    assert unpacked(text, 8) is None
    scratch = {"source": "supervised", "right": packed(torch.ones(8, dtype=torch.bool))}
    row = {"source": "pretrained", "right": text}
    assert with_gains([row, scratch], 8) == [{"source": "pretrained"}, {"source": "supervised"}]


def test_the_interval_is_that_of_the_differences_of_the_images() -> None:
    g = torch.Generator().manual_seed(3)
    ours, scratch = (torch.rand(500, generator=g) < share for share in (0.7, 0.6))
    rows = [
        {"source": "pretrained", "top1": 70.0, "right": packed(ours)},
        {"source": "supervised", "top1": 60.0, "right": packed(scratch)},
    ]
    first, second = with_gains(rows, 500)
    assert second == {"source": "supervised", "top1": 60.0}
    # The mean of 1, 0 or -1 of each image, and its standard error.
    differences = [int(a) - int(b) for a, b in zip(ours.tolist(), scratch.tolist(), strict=True)]
    mean = sum(differences) / 500
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / 500 / 500)
    got = first["over_scratch"]
    assert got["gain"] == pytest.approx(100 * mean)
    assert got["low"] == pytest.approx(100 * (mean - 1.959964 * error))
    assert got["high"] == pytest.approx(100 * (mean + 1.959964 * error))
    assert set(first) == {"source", "top1", "over_scratch"}


def test_rows_that_do_not_say_what_they_have_right_stay_as_they_are() -> None:
    """Those of an earlier version, and those that were kept with their gain."""
    right = packed(torch.ones(4, dtype=torch.bool))
    old = {"source": "pretrained", "top1": 50.0}
    done = {"source": "pixels", "over_scratch": {"gain": 1.0, "low": 0.0, "high": 2.0}}
    scratch = {"source": "supervised", "right": right}
    assert with_gains([old, done, scratch], 4) == [old, done, {"source": "supervised"}]
    assert with_gains([{"source": "pretrained", "right": right}], 4) == [{"source": "pretrained"}]
    assert with_gains([done, {"source": "supervised"}], 4) == [done, {"source": "supervised"}]
