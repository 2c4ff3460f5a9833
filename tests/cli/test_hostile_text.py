"""Texts and records of others: no terminal obeys them, and one of them stops no command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.runs import RunFolder
from engine.runs.record import decode_record
from engine.text import csv_cell, one_line, printable_json
from moco_tui.present import run_summary
from moco_tui.present.baseline import RunBaseline
from moco_tui.present.pace import RunPace
from moco_tui.present.run_list import RunList
from moco_tui.present.run_order import arrange
from moco_tui.present.run_preview import PreviewReader
from moco_tui.present.run_rows import CELLS, RunRow

from ..engine.odd_records import BY_HAND, HOSTILE, odd_records, valid
from .conftest import Call, Called

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"


def obeyed(text: str, allowed: str = "\n") -> str:
    """The characters in a text that a terminal, or a reader of its direction, would obey."""
    return "".join(
        c
        for c in text
        if (ord(c) < 0x20 and c not in allowed)
        or 0x7F <= ord(c) < 0xA0
        or c in BIDI
        or 0xD800 <= ord(c) < 0xE000
    )


def hostile(value: Any, key: str = "") -> Any:
    """A copy in which every text is hostile, but for those that have to be one of a few."""
    if isinstance(value, str):
        return value if key in ("kind", "status", "parent") else f"{value}{HOSTILE}"
    if isinstance(value, list):
        return [hostile(item) for item in value]
    if isinstance(value, dict):
        # Settings and fields keep their names, or they would be unknown; unknown ones stand beside.
        made = {name: hostile(item, name) for name, item in value.items()}
        return {**made, f"more{HOSTILE}": HOSTILE} if key in ("config", "facts", "result") else made
    return value


def put(root: Path, name: str, record: Any, *, raw: bytes | None = None) -> RunFolder:
    folder = RunFolder(root / name)
    folder.path.mkdir()
    folder.record_path.write_bytes(json.dumps(record).encode() if raw is None else raw)
    return folder


@pytest.fixture
def folder(root: Path) -> Path:
    """Runs of every kind whose files are hostile in every text."""
    for kind in ("pretrain", "probe", "study"):
        record = valid(kind) | {"parent": "pretrain" if kind == "probe" else ""}
        record["last"] = record["last"] | {f"a/{HOSTILE}/top1": 3.0}
        record["best"] = record["best"] | {f"a/{HOSTILE}/top1": 3.0}
        made = put(root, kind, hostile(record))
        notes = {"schema": 1, "name": HOSTILE, "tags": [HOSTILE, "=1+1"], "note": HOSTILE}
        made.user_path.write_text(json.dumps(notes))
        line = {"step": 1, "epoch": 0.1, "time": 1.7e9, HOSTILE: 1.0, "=1+1": 2.0, "knn/top1": 3}
        made.metrics_path.write_text(json.dumps(line) + "\n")
        made.log_path.write_bytes(HOSTILE.encode() + b"\n\xff\x9b31m\n")
    failed = hostile(valid("pretrain")) | {"status": "failed", "kind": f"future{HOSTILE}"}
    put(root, "failed", failed)
    running = hostile(valid("pretrain")) | {"status": "running"}
    put(root, "lost", running)
    put(root, "damaged", {}, raw=odd_records()[0][1])
    put(root, "misfit", valid("pretrain") | {"config": {"augment": {"order": HOSTILE}}})
    return root


COMMANDS = (
    *(("runs",), ("runs", "--json"), ("runs", "--csv"), ("runs", "--filter", "kind:probe")),
    *((("show", run, *more)) for run in ("pretrain", "probe", "study", "failed", "lost")
      for more in ((), ("--json",), ("--log", "9"))),
    ("show", "misfit"),
    ("compare", "pretrain", "probe"),
    ("compare", "pretrain", "study", "failed", "--json"),
    ("compare", "pretrain", "probe", "failed", "--csv"),
    *(("export", run, "--format", how) for run in ("pretrain", "probe") for how in ("csv", "json")),
    *(("watch", run, *more) for run in ("pretrain", "failed", "lost")
      for more in ((), ("--json",))),
    *(("study", "study", "--show", *more)
      for more in ((), ("--json",), ("--csv",), ("--csv=estimates",), ("--csv=crossings",),
                   ("--csv=pairs",), ("--markdown",))),
    ("study", "study", "--dry-run"),
    ("tag", "pretrain"),
    ("note", "pretrain"),
    ("show", f"no{HOSTILE}".replace("\x00", "")),
    ("runs", "--filter", f"no{HOSTILE}>1".replace("\x00", "")),
    ("resume", "misfit"),
    ("resume", "pretrain"),
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: one_line(" ".join(command))[:40])
def test_nothing_that_a_terminal_obeys_is_printed(
    call: Call, folder: Path, command: tuple[str, ...]
) -> None:
    called = call(*command)
    assert called.out or called.err
    assert obeyed(called.out) == ""
    assert obeyed(called.err) == ""
    assert "Traceback" not in called.err
    if "--json" in command and called.out:
        for line in called.out.splitlines() if "watch" in command else [called.out]:
            json.loads(line)


@pytest.mark.parametrize("command", [("runs", "--csv"), ("compare", "pretrain", "probe", "--csv")])
def test_no_cell_is_a_formula(call: Call, folder: Path, command: tuple[str, ...]) -> None:
    put(folder, "=formula", valid("pretrain") | {"name": "=HYPERLINK(1)", "error": "@SUM(1)"})
    cells = [cell for row in csv.reader(io.StringIO(call(*command).out)) for cell in row]
    assert cells
    assert [cell for cell in cells if cell[:1] in tuple("=+@\t\r")] == []
    for cell in cells:
        assert not cell.startswith("-") or float(cell) < 0  # a negative number, and no text


def previewed(root: Path, row: RunRow, rows: Mapping[str, RunRow]) -> str:
    """What the preview of a run says."""
    base = RunBaseline(rows, "good")
    found = PreviewReader(root).read(row, rows, base, lambda record: RunPace())
    lines = [*found.head, *(line for part in found.parts.values() for line in part.lines(60))]
    return "\n".join("".join(text for text, _ in line) for line in lines)


def test_the_rows_of_the_app_obey_nothing(folder: Path) -> None:
    runs = RunList(folder)
    runs.refresh()
    assert set(runs.rows) >= {"pretrain", "probe", "study", "failed", "lost", "damaged", "misfit"}
    for row, _ in arrange(runs.rows.values()):
        for text in (*(cell(row, 0.0) for cell in CELLS.values()), row.error, row.note):
            assert obeyed(text, "") == ""
        assert obeyed(str(run_summary.line(row)) + previewed(folder, row, runs.rows)) == ""


def test_the_index_is_read_as_the_records_are(call: Call, folder: Path) -> None:
    """Someone else may have written it: what no record could have made is made anew."""
    call("runs")
    index = folder / "history.json"
    text = index.read_text()
    for change in (("finished", "fin\\u009b31m"), ('"step":20', '"step":-5'), ("a name", "a\\n")):
        index.write_text(text.replace(*change))
        assert index.read_text() != text
        called = call("runs")
        assert called.code == 0
        assert obeyed(called.out + called.err) == ""
        assert "is made anew" in called.err.lower()


# ------------------------------------------------------------------------------- odd records


def sound(called: Called, codes: tuple[int, ...] = (0, 2)) -> Called:
    assert called.code in codes, called
    assert "Traceback" not in called.err
    assert obeyed(called.out + called.err) == ""
    return called


def test_one_odd_record_stops_no_command(call: Call, root: Path) -> None:
    put(root, "good", valid("pretrain"))
    put(root, "study", valid("study"))
    odd = odd_records()
    for name, data in odd[:BY_HAND] + odd[BY_HAND::40]:
        folder = RunFolder(root / "odd")
        folder.path.mkdir(exist_ok=True)
        folder.record_path.write_bytes(data)
        listed = sound(call("runs"), (0,)).out
        assert {"good", "study", "odd"} <= {line.split()[0] for line in listed.splitlines()}, name
        sound(call("show", "odd"))
        sound(call("compare", "good", "odd"))
        sound(call("export", "odd", "--format", "json"))
        if '"study"' in str(data[:60]):
            sound(call("study", "odd", "--show"))
        runs = RunList(root, read_only=True)
        runs.refresh()
        rows = [row for row, _ in arrange(runs.rows.values())]
        assert {row.id for row in rows} == {"good", "study", "odd"}, name
        for row in rows:
            assert obeyed(previewed(root, row, runs.rows)) == "", name
            [cell(row, 0.0) for cell in CELLS.values()]
    sound(call("study", "study", "--show"), (0,))


def test_all_odd_records_at_once(call: Call, root: Path) -> None:
    put(root, "good", valid("pretrain"))
    odd = odd_records()
    for number, (_, data) in enumerate(odd[:BY_HAND] + odd[BY_HAND::10]):
        if len(data) < 1_000_000:
            put(root, f"odd{number}", {}, raw=data)
    listed = sound(call("runs", "--json"), (0,))
    assert {run["id"] for run in json.loads(listed.out)} == {
        path.name for path in root.iterdir() if path.is_dir()
    }
    sound(call("study", "--show", "--csv"), (0,))
    sound(call("runs", "--sort", "K", "--filter", "K>1 or not top1>3"), (0,))


# ------------------------------------------------------------------------------------ the rest


def test_notes_of_any_size_are_bounded(call: Call, root: Path) -> None:
    folder = put(root, "good", valid("pretrain"))
    notes = {"schema": 1, "note": "n" * 900_000, "tags": [f"t{i}" for i in range(5000)]}
    folder.user_path.write_text(json.dumps(notes))
    assert (len(folder.user().note), len(folder.user().tags)) == (1000, 1000)
    folder.user_path.write_text(json.dumps(notes | {"note": "n" * 50_000_000}))
    called = sound(call("show", "good"), (0,))
    assert "more than the 1,048,576 that such a file may have" in called.err


def test_the_documents_mean_the_same() -> None:
    for text in (HOSTILE, "\U000e0001", "\ud800", "plain", "\u3000"):
        document = printable_json(json.dumps({text: [text]}, ensure_ascii=False, indent=1))
        assert document.replace("\n", "").isprintable()
        assert json.loads(document) == {text: [text]}


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-cmd", "'-cmd"),
        ("@SUM", "'@SUM"),
        ("\t=1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-1.5", "-1.5"),
        ("-Infinity", "-Infinity"),
        ("-1e-05", "-1e-05"),
        (-1.5, -1.5),
        (None, None),
        ("a=b", "a=b"),
    ],
)
def test_cells_that_begin_as_formulas(value: object, cell: object) -> None:
    assert csv_cell(value) == cell


def test_a_record_keeps_what_it_may(root: Path) -> None:
    """What is looked up by its name is not changed beyond need: a path may hold such spaces."""
    record = valid("pretrain")
    record["config"]["data"]["source"] = (
        "folder:/home/\u65e5\u672c\u3000a\u00a0b \U0001f468\u200d\U0001f469"
    )
    read = decode_record(json.dumps(record).encode(), root / "x" / "run.json")
    assert read.config["data"]["source"] == record["config"]["data"]["source"]
