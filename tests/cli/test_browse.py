"""Lists, one run, and runs beside each other."""

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
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.presets import resolve
from engine.config.schema import PretrainConfig
from engine.history.entry import Entry
from engine.runs import create
from moco_tui.cli.browse import listing, nested
from moco_tui.cli.common import cut, table, width_of
from moco_tui.cli.outcome import result_table

from .conftest import RESULT, Call, begin, probed, trained


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
    for title in ("id", "name", "state", "kind", "data", "augment", "labels", "step", "tags"):
        assert len(ids(call("runs", "--sort", title, "--json"))) == 4
        assert len(ids(call("runs", "--sort", f"-{title}", "--json"))) == 4
    assert ids(call("runs", "--sort", "labels", "--json"))[0] == probe
    called = call("runs", "--sort", "nonsense")
    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)


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
    assert runs[folder.id]["augmentations"] == ["crop", "rot15", "blur", "color_jitter"]
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
    lines = listing(entries, width).splitlines()
    assert len(lines) == 4
    assert max(width_of(line) for line in lines) <= max(width, 60)
    for entry, line in zip(entries, lines[1:], strict=True):
        assert line.startswith(entry.id)
        assert "handed-over" in line
    if width >= 80:
        assert all("99.9" in line for line in lines[1:])
    if width == 300:
        assert "another-tag" in lines[1]


def test_a_ring_of_parents_loses_nobody() -> None:
    ring = [Entry(id=i, parent=p) for i, p in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "gone"))]
    found = nested([*ring, Entry(id="e", parent="d")])
    assert sorted(entry.id for entry, _ in found) == ["a", "b", "c", "d", "e"]
    assert {entry.id: depth for entry, depth in found}["e"] == 1


@pytest.mark.parametrize("columns", [80, 160])
def test_runs_in_a_real_terminal(root: Path, columns: int) -> None:
    folder = trained(root, name="a name that is much longer than there is room for it " * 3)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
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
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
            "PYTHONIOENCODING": "ascii",
        },
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


# --------------------------------------------------------------------------------------------
# show


def test_show_tells_the_facts_and_what_differs_from_the_preset(call: Call, root: Path) -> None:
    folder = trained(
        root, name="first", values={"moco.queue_size": 777, "optim.milestones": [3, 5]}
    )
    call("note", folder.id, "a", "note")
    out = call("show", folder.id, "--log", "5").out
    for text in (
        "first",
        "finished",
        "preset quick",
        "step 3 of 40 (7.5 %)",
        "a note",
        str(folder.path),
        "15.250",
        "a line of the log",
    ):
        assert text in out
    after = out.partition("differs from preset quick")[2].partition("\n\n")[0].splitlines()[1:]
    assert [line.split() for line in after] == [
        ["moco.queue_size", "777", "2048"],
        ["optim.milestones", "3,", "5", "120,", "160"],
    ]
    assert "a line of the log" not in call("show", folder.id).out


@pytest.mark.parametrize("preset", ["quick", "notebook", "resnet18-moco"])
def test_a_run_with_the_values_of_its_preset_differs_in_nothing(
    call: Call, root: Path, preset: str
) -> None:
    config = resolve(PretrainConfig, preset_name=preset)
    folder = create(root, "pretrain", config, preset=preset)
    assert f"settings: those of preset {preset}" in call("show", folder.id).out
    facts = json.loads(call("show", folder.id, "--json").out)
    assert facts["differs"] == {}
    assert facts["config"] == json.loads(msgspec.json.encode(config))


def test_show_of_a_probe_prints_its_table(call: Call, root: Path) -> None:
    parent = trained(root)
    probe = probed(root, parent.id)
    out = call("show", probe.id).out
    assert result_table(RESULT) in out
    assert f"encoder of  {parent.id}" in out
    facts = json.loads(call("show", probe.id, "--json").out)
    assert facts["result"]["rows"] == RESULT["rows"]


def test_show_of_an_unfinished_result_and_of_another_version(call: Call, root: Path) -> None:
    folder = create(root, "probe", PretrainConfig(), parent="gone")
    with begin(folder) as owner:
        owner.result({"part\x1b": [1, 2]})
        owner.transition("failed", error="the\x1b reason")
    called = call("show", folder.id)
    assert called.code == 0
    assert "1, 2" in called.out
    assert "the? reason" in called.out
    assert "\x1b" not in called.out
    assert "moco.queue_size" in called.out  # no setting of a probe: it differs from the defaults


def test_show_works_although_what_people_said_is_damaged(call: Call, root: Path) -> None:
    folder = trained(root, name="first")
    folder.user_path.write_text("{")
    called = call("show", folder.id)
    assert called.code == 0
    assert "first" in called.out
    assert "damaged" in called.err
    assert called.err.count("\n") == 1
    assert json.loads(call("show", folder.id, "--json").out)["user"]["tags"] == []


