"""A study becomes a table of the report: its variants, its baselines, its differences."""

from __future__ import annotations

from typing import Any

import pytest

from .report import table
from .study_result import result

FACTS = {"command": ["moco-tui study"], "hardware": "m", "torch": "2.14", "date": "2026-11"}


def estimate(
    source: str, variant: str | None, fraction: float, mean: float, low: float, head: str
) -> dict[str, Any]:
    kind, over = ("range", "subset seeds") if source == "pixels" else ("interval", "seeds")
    ends = {"low": low, "high": 2 * mean - low, "kind": kind, "over": over}
    return {
        **{"source": source, "variant": variant, "task": "ten", "fraction": fraction, "head": head},
        **{"seeds": 3, "estimate": {"mean": mean, **ends}},
    }


STUDY: dict[str, Any] = {
    "complete": True,
    "estimates": [
        estimate("pretrained", "K 32", 0.1, 47.6, 46.2, "logistic"),
        estimate("pretrained", "K 64", 0.1, 50.04, 49.0, "logistic"),
        estimate("pretrained", "K 32", 0.5, 60.0, 59.5, "logistic"),
        estimate("pretrained", "K 64", 0.5, 61.0, 60.0, "logistic"),
        estimate("pixels", None, 0.1, 37.7, 37.5, ""),
    ],
    "comparisons": [
        {
            **{"scope": "all", "variant": "K 64", "reference": "K 32", "family": 1},
            "difference": {"mean": 1.72, "low": -0.3, "high": 3.74, "kind": "interval"},
            "p_adjusted": 0.0801,
        },
        {"scope": "setting", "variant": "K 64", "reference": "K 32", "family": 2},
        {"scope": "all", "variant": "K 64", "reference": "random-init", "family": 2},
    ],
}


def test_variants_baselines_and_differences() -> None:
    assert table(result(STUDY, FACTS)).splitlines() == [
        "| | top-1, %, 10 % of the labels | top-1, %, 50 % of the labels | less K 32, points "
        "| p (Holm, of 1) |",
        "|---|---|---|---|---|",
        "| K 32 | 47.6 (46.2 - 49.0) | 60.0 (59.5 - 60.5) | | |",
        "| K 64 | 50.0 (49.0 - 51.1) | 61.0 (60.0 - 62.0) | +1.7 (-0.3 to +3.7) | 0.080 |",
        "| pixels | 37.7 [37.5 - 37.9] | | | |",
        "",
        "<sub>m; torch 2.14, 2026-11; 3 pretraining seeds; intervals (95 %) over seeds, "
        "[...] from the smallest to the largest.</sub>",
    ]


def test_several_heads_have_rows_of_their_own() -> None:
    more = [
        estimate("pretrained", "K 32", 0.1, 57.0, 56.0, "finetune"),
        estimate("supervised", None, 0.1, 50.0, 49.0, ""),
        estimate("random-init", None, 0.1, 40.0, 39.0, "finetune"),
        estimate("random-init", None, 0.1, 30.0, 29.0, "logistic"),
        estimate("pixels", None, 0.1, 37.7, 37.5, "finetune"),
    ]
    with_heads = [
        {**one, "head": "logistic"} if one["source"] == "pixels" else one
        for one in STUDY["estimates"]
    ]
    unnamed = {
        **{"scope": "all", "variant": "K 32", "reference": None, "family": 1},
        "difference": {"mean": 8.6, "low": 7.9, "high": 9.3, "kind": "interval"},
        "p_adjusted": 0.0,
    }
    study = {
        **STUDY,
        "estimates": [*with_heads, *more],
        "comparisons": [unnamed, *STUDY["comparisons"]],
    }
    lines = table(result(study, FACTS)).splitlines()
    assert lines[2:10] == [
        "| K 32, logistic | 47.6 (46.2 - 49.0) | 60.0 (59.5 - 60.5) | | |",
        "| K 64, logistic | 50.0 (49.0 - 51.1) | 61.0 (60.0 - 62.0) | | |",
        "| K 32, finetune | 57.0 (56.0 - 58.0) | | | |",
        "| pixels | 37.7 [37.5 - 37.9] | | | |",
        "| supervised | 50.0 (49.0 - 51.0) | | | |",
        "| random-init, finetune | 40.0 (39.0 - 41.0) | | | |",
        "| random-init, logistic | 30.0 (29.0 - 31.0) | | | |",
        "| K 64, all heads | | | +1.7 (-0.3 to +3.7) | 0.080 |",
    ]


def test_a_study_judged_by_knn_has_one_column() -> None:
    study = {
        "complete": True,
        "estimates": [
            {
                **{"source": "knn", "variant": name, "task": "knn", "fraction": 0.9, "head": "knn"},
                **{"seeds": 1, "estimate": {"mean": mean, "low": None, "kind": "single"}},
            }
            for name, mean in (("T 0.07", 62.04), ("T 0.1", 59.0))
        ],
        "comparisons": [],
    }
    lines = table(result(study, FACTS)).splitlines()
    assert lines[:4] == ["| | kNN, % |", "|---|---|", "| T 0.07 | 62.0 |", "| T 0.1 | 59.0 |"]


def test_a_study_that_goes_on_gives_no_table() -> None:
    with pytest.raises(SystemExit, match="3 of 4"):
        result({**STUDY, "complete": False, "cells_done": 3, "cells_total": 4}, FACTS)
