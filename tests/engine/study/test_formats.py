"""Reports of studies of version 0.1 are those that the version before axes printed, byte for byte.

``tests/fixtures/v01/reports`` holds what it printed. One sentence of the protocol says more since,
and every study with a training from scratch is compared with it: ``without_scratch`` is the rest.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec
import pytest

from engine.config.missing_settings import read_config
from engine.config.schema import StudyConfig
from engine.history.history import History
from engine.runs import RunFolder
from engine.runs.data_identity import last_identity
from engine.runs.ownership import owned_ids, users_of
from engine.study.formats import CsvPart, to_csv, to_markdown
from engine.study.from_scratch import crossing_sentences
from engine.study.report import Report, reference_setting, report
from engine.study.study_state import state_from_entries
from moco_tui.cli.study_report import report_text

V01 = Path(__file__).parents[2] / "fixtures" / "v01"
ADDED: dict[CsvPart, int] = {"cells": 1, "estimates": 1, "comparisons": 2}
"""Columns behind those of then, by the parts that there were."""
CONDITIONS = (
    "They say nothing about other test images or other data.",
    "They are conditional on the labelled subsets, whose seeds are fixed, and on the test images: "
    "they say nothing about other subsets, other test images or other data.",
)


def old(name: str) -> str:
    return (V01 / "reports" / name).read_text(encoding="utf-8")


def report_now(name: str) -> Report:
    history = History(V01 / "runs", read_only=True)
    entries = history.list()
    entry = next(e for e in entries if e.kind == "study" and e.name == f"{name} study")
    folder = RunFolder(V01 / "runs" / entry.id)
    record = folder.record()
    config = read_config("study", record.config, "It")
    assert isinstance(config, StudyConfig)
    first = owned_ids(entries, V01 / "runs", users_of(folder.path))
    state = state_from_entries(config, entries, last_identity(record.data), first=first)
    return report(config, state)


def without_scratch(now: Report) -> Report:
    """A report without what it says since then of training from scratch."""
    added = crossing_sentences(now.crossings, reference_setting(now.config)[0])
    return msgspec.structs.replace(
        now,
        comparisons=tuple(c for c in now.comparisons if c.scope != "scratch"),
        crossings=(),
        answer=tuple(s for s in now.answer if s not in added),
        protocol=tuple(s for s in now.protocol if not s.startswith("Against training from")),
    )


@pytest.mark.parametrize("name", ["finished", "unfinished"])
def test_the_tables_comparisons_and_sentences_are_those_of_then(name: str) -> None:
    now = without_scratch(report_now(name))
    text = report_text(now, width=None) + "\n"
    then, _, _ = old(f"{name}.txt").partition("\nprotocol\n")
    assert text.partition("\nprotocol\n")[0] == then
    assert to_markdown(now) == old(f"{name}.md").replace(*CONDITIONS)


@pytest.mark.parametrize("name", ["finished", "unfinished"])
@pytest.mark.parametrize("part", ADDED)
def test_the_columns_of_a_csv_are_those_of_then_with_some_behind(name: str, part: CsvPart) -> None:
    now = list(csv.reader(io.StringIO(to_csv(without_scratch(report_now(name)), part))))
    cut = [line[: -ADDED[part]] for line in now]
    assert cut == list(csv.reader(io.StringIO(old(f"{name}-{part}.csv"))))
    assert now[0][-ADDED[part] :] == ["variant", "reference"][: ADDED[part]]