def test_show_json_has_no_bare_nan(call: Call, root: Path) -> None:
    folder = trained(root, losses=(1.0, math.nan))
    out = call("show", folder.id, "--json", "--log", "1").out
    facts = json.loads(out, parse_constant=lambda name: pytest.fail(f"bare {name}"))
    assert facts["last"]["train/loss"] == "NaN"
    assert facts["best"]["train/loss"] == 1.0
    assert facts["status"] == "finished"
    assert len(facts["log"]) == 1


def test_show_model_lists_layers_shapes_and_parameters(call: Call, root: Path) -> None:
    folder = create(root, "pretrain", PretrainConfig())  # the notebook's encoder
    rows = json.loads(call("show", folder.id, "--model", "--json").out)
    assert rows[-1]["parameters"] == 356_128
    assert sum(row["parameters"] for row in rows[:-1]) == 356_128
    assert "356,128" in call("show", folder.id, "--model").out
    probe = probed(root, folder.id)
    assert call("show", probe.id, "--model").out == call("show", folder.id, "--model").out
    orphan = probed(root, "gone")
    called = call("show", orphan.id, "--model")
    assert (called.code, called.err.count("\n")) == (2, 1)


# --------------------------------------------------------------------------------------------
# compare


def test_compare_lists_only_what_differs(call: Call, root: Path) -> None:
    a = trained(root, values={"moco.queue_size": 512}, top1=40.0, losses=(9.0, 8.0)).id
    b = trained(root, values={"optim.lr": 0.01}, top1=42.5, losses=(9.0, 8.5)).id
    facts = json.loads(call("compare", a, b, "--json").out)
    assert [run["id"] for run in facts["runs"]] == [a, b]
    assert facts["config"] == {"moco.queue_size": [512, 2048], "optim.lr": [0.06, 0.01]}
    metrics = {(row["metric"], row["value"]): row for row in facts["metrics"]}
    assert metrics["train/loss", "last"]["values"] == [8.0, 8.5]
    assert metrics["train/loss", "last"]["differences"] == [0.0, 0.5]
    assert metrics["train/loss", "last"]["verdicts"] == [None, "worse"]
    assert metrics["knn/top1", "best"]["verdicts"] == [None, "better"]
    assert metrics["train/lr", "last"]["verdicts"] == [None, None]
    out = call("compare", a, b).out
    assert "moco.queue_size" in out
    assert "augment.crop.enabled" not in out
    assert "+2.500  better" in out
    assert "+0.5000  worse" in out


def test_compare_of_probes_lays_their_results_side_by_side(call: Call, root: Path) -> None:
    parent = trained(root).id
    a, b = probed(root, parent, head="linear").id, probed(root, parent).id
    facts = json.loads(call("compare", a, b, "--json").out)
    assert facts["config"] == {"head": ["linear", "logistic"]}
    rows = {row["metric"]: row for row in facts["metrics"]}
    assert rows["pretrained top1"]["values"] == [57.5, 57.5]
    assert rows["pretrained top1"]["verdicts"] == [None, "same"]


def test_compare_of_runs_without_numbers_or_with_nan(call: Call, root: Path) -> None:
    a = create(root, "pretrain", PretrainConfig()).id
    b = create(root, "pretrain", PretrainConfig()).id
    out = call("compare", a, b).out
    assert "The settings are the same." in out
    assert "nothing" in out or "anything" in out
    c, d = trained(root, losses=(math.nan,)).id, trained(root, losses=(3.0,)).id
    facts = json.loads(call("compare", c, d, a, "--json").out)
    row = next(r for r in facts["metrics"] if (r["metric"], r["value"]) == ("train/loss", "last"))
    assert row["values"] == ["NaN", 3.0, None]
    assert row["differences"] == [None, None, None]
    assert row["verdicts"] == [None, None, None]


def test_compare_csv_holds_every_number_in_full(call: Call, root: Path) -> None:
    a = trained(root, losses=(1 / 3,)).id
    b = trained(root, losses=(0.1,), values={"data.limit": 100}).id
    rows = list(csv.DictReader(io.StringIO(call("compare", a, b, "--csv").out)))
    loss = next(row for row in rows if (row["part"], row["name"]) == ("last", "train/loss"))
    assert float(loss[a]) == 1 / 3
    assert float(loss[f"{b} - {a}"]) == 0.1 - 1 / 3
    setting = [row for row in rows if row["part"] == "setting"]
    assert [(row["name"], row[a], row[b]) for row in setting] == [("data.limit", "0", "100")]


def test_compare_needs_two_runs(call: Call, root: Path) -> None:
    a = trained(root).id
    for words in ([a], [a, a], [a, a[:4]]):
        called = call("compare", *words)
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
