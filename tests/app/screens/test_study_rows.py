"""The runs of a study stand under it in the list of runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.resolve import resolve
from engine.config.schema import StudyConfig
from engine.study import grid
from moco_tui.app import MocoApp
from moco_tui.present.run_list import RunList
from moco_tui.present.run_rows import RunRow
from moco_tui.screens.dialogs import Confirm
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.widgets.run_table import RunTable

from ..conftest import NOW, on_screen, screen_text, until
from ..studies import SETS, put, put_probe, some_value, write_study

MakeApp = Callable[..., MocoApp]


def write(root: Path, *, by_hand: int = 0, studies: int = 1) -> StudyConfig:
    """A study of two sizes and three seeds whose pretrainings but the first few it made."""
    config = resolve(StudyConfig, sets=SETS)
    for number in range(studies):
        name = f"dictionaries {number}"
        put(root, f"study{number}", "study", config, name=name, created=NOW - 3600 + number)
    for number, (variant, seed) in enumerate(grid.pretrainings(config)):
        encoder = grid.pretrain_config(config, variant, seed)
        name = "" if number < by_hand else grid.name_of(variant, seed)
        made = {"created": NOW - 3500 + number, "name": name or "mine"}
        put(root, f"pt{number}bcd", "pretrain", encoder, step=9, total_steps=9, **made)
        point = grid.probe_points(config)[0]
        run, of = f"pb{number}x", f"ten; {grid.name_of(variant, seed)}"
        parent = f"pt{number}bcd"
        put_probe(
            *(root, run, config, variant, seed, point, parent),
            name=of,
            created=NOW - 3400 + number,
        )
    return config


def listed(root: Path) -> dict[str, RunRow]:
    runs = RunList(root, read_only=True)
    runs.refresh()
    return runs.rows


def test_what_the_study_made_is_under_it_and_what_was_made_by_hand_says_who_uses_it(
    root: Path,
) -> None:
    config = write(root, by_hand=2)
    rows = listed(root)
    for number in range(6):
        row = rows[f"pt{number}bcd"]
        assert row.study == ("" if number < 2 else "study0")
        assert row.used_by == (("dictionaries 0",) if number < 2 else ())
    members = rows["study0"].members
    assert members is not None
    assert (members.runs, members.total) == (4, len(grid.cells(config)))
    assert 0 < members.done < members.total
    # The best: by plain loops over the cells of the one probe that every pretraining has.
    point = grid.probe_points(config)[0]
    means = {}
    for variant in grid.variants(config):
        found = [grid.cells_of(config, variant, seed, point)[0] for seed in config.seeds]
        means[variant.label] = statistics.fmean(map(some_value, found))
    best = max(means, key=lambda label: means[label])
    assert members.best == best
    assert members.top1 == pytest.approx(means[best])


def test_what_two_studies_count_stands_under_the_older_and_names_the_other(root: Path) -> None:
    write(root, studies=2)
    rows = listed(root)
    assert {rows[f"pt{n}bcd"].study for n in range(6)} == {"study0"}
    assert rows["pt0bcd"].used_by == ("dictionaries 1",)


def test_a_run_older_than_the_study_or_of_a_preset_is_not_its_own(root: Path) -> None:
    write_study(root, created=NOW + 1)
    assert {row.study for row in listed(root).values()} == {""}


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_a_key_a_click_and_a_filter_show_the_runs_of_a_study(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    write(root, by_hand=1)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        table = on_screen(app, RunsScreen).query_one(RunTable)

        def ids() -> list[str]:
            return [row.id for row, _ in table.rows]

        # The study, the run that was made by hand, and its probe.
        await until(pilot, lambda: sorted(ids()) == ["pb0x", "pt0bcd", "study0"])
        text = screen_text(app)
        assert "▸ dictionaries 0" in text
        assert "cells" in text
        table.select("study0")
        await pilot.press("f")
        await until(pilot, lambda: len(ids()) == 13)
        depths = {row.id: depth for row, depth in table.rows}
        assert (depths["study0"], depths["pt3bcd"], depths["pb3x"]) == (0, 1, 2)
        assert "▾ dictionaries 0" in screen_text(app)
        table.select("pt3bcd")
        await pilot.press("f")
        await until(pilot, lambda: len(ids()) == 3)
        assert table.line is not None
        assert table.line.id == "study0", "the cursor stands on what was folded"
        left, above = table.gutter.top_left
        sign = next(line for line in screen_text(app).splitlines() if "▸ dictionaries" in line)
        place = (sign.index("▸ dictionaries"), above + 1 + ids().index("study0"))
        assert place[0] > left
        await pilot.click(RunTable, offset=place)
        await until(pilot, lambda: len(ids()) == 13)
        await pilot.press("f", "slash", *"pt4bcd")
        await until(pilot, lambda: ids() == ["pt4bcd"])
        await pilot.press("escape")
        await until(pilot, lambda: len(ids()) == 3)
        while "by name" not in screen_text(app):
            await pilot.press("right_square_bracket")
        assert len(ids()) == 3


async def test_a_study_is_deleted_with_what_it_made_and_comes_back_with_it(
    root: Path, make_app: MakeApp
) -> None:
    write(root, by_hand=1)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        table = on_screen(app, RunsScreen).query_one(RunTable)
        await until(pilot, lambda: len(table.rows) == 3)
        table.select("pt0bcd")
        await pilot.press("d")
        await until(pilot, lambda: "would compute it again" in " ".join(screen_text(app).split()))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        table.select("study0")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        text = " ".join(screen_text(app).replace("│", " ").split())
        # Five pretrainings and six probes; the one by hand, and its probe with it, are not both
        # made by the study: the pretraining stays.
        assert "11 runs that it made" in text
        assert "1 run stays, since it was not made by the study: pt0bcd" in text
        await pilot.press("y")
        await until(pilot, lambda: [row.id for row, _ in table.rows] == ["pt0bcd"])
        assert {path.name for path in root.iterdir() if path.is_dir()} == {".trash", "pt0bcd"}
        await pilot.press("u")
        await until(pilot, lambda: "study0" in [row.id for row, _ in table.rows])
        assert len([path for path in root.iterdir() if path.name.startswith("p")]) == 12
