"""Which run is offered beside one."""

from __future__ import annotations

from typing import Any

import pytest

from engine.history.entry import Entry
from moco_tui.present.comparable import likely_rival
from moco_tui.present.run_rows import RunRow


def row(run: str, kind: str = "pretrain", digest: str = "a", **more: Any) -> RunRow:
    facts: dict[str, Any] = {"status": "finished", "created": float(ord(run))} | more
    return RunRow(run, Entry(id=run, data_digest=digest), kind=kind, **facts)


def rival(run: str, *rows: RunRow) -> str:
    return likely_rival({each.id: each for each in rows}, run)


PROBE: dict[str, Any] = {"kind": "probe", "task": "ten", "labels": 0.1, "head": "logistic"}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([row("b"), row("c")], "c"),  # the newest
        ([row("b"), row("c", digest="other")], "b"),  # of the same images
        ([row("b"), row("c", status="running")], "b"),  # one that is finished
        ([row("b"), row("c", kind="probe"), row("d", kind="study")], "b"),  # of the same kind
        ([row("c", kind="study")], ""),
        ([], ""),
    ],
)
def test_of_a_pretraining(others: list[RunRow], expected: str) -> None:
    assert rival("a", row("a"), *others) == expected


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"labels": 0.5}),
        ({}, {"task": "binary"}),
        ({}, {"head": "linear"}),
        ({"parent": "q"}, {"parent": "p"}),  # the same on another encoder
        ({"head": "linear", "parent": "p"}, {"labels": 0.2, "parent": "q"}),
    ],
)
def test_of_a_probe(better: dict[str, Any], worse: dict[str, Any]) -> None:
    """What makes accuracies comparable counts before age: the worse one is newer."""
    one = row("a", **PROBE, parent="p")
    others = row("b", **(PROBE | better)), row("c", **(PROBE | worse))
    assert rival("a", one, *others) == "b"


@pytest.mark.parametrize("run", ["s", "gone"])
def test_what_cannot_be_compared_has_none(run: str) -> None:
    assert rival(run, row("a"), row("s", kind="study")) == ""
