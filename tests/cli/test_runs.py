"""The list of runs: as a table, as JSON, as CSV."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import math
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import resolve
from engine.config.schema import StudyConfig
from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import create
from engine.study import grid
from moco_tui.cli.output import cut, table, width_of
from moco_tui.cli.runs import COLUMNS, listing
from moco_tui.present.run_columns import COLUMNS as APP_COLUMNS
from moco_tui.present.run_columns import CURVE, GLYPH, OVER_BASE
from moco_tui.present.run_facts import CSV_HEADER
from moco_tui.present.run_rows import CELLS, row_of

from ..environment import with_packages
from .conftest import Call, probed, trained


def test_a_folder_without_runs(call: Call, root: Path) -> None:
    called = call("runs")
    assert (called.code, called.out) == (0, "")
    assert str(root) in called.err
    assert call("runs", "--json").out == "[]\n"
    assert len(call("runs", "--csv").out.splitlines()) == 1


def test_probes_stand_under_their_parent(call: Call, root: Path) -> None:
    old = trained(root, name="old")
    probe = probed(root, old.id, label_fraction=0.25)
    new = trained(root, name="new")
    lines = call("runs").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [new.id, old.id, probe.id]
    assert lines[2].startswith(f"  {probe.id}")
    assert not lines[1].startswith(" ")
    assert "25 %" in lines[2]
    # A probe whose parent is not in the list stands by itself.
    called = call("runs", "--filter", "kind:probe")
    assert called.out.splitlines()[1].startswith(probe.id)


def test_the_table_names_state_settings_and_metrics(call: Call, root: Path) -> None:
    folder = trained(root, name="first", values={"moco.queue_size": 777}, top1=41.25)
    call("tag", folder.id, "+t1", "+t2")
    header, line = call("runs").out.splitlines()
    for title in ("id", "state", "K", "augment", "step", "loss", "top-1", "best", "age", "tags"):
        assert title in header.split()
    for text in ("first", "finished", "shapes", "777", "crop rot15 blur color", "3/40"):
        assert text in line
    assert line.split()[-2:] == ["t1", "t2"]
    assert "10.50" in line
    assert "41.2" in line  # a half is rounded to even


def ids(called: Any) -> list[str]:
    return [run["id"] for run in json.loads(called.out)]


def test_sorting_by_columns_settings_and_metrics(call: Call, root: Path) -> None:
    a = trained(root, name="b", values={"moco.queue_size": 4096}, top1=30.0, losses=(3.0, 9.0)).id
    b = trained(root, name="a", values={"moco.queue_size": 512}, top1=50.0, losses=(5.0,)).id
    c = trained(root, name="c", values={"moco.queue_size": 1024}, top1=math.nan).id
    probe = probed(root, a).id
    for key, wanted in (
        ("K", [b, c, a]),
        ("-K", [a, c, b]),
        ("queue_size", [b, c, a]),
        ("-top-1", [b, a, c]),
        ("top-1", [a, b, c]),
        ("loss", [b, a, c]),
        ("-best", [b, a, c]),
        ("name", [b, a, c]),
        ("age", [c, b, a]),
        ("created", [a, b, c]),
    ):
        called = call("runs", "--sort", key, "--json")
        assert [i for i in ids(called) if i != probe] == wanted, key
    for title in (column.title for column in COLUMNS):
        assert len(ids(call("runs", "--sort", title, "--json"))) == 4
        assert len(ids(call("runs", "--sort", f"-{title}", "--json"))) == 4
    assert ids(call("runs", "--sort", "labels", "--json"))[0] == probe
    called = call("runs", "--sort", "nonsense")
    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)


# A curve and another run are no figures of a run; the glyph is its state.
APP_TITLES = [c.title for c in APP_COLUMNS if c.title not in (CURVE, GLYPH, OVER_BASE)]
HEADINGS = sorted(
    {
        key
        for title in [*(c.title for c in COLUMNS), *APP_TITLES, *CSV_HEADER]
        for key in title.split("|")
    }
)


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_heading_is_a_key_for_the_number_that_it_shows(
    call: Call, root: Path, heading: str
) -> None:
    """Derived from the tables: a new column has to be a key as well."""
    trained(root, name="b", values={"moco.queue_size": 512}, top1=30.04, losses=(3.0, 9.0))
    trained(root, name="a", values={"moco.queue_size": 4096}, top1=52.27, status="stopped")
    probed(root, trained(root, name="c", top1=math.nan).id, label_fraction=0.07)
    rows = {entry.id: row_of(entry) for entry in History(root).list()}
    order = {sign: ids(call("runs", "--json", "--sort", sign + heading)) for sign in ("", "-")}
    found = ids(call("runs", "--json", "--filter", f"{heading}!=nothing"))
    assert set(order[""]) == set(order["-"]) == set(found) == set(rows)
    show = CELLS.get("title" if heading == "name" else heading)  # a run without a name: its id
    if show is None:  # of the CSV alone
        return
    # Runs without a value in the cell stand last in both directions, and equal none.
    empty = {id_ for id_, row in rows.items() if show(row, time.time()) in ("", "NaN", "–")}
    for sign in ("", "-"):
        assert set(order[sign][len(rows) - len(empty) :]) == empty, sign
    for id_ in rows.keys() - empty:
        text = show(rows[id_], time.time())
        if heading in ("top-1", "best", "labels", "trained", "done", "loss", "K", "kind", "state"):
            matching = ids(call("runs", "--json", "--filter", f"{heading}={text}"))
            assert id_ in matching, f"{heading}={text}"
            assert matching == [i for i in matching if show(rows[i], 0.0) == text]


def test_filters_and_limits(call: Call, root: Path) -> None:
    a = trained(root, values={"moco.queue_size": 4096}, top1=30.0).id
    b = trained(root, values={"moco.queue_size": 512}, top1=50.0, status="stopped").id
    probe = probed(root, a).id
    for query, wanted in (
        ("knn>40", {b}),
        ("queue_size=4096", {a}),
        ("kind:probe", {probe}),
        ("not kind:probe", {a, b}),
        ("status:stopped or kind:probe", {b, probe}),
        ("knn>99", set()),
    ):
        assert set(ids(call("runs", "--filter", query, "--json"))) == wanted, query
    assert len(ids(call("runs", "--limit", "2", "--json"))) == 2
    called = call("runs", "--filter", "knn>99")
    assert (called.code, called.out) == (0, "")
    for bad in ("knn>", "(", "nonsense=1", "knn>x"):
        called = call("runs", "--filter", bad)
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)


def test_json_and_csv_hold_the_same_runs(call: Call, root: Path) -> None:
    folder = trained(root, name='quoted "name", with comma', losses=(2.5, math.inf))
    probe = probed(root, folder.id, head="linear", label_fraction=0.2)
    lost = trained(root, status=None)
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(call("runs", "--csv").out))}
    runs = {run["id"]: run for run in json.loads(call("runs", "--json").out)}
    assert set(rows) == set(runs) == {folder.id, probe.id, lost.id}
    assert rows[folder.id]["name"] == runs[folder.id]["name"] == 'quoted "name", with comma'
    assert rows[folder.id]["loss"] == "inf"
    assert runs[folder.id]["last"]["train/loss"] == "Infinity"
    assert (runs[folder.id]["queue_size"], rows[folder.id]["queue_size"]) == (2048, "2048")
    assert runs[folder.id]["augmentations"] == ["crop", "rot15", "blur", "color"]
    assert runs[probe.id]["label_fraction"] == 0.2
    assert (rows[probe.id]["parent"], rows[probe.id]["head"]) == (folder.id, "linear")
    assert runs[lost.id]["state"] == rows[lost.id]["state"] == "lost"


def test_a_damaged_run_is_listed_and_named(call: Call, root: Path) -> None:
    good, bad = trained(root), trained(root)
    bad.record_path.write_text("{")
    called = call("runs")
    assert called.code == 0
    assert {line.split()[0] for line in called.out.splitlines()[1:]} == {good.id, bad.id}
    assert "damaged" in called.err
    assert call("show", bad.id).code == 2


@pytest.mark.parametrize("width", [40, 60, 80, 100, 132, 300])
def test_the_table_fits_the_terminal(width: int) -> None:
    entries = [
        Entry(
            id=f"k7m2q{i}",
            kind="pretrain",
            name="名前😀" * 9 + "x" * i,
            status="handed-over",
            preset="notebook",
            config={"moco.queue_size": 4_000_000 + i, "data.source": "folder:/data/" + "y" * 60},
            total_steps=242_500,
            step=i,
            last={"train/loss": 12.5, "knn/top1": 99.9},
            best={"knn/top1": 99.9},
            tags=("a-tag", "another-tag"),
        )
        for i in range(3)
    ]
    lines = listing([row_of(entry) for entry in entries], width).splitlines()
    assert len(lines) == 4
    assert max(width_of(line) for line in lines) <= max(width, 60)
    for entry, line in zip(entries, lines[1:], strict=True):
        assert line.startswith(entry.id)
        assert "handed-over" in line
    if width >= 80:
        assert all("99.9" in line for line in lines[1:])
    if width == 300:
        assert "another-tag" in lines[1]


@pytest.mark.parametrize("columns", [80, 160])
def test_runs_in_a_real_terminal(root: Path, columns: int) -> None:
    folder = trained(root, name="a name that is much longer than there is room for it " * 3)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in with_packages().items() if k not in ("COLUMNS", "LINES")}
    done = subprocess.run(
        [sys.executable, "-m", "moco_tui", "runs"],
        stdin=follower,
        stdout=follower,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=60,
    )
    os.close(follower)
    text = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert done.returncode == 0
    lines = text.splitlines()
    assert lines[1].startswith(folder.id)
    assert all(len(line) <= columns for line in lines)


def test_output_in_a_plain_encoding_is_no_crash(root: Path) -> None:
    trained(root, name="名前😀")
    done = subprocess.run(
        [sys.executable, "-m", "moco_tui", "runs"],
        env=with_packages(PYTHONIOENCODING="ascii"),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert b"finished" in done.stdout


@pytest.mark.parametrize(
    ("text", "width", "wanted"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 4, "abc~"),
        ("名前名前", 5, "名前~"),
        ("名前", 2, "~"),
        ("a", 0, ""),
    ],
)
def test_cut(text: str, width: int, wanted: str) -> None:
    assert cut(text, width) == wanted


def test_table_aligns_wide_characters() -> None:
    lines = table(["a", "b"], [["名前", "1"], ["x", "22"]], (1,)).splitlines()
    assert {width_of(line) for line in lines} == {8}


def test_a_tree_puts_what_a_study_made_under_it_and_the_list_stays_flat(
    call: Call, root: Path
) -> None:
    config = resolve(StudyConfig, preset_name="quick-study")
    study = create(root, "study", config, name="two sizes")
    for variant, seed in grid.pretrainings(config)[:2]:
        made = grid.pretrain_config(config, variant, seed)
        create(root, "pretrain", made, name=grid.name_of(variant, seed))
    flat = call("runs").out
    assert not any(line.startswith(" ") for line in flat.splitlines())
    lines = call("runs", "--tree").out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(study.id))
    assert "two sizes: 0/" in lines[at]
    assert all(line.startswith("  ") for line in lines[at + 1 : at + 3])
    found = {row["id"]: row for row in json.loads(call("runs", "--tree", "--json").out)}
    assert [row["study"] for row in found.values()].count(study.id) == 2
    assert found[study.id]["cells"]["total"] == len(grid.cells(config))
    as_list = json.loads(call("runs", "--json").out)
    assert {row["study"] for row in as_list} == {None}  # none of them names one
    assert "cells" not in as_list[0]
    third = create(root, "pretrain", config.pretrain, study=study.id)
    as_list = json.loads(call("runs", "--filter", f"study={study.id}", "--json").out)
    assert [(row["id"], row["study"]) for row in as_list] == [(third.id, study.id)]
