"""The tables of ``REPORT.md`` are written from the results beside it, so that no figure drifts.

    python tests/benchmarks/report.py            # says which tables are not what their results give
    python tests/benchmarks/report.py --write    # writes them

A table stands between two comments that name ``results/NAME.json``. That file holds one measurement
of one machine and one torch, and how its rows are told:

    command    list of the lines that measure it anew; they stand in the report too
    hardware   the machine, and whether it was quiet
    torch      its version; "" where none took part, null where it was not noted
    date       day or month
    repeats    what was repeated how often, and what an interval is over
    columns    list of {"title": ..., "cell": ...}; a cell is a format of the values of a row
               (``"{top1:.1f} ({low:.1f} - {high:.1f})"``), or a list of which the first counts
               whose values are all there; without one it stays empty
    values     list of rows: names, numbers, ``"bold": true`` for a row that stands out
    beside     how many parts of the rows stand side by side (1 if it is missing)

A new measurement replaces the file, or its values and facts; the table follows. A script of this
folder writes its file itself (``keep``; ``viewers.py --keep NAME``, ``study_result.py NAME``).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import string
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPORT = HERE / "REPORT.md"
RESULTS = HERE / "results"
FACTS = ("command", "hardware", "torch", "date", "repeats", "columns", "values")
_NAME = r"[a-z0-9-]+"
_BLOCK = re.compile(rf"<!-- table: ({_NAME}) -->\n(.*?)<!-- end of table: ({_NAME}) -->", re.DOTALL)


class ResultError(Exception):
    """Results that no table can be made of; the message names file and fault."""


def load(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """All results by name.

    Raises:
        ResultError: when one lacks a fact.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        missing = [fact for fact in FACTS if fact not in result]
        if missing:
            raise ResultError(f"{path.name} does not say: {', '.join(missing)}.")
        found[path.stem] = result
    return found


def keep(name: str, result: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Writes a result, a row a line, so that a new measurement is a difference one can read.

    Raises:
        ResultError: when it lacks a fact, or no table can be made of it.
    """
    missing = [fact for fact in FACTS if fact not in result]
    if missing:
        raise ResultError(f"{name} does not say: {', '.join(missing)}")
    table(result)
    facts = []
    for key, value in result.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            rows = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in value)
            text = f"[\n{rows}\n  ]"
        facts.append(f"  {json.dumps(key)}: {text}")
    path = folder / f"{name}.json"
    path.write_text("{\n" + ",\n".join(facts) + "\n}\n", encoding="utf-8")
    return path


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Median, least and most of repeated measurements, as values of a row."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return {name: middle, f"{name}_low": least, f"{name}_high": most}


def table(result: Mapping[str, Any]) -> str:
    """The table of a result in Markdown, with a line on where its figures are from.

    Raises:
        ResultError: when a row has a value that no column shows, or none that one can format.
    """
    columns = result["columns"]
    unknown = {
        name
        for row in result["values"]
        for name in row
        if name != "bold" and name not in _used(columns)
    }
    if unknown:
        raise ResultError(f"no column shows {', '.join(sorted(unknown))}")
    rows = [[_cell(column["cell"], row) for column in columns] for row in result["values"]]
    titles = [column["title"] for column in columns]
    parts = int(result.get("beside", 1))
    length = math.ceil(len(rows) / parts)
    lines, head = [], _beside([titles] * parts)
    for i in range(length):
        blank = [""] * len(titles)
        lines.append(
            _beside([rows[j] if j < len(rows) else blank for j in range(i, length * parts, length)])
        )
    text = "\n".join([_line(head), "|" + "---|" * len(head), *map(_line, lines)])
    return f"{text}\n\n<sub>{source(result)}</sub>\n"


def source(result: Mapping[str, Any]) -> str:
    """One line: machine, torch, day, repeats."""
    version = result["torch"]
    torch = f"torch {version}, " if version else "" if version == "" else "torch not noted, "
    return f"{result['hardware']}; {torch}{result['date']}; {result['repeats']}."


def written(report: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The report with every table as its results give it.

    Raises:
        ResultError: when a table and a result do not belong together one to one.
    """
    named = [found[1] for found in _BLOCK.finditer(report)]
    if sorted(named) != sorted(results):
        strange = sorted(set(named) ^ set(results)) or sorted(named)
        raise ResultError(f"not one table for one result: {', '.join(strange)}")

    def replaced(found: re.Match[str]) -> str:
        name, end = found[1], found[3]
        if name != end:
            raise ResultError(f"the table {name} ends as {end}")
        try:
            text = table(results[name])
        except ResultError as error:
            raise ResultError(f"{name}.json: {error}") from None
        return f"<!-- table: {name} -->\n{text}<!-- end of table: {name} -->"

    return _BLOCK.sub(replaced, report)


def _cell(formats: str | Sequence[str], row: Mapping[str, Any]) -> str:
    for text in [formats] if isinstance(formats, str) else formats:
        if _fields(text) <= row.keys():
            shown = text.format_map(row)
            return f"**{shown}**" if row.get("bold") and shown else shown
    return ""


def _fields(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


def _used(columns: Sequence[Mapping[str, Any]]) -> set[str]:
    cells = [column["cell"] for column in columns]
    formats = [[cell] if isinstance(cell, str) else cell for cell in cells]
    return {field for texts in formats for text in texts for field in _fields(text)}


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _beside(parts: Sequence[Sequence[str]]) -> list[str]:
    """Rows of several parts as one, an empty column between two."""
    joined = list(parts[0])
    for part in parts[1:]:
        joined += ["", *part]
    return joined


def differing(before: str, after: str) -> Iterator[str]:
    """The names of the tables that differ."""
    new = {found[1]: found[2] for found in _BLOCK.finditer(after)}
    return (found[1] for found in _BLOCK.finditer(before) if found[2] != new[found[1]])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the tables into the report")
    given = parser.parse_args()
    before = REPORT.read_text(encoding="utf-8")
    try:
        after = written(before, load())
    except ResultError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    names = list(differing(before, after))
    if given.write and names:
        REPORT.write_text(after, encoding="utf-8")
    print("\n".join(f"{name}: {'written' if given.write else 'not as measured'}" for name in names))
    return 1 if names and not given.write else 0


if __name__ == "__main__":
    sys.exit(main())
