"""The tables of a comparison: nothing is cut to the same, whatever the width."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from moco_tui.present.comparison import ComparedRun, SideBySide, side_by_side
from moco_tui.present.comparison_tables import metric_lines, setting_lines

ORDERS = [f"crop, rotation, flip, blur, color_jitter, {last}" for last in ("gray", "none", "x")]


def compared(count: int = 3) -> SideBySide:
    return side_by_side(
        [
            ComparedRun(
                f"run{n}ab",
                "probe",
                f"ten, 10 % of the labels, logistic, subset {n}",
                "finished",
                {"augment.order": ORDERS[n % 3], "moco.queue_size": 4096 * (n + 1)},
                {("knn/top1", "last"): 40.0 + n, ("train/loss", "last"): 9.0 - n},
            )
            for n in range(count)
        ]
    )


def texts(lines: object) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 58, 76, 118, 200])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_every_value_of_every_run_is_legible(width: int, count: int) -> None:
    found = compared(count)
    for lines in (setting_lines(found, width, "●■▲◆○□△◇"), metric_lines(found, width, "●■▲◆○□△◇")):
        assert max(map(cell_len, texts(lines))) <= width
    whole = "".join(line.strip() + " " for line in texts(setting_lines(found, width, "●■▲◆○□△◇")))
    for order in ORDERS[: min(count, 3)]:
        assert order.replace(" ", "") in whole.replace(" ", "")
    for n in range(count):
        assert str(4096 * (n + 1)) in whole
        assert f"{40 + n}.0 %" in "\n".join(texts(metric_lines(found, width, "●■▲◆○□△◇")))


def test_values_that_differ_at_their_ends_stand_on_lines_of_their_own() -> None:
    lines = texts(setting_lines(compared(), 76, "●■▲"))
    at = next(i for i, line in enumerate(lines) if line.startswith("order"))
    assert [line.strip() for line in lines[at + 1 : at + 4]] == [
        f"{mark} {order}" for mark, order in zip("●■▲", ORDERS, strict=True)
    ]


def test_names_that_would_be_cut_to_the_same_give_way_to_ids() -> None:
    names = re.split("[●■▲]", texts(setting_lines(compared(), 76, "●■▲"))[0])[1:]
    assert len({name.strip() for name in names}) == 3
    for run in (found := compared()).runs:
        run.name = "a name that all of them have"
    names = re.split("[●■▲]", texts(setting_lines(found, 76, "●■▲"))[0])[1:]
    assert [name.strip() for name in names] == ["run0ab", "run1ab", "run2ab"]


def test_side_by_side_where_there_is_room() -> None:
    line = next(t for t in texts(setting_lines(compared(), 118, "●■▲")) if "queue_size" in t)
    assert line.split() == ["moco.queue_size", "4096", "8192", "12288"]
    metrics = texts(metric_lines(compared(), 118, "●■▲"))
    at = next(i for i, line in enumerate(metrics) if line.startswith("knn/top1"))
    assert metrics[at].split() == ["knn/top1", "40.0", "%", "41.0", "%", "42.0", "%"]
    assert metrics[at + 1].split()[:3] == ["+1.0", "pts", "better"]
    found = compared()
    for n, run in enumerate(found.runs):  # a reason that no cell holds
        run.measured_by = {"data.source": str(n), "moco.queue_size": n}
    narrow = texts(metric_lines(side_by_side(found.runs), 60, "●■▲"))
    at = next(i for i, line in enumerate(narrow) if line.startswith("train/loss"))
    assert narrow[at].split() == ["train/loss", "9.000", "8.000", "7.000"]
    assert narrow[at + 1].strip().startswith("■ -1.000 other")
