"""The probes of a run as a small table."""

from __future__ import annotations

from pathlib import Path

from engine.study.statistics import t_quantile
from moco_tui.present.baseline import RunBaseline
from moco_tui.present.preview_probes import ProbeRows, probe_lines, table_lines
from moco_tui.present.run_list import RunList
from moco_tui.present.run_rows import RunRow

from ..conftest import write_run


def rows_of(root: Path) -> dict[str, RunRow]:
    catalog = RunList(root)
    catalog.refresh()
    return catalog.rows


def probe(
    root: Path, run_id: str, top1: float, fraction: float, seed: int = 0, parent: str = "a2bcdf"
) -> None:
    source = {"source": "pretrained", "top1": top1, "low": top1 - 1.5, "high": top1 + 0.5}
    write_run(
        *(root, run_id),
        kind="probe",
        parent=parent,
        sets=(f"label_fraction={fraction}", f"subset_seed={seed}"),
        result={"top1": top1, "rows": [source]},
        best={"probe/pretrained/test_top1": top1, "probe/random-init/test_top1": 44.0},
    )


def lines_of(root: Path, *parents: str, base: str = "") -> list[str]:
    rows = rows_of(root)
    part = ProbeRows(root).part_of(parents, rows, RunBaseline(rows, base))
    return ["".join(text for text, _ in line) for line in part.lines(80)]


def test_a_single_probe_has_its_interval_and_its_gain_over_random_weights(root: Path) -> None:
    write_run(root, "a2bcdf")
    probe(root, "p1", 60.5, 0.1)
    probe(root, "p2", 64.0, 0.5)
    head, *rest = lines_of(root, "a2bcdf")
    assert head.split() == ["task", "head", "labels", "top-1", "%", "random"]
    assert [line.split()[-3:] for line in rest] == [
        ["60.5", "±1.0", "+16.5"],
        ["64.0", "±1.0", "+20.0"],
    ]
    assert "10 %" in rest[0]
    assert len({len(line) for line in (head, *rest)}) == 1, "the columns stand below their heads"


def test_subsets_of_one_encoder_are_a_mean_with_their_range(root: Path) -> None:
    write_run(root, "a2bcdf")
    for seed, top1 in enumerate((60.0, 61.0, 65.0)):
        probe(root, f"p{seed}", top1, 0.1, seed)
    (line,) = lines_of(root, "a2bcdf")[1:]
    assert "62.0 [5.0]" in line
    assert line.split()[-2:] == ["3", "+18.0"]


def test_seeds_of_the_pretraining_make_an_interval_of_the_means_of_their_subsets(
    root: Path,
) -> None:
    means = []
    for seed in range(3):
        write_run(root, f"a{seed}bcdf", sets=(f"seed={seed}",))
        values = [60.0 + 2 * seed, 61.0 + 2 * seed]
        means.append(sum(values) / 2)
        for subset, top1 in enumerate(values):
            probe(root, f"p{seed}{subset}", top1, 0.1, subset, f"a{seed}bcdf")
    (line,) = lines_of(root, "a0bcdf", "a1bcdf", "a2bcdf")[1:]
    mean = sum(means) / 3
    deviation = (sum((value - mean) ** 2 for value in means) / 2) ** 0.5
    half = t_quantile(0.975, 2) * deviation / 3**0.5
    assert f"{mean:.1f} ±{half:.1f}" in line


def test_the_baseline_gets_a_column_where_one_of_them_is_compared(root: Path) -> None:
    write_run(root, "a2bcdf")
    write_run(root, "b2bcdf")
    probe(root, "p1", 60.0, 0.1)
    probe(root, "p2", 61.5, 0.1, parent="b2bcdf")
    assert "vs base" not in lines_of(root, "b2bcdf")[0]
    head, line = lines_of(root, "b2bcdf", base="a2bcdf")
    assert head.endswith("vs base")
    assert line.endswith("+1.5")


def test_a_probe_without_a_result_shows_its_state(root: Path) -> None:
    write_run(root, "a2bcdf")
    write_run(root, "p1", kind="probe", parent="a2bcdf", status="stopped")
    rows = rows_of(root)
    (line,) = probe_lines([rows["p1"]], {}, RunBaseline(rows, ""))
    assert (line.accuracy, line.gain) == ("stopped", None)
    assert "none yet" in table_lines([])[0][0][0]
