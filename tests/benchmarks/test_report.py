"""The report's tables say what was measured: each is its result's, and a changed figure shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from . import report
from .report import REPORT, ResultError, load, table, written

MADE_UP: dict[str, Any] = {
    "command": ["moco-tui study"],
    "hardware": "a machine",
    "torch": "2.14",
    "date": "2026-11",
    "repeats": "three seeds",
    "columns": [
        {"title": "what", "cell": "{name}"},
        {"title": "top-1, %", "cell": ["{top1:.1f} ({low:.1f} - {high:.1f})", "{top1:.1f}"]},
        {"title": "less", "cell": "{less:+.1f}"},
    ],
    "values": [
        {"name": "one", "top1": 47.6, "low": 46.2, "high": 49.0},
        {"name": "two", "top1": 50, "less": 2.4, "bold": True},
        {"name": "three", "less": -0.25},
    ],
}
TABLE = """\
| what | top-1, % | less |
|---|---|---|
| one | 47.6 (46.2 - 49.0) | |
| **two** | **50.0** | **+2.4** |
| three | | -0.2 |

<sub>a machine; torch 2.14, 2026-11; three seeds.</sub>
"""


def test_every_table_of_the_report_is_what_its_result_gives() -> None:
    text = REPORT.read_text()
    results = load()
    assert len(results) >= 5
    stale = list(report.differing(text, written(text, results)))
    assert stale == [], "python tests/benchmarks/report.py --write"


def test_every_result_says_how_it_is_measured_anew_and_the_report_does_too() -> None:
    text = " ".join(REPORT.read_text().replace("\\\n", " ").split())
    for name, result in load().items():
        assert result["command"], name
        for line in result["command"]:
            assert " ".join(line.split()) in text, f"{name}: {line}"
        for fact in ("hardware", "date", "repeats"):
            assert result[fact], name


def test_a_table_is_told_from_numbers() -> None:
    assert table(MADE_UP) == TABLE


def test_rows_stand_side_by_side() -> None:
    lines = table({**MADE_UP, "beside": 2}).splitlines()
    assert lines[:4] == [
        "| what | top-1, % | less | | what | top-1, % | less |",
        "|---|---|---|---|---|---|---|",
        "| one | 47.6 (46.2 - 49.0) | | | three | | -0.2 |",
        "| **two** | **50.0** | **+2.4** | | | | |",
    ]


def test_a_value_that_changes_changes_the_report_and_nothing_else(tmp_path: Path) -> None:
    before = f"# A\n\n<!-- table: a -->\n{TABLE}<!-- end of table: a -->\n\nmore\n"
    assert written(before, {"a": MADE_UP}) == before
    again = json.loads(json.dumps(MADE_UP))
    again["values"][0]["top1"] = 48.0
    after = written(before, {"a": again})
    assert after == before.replace("47.6", "48.0")
    assert list(report.differing(before, after)) == ["a"]


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("no table\n", {"a": MADE_UP}),
        ("<!-- table: a -->\n<!-- end of table: a -->\n", {}),
        ("<!-- table: a -->\n<!-- end of table: a -->\n" * 2, {"a": MADE_UP}),
        ("<!-- table: a -->\n<!-- end of table: b -->\n", {"a": MADE_UP}),
        ("<!-- table: a -->\n<!-- end of table: a -->\n", {"a": MADE_UP | {"values": [{"x": 1}]}}),
    ],
    ids=["no place", "no result", "twice", "another end", "a value that is not shown"],
)
def test_table_and_result_belong_together(text: str, results: dict[str, Any]) -> None:
    with pytest.raises(ResultError):
        written(text, results)


def test_a_result_without_its_facts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"values": []}))
    with pytest.raises(ResultError, match=r"a\.json does not say: command, hardware"):
        load(tmp_path)


def test_a_script_keeps_what_it_has_measured(tmp_path: Path) -> None:
    measured = report.spread("top1", [3.0, 1.0, 2.5])
    assert measured == {"top1": 2.5, "top1_low": 1.0, "top1_high": 3.0}
    made = MADE_UP | {"values": [{"name": "one", "top1": 2.5, "low": 1.0, "high": 3.0}]}
    path = report.keep("new", made, tmp_path)
    assert load(tmp_path) == {"new": made}
    assert '\n    {"name": "one", "top1": 2.5, "low": 1.0, "high": 3.0}\n' in path.read_text()
    with pytest.raises(ResultError, match="torch"):
        report.keep("new", {name: made[name] for name in made if name != "torch"}, tmp_path)
    with pytest.raises(ResultError, match="no column shows what"):
        report.keep("new", made | {"values": [{"what": "x"}]}, tmp_path)
