"""Pretrainings that differ by their seed alone as one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.study.statistics import t_quantile
from moco_tui.present.baseline import RunBaseline
from moco_tui.present.pace import RunPace
from moco_tui.present.run_groups import SeedGroup, common_title, group_with, with_groups
from moco_tui.present.run_list import RunList
from moco_tui.present.run_order import arrange
from moco_tui.present.run_preview import PreviewReader
from moco_tui.present.run_rows import RunRow

from ..conftest import NOW, write_run


def seeds(root: Path, count: int = 3, *, queue: int = 64, ids: str = "r") -> list[float]:
    """Runs of some seeds, the first the oldest; their best accuracies."""
    for seed in range(count):
        write_run(
            *(root, f"{ids}{seed}"),
            name=f"K {queue}, seed {seed}",
            sets=(f"seed={seed}", f"moco.queue_size={queue}", f"runtime.threads={seed + 1}"),
            steps=30,
            accuracy=40.0 + seed * seed,
            untrained={"knn/top1": 30.0 + seed},
            created=NOW - 1000 + seed,
        )
    catalog = RunList(root)
    catalog.refresh()
    return [catalog.rows[f"{ids}{seed}"].best or 0.0 for seed in range(count)]


def rows_of(root: Path) -> dict[str, RunRow]:
    catalog = RunList(root)
    catalog.refresh()
    return catalog.rows


def lines(root: Path, unfolded: set[str] | None = None) -> list[tuple[RunRow, int]]:
    return arrange(rows_of(root).values(), unfolded=unfolded or set(), group=with_groups)


def test_a_group_shows_means_with_the_interval_of_the_studies(root: Path) -> None:
    values = seeds(root)
    ((line, depth),) = lines(root)
    assert isinstance(line, SeedGroup)
    assert depth == 0
    mean = sum(values) / 3
    deviation = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    half = t_quantile(0.975, 2) * deviation / 3**0.5
    assert line.best == pytest.approx(mean)
    assert line.title == f"▸ K 64 x3 ±{half:.1f}"
    rows = rows_of(root)
    gains = [rows[f"r{n}"].gain for n in range(3)]
    assert line.gain == pytest.approx(sum(gain or 0.0 for gain in gains) / 3)
    assert line.last == pytest.approx(sum(rows[f"r{n}"].last or 0.0 for n in range(3)) / 3)
    assert (line.queue, line.share, line.kind) == (64, 1.0, "pretrain")


def test_two_seeds_have_a_range_and_no_interval(root: Path) -> None:
    values = seeds(root, 2)
    ((line, _),) = lines(root)
    assert line.title == f"▸ K 64 x2 [{max(values) - min(values):.1f}]"


def test_its_runs_stand_under_it_when_it_is_open(root: Path) -> None:
    seeds(root)
    write_run(root, "p1", kind="probe", parent="r1", result={"top1": 55.0}, created=NOW)
    found = lines(root, {"r0/seeds"})
    assert [(row.id, depth) for row, depth in found] == [
        ("r0/seeds", 0),
        ("r2", 1),
        ("r1", 1),
        ("p1", 2),
        ("r0", 1),
    ]
    assert found[0][0].title.startswith("▾ ")
    assert [row.id for row, _ in lines(root)] == ["r0/seeds"], "probes are folded with their runs"
    everything = arrange(rows_of(root).values(), unfolded=None, group=with_groups)
    assert len(everything) == 5, "a filter finds what is folded"


@pytest.mark.parametrize(
    "other",
    [
        ("seed=7", "moco.queue_size=128"),
        ("seed=7", "moco.queue_size=64", "monitor.knn_k=50"),
        ("seed=2", "moco.queue_size=64", "lr=1"),
    ],
    ids=["setting", "measured otherwise", "two settings"],
)
def test_what_differs_by_more_stands_alone(root: Path, other: tuple[str, ...]) -> None:
    seeds(root)
    write_run(root, "other1", created=NOW, sets=other)
    assert [row.id for row, _ in lines(root)] == ["other1", "r0/seeds"]


def test_the_same_seed_twice_is_no_group(root: Path) -> None:
    write_run(root, "a2bcdf", sets=("seed=1",))
    write_run(root, "b2bcdf", sets=("seed=1",))
    assert sorted(row.id for row, _ in lines(root)) == ["a2bcdf", "b2bcdf"]


def test_groups_of_settings_are_apart_and_sorted_by_their_first_run(root: Path) -> None:
    seeds(root)
    seeds(root, queue=128, ids="s")
    assert {row.id for row, _ in lines(root)} == {"r0/seeds", "s0/seeds"}
    rows = rows_of(root).values()
    found = arrange(rows, "-K", unfolded=set(), group=with_groups)
    assert [row.id for row, _ in found] == ["s0/seeds", "r0/seeds"]
    assert group_with("s2", (row for row, _ in found)) is found[0][0]
    assert group_with("gone", (row for row, _ in found)) is None


def test_without_the_wish_nothing_is_grouped(root: Path) -> None:
    seeds(root)
    assert len(arrange(rows_of(root).values(), unfolded=set())) == 3


def test_the_preview_of_a_group_is_over_its_seeds(root: Path) -> None:
    values = seeds(root)
    for seed in range(3):
        write_run(
            *(root, f"p{seed}"),
            kind="probe",
            parent=f"r{seed}",
            result={"top1": 50.0 + seed},
        )
    rows = rows_of(root)
    line = arrange(rows.values(), unfolded=set(), group=with_groups)[0][0]
    reader = PreviewReader(root)
    found = reader.read(line, rows, RunBaseline(rows, "r0"), lambda record: RunPace())

    def text(name: str) -> str:
        return "\n".join("".join(t for t, _ in each) for each in found.parts[name].lines(90))

    head = "\n".join("".join(t for t, _ in each) for each in found.head)
    assert f"{sum(values) / 3:.1f} %" in head
    assert "mean of 3 seeds, 95 % interval" in head
    assert f"base +{sum(values) / 3 - values[0]:.1f}" in head
    assert "seed" not in text("settings").split()
    assert "queue_size" in text("settings")
    # 50, 51 and 52: Student's t of two degrees of freedom over three.
    assert f"51.0 ±{t_quantile(0.975, 2) / 3**0.5:.1f}" in text("probes")
    assert [each.split()[0] for each in text("log").splitlines()] == ["seed", "0", "1", "2"]


def test_names_are_shared_up_to_the_seed() -> None:
    assert common_title(["m 0.9, seed 0", "m 0.9, seed 1"]) == "m 0.9"
    assert common_title(["run-seed-1", "run-seed-2"]) == "run"
    assert common_title(["large queue", "large queue"]) == "large queue"
    assert common_title(["k7m2qx", "q4r8st"]) == "k7m2qx"
    assert common_title(["seed 1", "seed 2"]) == "seed 1"
