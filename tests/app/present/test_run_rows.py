"""A run as a row."""

from __future__ import annotations

import pytest

from engine.history.entry import Entry
from moco_tui.present.run_rows import CELLS, row_of


def cells(entry: Entry, now: float = 0.0) -> dict[str, str]:
    row = row_of(entry)
    return {name: text(row, now) for name, text in CELLS.items()}


@pytest.mark.parametrize(
    ("kind", "key", "source", "data"),
    [
        ("pretrain", "data.source", "folder:/data/birds/", "birds"),
        ("pretrain", "data.source", "cifar10", "cifar10"),
        ("study", "pretrain.data.source", "folder:/data/birds", "birds"),
        ("probe", "data.source", "", ""),
    ],
)
def test_the_data(kind: str, key: str, source: str, data: str) -> None:
    assert cells(Entry(id="k", kind=kind, config={key: source}))["data"] == data


def test_the_loss_and_the_accuracies_that_stand_for_a_run() -> None:
    trained = Entry(
        id="k",
        kind="pretrain",
        last={"train/loss": 9.5, "train/epoch_loss": 1.0, "knn/test_top1": 3.0, "knn/top1": 2.0},
        best={"knn/top1": 2.5},
    )
    found = cells(trained)
    assert (found["loss"], found["top-1"], found["best"]) == ("9.500", "2.0 %", "2.5 %")
    probe = Entry(id="p", kind="probe", last={"probe/pixels/test_top1": 9.0}, result={"top1": 0.0})
    assert (cells(probe)["top-1"], cells(probe)["best"]) == ("9.0 %", "0.0 %")
    old = Entry(id="o", kind="probe", last={"probe/test_top1": 71.0}, best={"probe/top1": 72.0})
    assert (cells(old)["top-1"], cells(old)["best"]) == ("71.0 %", "72.0 %")


def test_what_there_is_nothing_of_is_empty() -> None:
    found = cells(Entry(id="k", kind="odd", created=100.0), now=190.0)
    assert {name for name, text in found.items() if text} == {"id", "title", "kind", "age"}
    assert found["age"] == "1 min"


def test_texts_of_people_are_one_harmless_line() -> None:
    found = cells(Entry(id="k", name="a\x1b[31m\nb", config={"data.source": "folder:/x\x07y"}))
    assert (found["name"], found["data"]) == ("a?[31m b", "x?y")
