"""The columns of the list: its own, settings and metrics, and which of them fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.present.run_columns import (
    COLUMNS,
    CURVE,
    GLYPH,
    LEAST_NAME,
    OVER_BASE,
    WORDS,
    RunColumn,
    chosen_columns,
    default_columns,
    fitted,
    matching,
    offers,
)
from moco_tui.present.run_list import RunList
from moco_tui.present.run_order import arrange
from moco_tui.present.run_rows import RunRow

from ..conftest import NOW, some_runs, write_run


def rows_of(root: Path) -> dict[str, RunRow]:
    catalog = RunList(root)
    catalog.refresh()
    return catalog.rows


def shown(rows: dict[str, RunRow], name: str) -> dict[str, str]:
    (column,) = chosen_columns([name], [row.entry for row in rows.values()])
    return {row.id: column.text(row, NOW) for row in rows.values()}


@pytest.mark.parametrize("width", [20, 40, 64, 80, 86, 97, 110, 158, 218, 300])
@pytest.mark.parametrize("has_base", [True, False])
def test_the_columns_fill_the_width_and_leave_the_name_its_room(width: int, has_base: bool) -> None:
    found = fitted(default_columns(has_base=has_base), width)
    titles = [column.title for column, _ in found]
    assert len(titles) == len(set(titles)), "no column stands twice"
    assert "name" in titles
    sizes = dict(zip(titles, (size for _, size in found), strict=True))
    # A cell for the mark, one behind each column.
    if width >= 64:
        assert 1 + sum(size + 1 for size in sizes.values()) == width
        assert sizes["name"] >= LEAST_NAME
        assert (OVER_BASE in titles) == has_base
    if width >= 84:
        assert CURVE in titles
        assert {"state", GLYPH} & set(titles)


def test_any_setting_can_be_a_column(root: Path) -> None:
    some_runs(root)
    rows = rows_of(root)
    assert shown(rows, "moco.queue_size") == {
        "k7m2qx": "4096",
        "q4r8st": "16384",
        "f6g3hj": "2048",
        "p2b9dz": "",
    }
    assert shown(rows, "optim.lr")["f6g3hj"] == "5"
    assert shown(rows, "augment.order")["k7m2qx"].startswith("crop, rotation, flip")
    (column,) = chosen_columns(["moco.queue_size"], [])
    assert (column.title, column.id, column.sort) == (
        "queue_size",
        "moco.queue_size",
        "moco.queue_size",
    )


def test_a_metric_is_a_column_of_its_newest_or_its_best_value(root: Path) -> None:
    some_runs(root)
    rows = rows_of(root)
    best, last = shown(rows, "best.knn/top1"), shown(rows, "knn/top1")
    for run_id in ("k7m2qx", "q4r8st"):
        assert best[run_id] == f"{rows[run_id].entry.best['knn/top1']:.1f} %"
        assert last[run_id] == f"{rows[run_id].entry.last['knn/top1']:.1f} %"
    assert best["p2b9dz"] == ""
    (column,) = chosen_columns(["best.knn/top1"], [])
    assert (column.title, column.sort) == ("best kNN", "-best.knn/top1"), "the largest first"
    # One that no run has yet stays, and is empty.
    assert set(shown(rows, "mine/thing").values()) == {""}


def test_what_a_column_sorts_by_is_what_it_shows(root: Path) -> None:
    some_runs(root)
    rows = rows_of(root)
    (column,) = chosen_columns(["best.knn/top1"], [row.entry for row in rows.values()])
    order = [row for row, depth in arrange(rows.values(), column.sort) if row.kind == "pretrain"]
    known = [row.entry.best["knn/top1"] for row in order]
    assert known == sorted(known, reverse=True)
    for column in COLUMNS:
        if column.sort:
            assert len(arrange(rows.values(), column.sort)) == 4, column.title


def test_rows_are_sorted_by_their_difference_those_without_one_last(root: Path) -> None:
    some_runs(root)
    rows = rows_of(root)
    known = {"k7m2qx": 0.0, "q4r8st": 1.9}
    for key, reverse, order in (
        ("-vs base", False, ["q4r8st", "k7m2qx", "f6g3hj"]),
        ("-vs base", True, ["k7m2qx", "q4r8st", "f6g3hj"]),
        ("vs base", False, ["k7m2qx", "q4r8st", "f6g3hj"]),
    ):
        found = arrange(rows.values(), key, reverse, difference=lambda row: known.get(row.id))
        assert [row.id for row, depth in found if not depth] == order


def test_a_line_for_several_runs_shows_what_they_share(root: Path) -> None:
    write_run(root, "k7m2qx")
    for number in range(7):
        sets = ("head=linear", f"label_fraction={0.1 * (number + 1):.1f}")
        write_run(root, f"p{number}", kind="probe", parent="k7m2qx", sets=sets)
    rows = rows_of(root)
    line = next(row for row, _ in arrange(rows.values(), unfolded=()) if row.id.endswith("probes"))
    head, fraction = chosen_columns(["head", "label_fraction"], [])
    assert head.text(line, NOW) == "linear"
    assert fraction.text(line, NOW) == ""


def test_what_is_no_column_is_left_out_and_none_stands_twice(root: Path) -> None:
    found = chosen_columns(["name", "nonsense", "best", "name", "labels"], [])
    assert [column.title for column in found] == ["name", "best", "labels"]
    assert all(isinstance(column, RunColumn) and column.above == 0 for column in found)


def test_every_column_of_the_list_is_offered_and_says_what_it_shows(root: Path) -> None:
    some_runs(root)
    found = offers([row.entry for row in rows_of(root).values()])
    names = [one.name for one in found]
    assert len(names) == len(set(names))
    assert set(WORDS) == {column.title for column in COLUMNS} - {"K|labels", GLYPH}
    assert {"knn/top1", "best.knn/top1", "moco.queue_size", "subset_seed"} <= set(names)
    assert "best.train/lr" not in names, "it has no best value"
    assert all(one.words and one.words.isprintable() for one in found)
    assert all(chosen_columns([name], []) for name in names), "each can be one"


def test_typing_finds_columns_by_name_first() -> None:
    found = offers([])
    names = [one.name for one in matching(found, "QUEUE")]
    assert names[0] == "moco.queue_size"
    assert "K" in names, "its words say it"
    assert matching(found, "queue nonsense") == []
    assert matching(found, "  ") == found
