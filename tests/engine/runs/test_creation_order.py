"""The order in which runs were made: kept although the clock is set between two of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.files import replace_file
from engine.history.history import History
from engine.runs import RunFolder, create, find, folders
from engine.runs.creation_order import NEWEST_NAME, place_of
from engine.runs.record import encode_record

START = 1.7e9
HOUR, TEN_YEARS = 3600.0, 10 * 365.25 * 86_400


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock says when a run is made."""
    now = [START]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def made(place: Path) -> RunFolder:
    return create(place, "pretrain", PretrainConfig())


@pytest.mark.parametrize("jump", [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 0.0])
def test_the_newest_run_is_the_one_that_was_made_last(
    tmp_path: Path, now: list[float], jump: float
) -> None:
    runs = []
    for moment in (START, START + jump, START + 5.0, START + jump, START + 6.0, START - 1.0):
        now[0] = moment
        runs.append(made(tmp_path))
        assert runs[-1].record().created == moment, "people see what the clock said"
        assert find(tmp_path, "latest") == runs[-1]
    ids = [run.id for run in runs]
    assert [entry.id for entry in History(tmp_path).list()] == ids[::-1]
    assert [entry.id for entry in History(tmp_path).list(sort="created")] == ids
    assert sorted(ids, key=lambda id_: place_of(RunFolder(tmp_path / id_).record())) == ids


def test_a_clock_that_goes_on_leaves_nothing_in_the_record(
    tmp_path: Path, now: list[float]
) -> None:
    for _ in range(3):
        now[0] += 1e-3
        assert made(tmp_path).record().order is None


def test_runs_that_were_there_before_this_was_noted_are_older(
    tmp_path: Path, now: list[float]
) -> None:
    now[0] = START + HOUR  # by an earlier version, under a clock that was ahead
    old = made(tmp_path)
    (tmp_path / NEWEST_NAME).unlink()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("garbage")
    now[0] = START
    new = made(tmp_path)
    assert find(tmp_path, "latest") == new
    assert place_of(new.record()) > place_of(old.record())


def test_a_run_from_another_folder_stands_where_its_clock_puts_it(
    tmp_path: Path, now: list[float]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    first = made(here)
    now[0] += 10
    copied = made(there)
    copied.path.rename(here / copied.id)
    assert find(here, "latest").id == copied.id
    now[0] += 10
    last = made(here)
    assert [entry.id for entry in History(here).list()] == [last.id, copied.id, first.id]


@pytest.mark.parametrize("data", [b"", b"garbage", b"nan\n", b"inf\n", b"1e308\n", b"1" * 400])
def test_a_note_that_is_no_number_is_made_anew(
    tmp_path: Path, now: list[float], data: bytes
) -> None:
    old = made(tmp_path)
    (tmp_path / NEWEST_NAME).write_bytes(data)
    now[0] -= HOUR
    new = made(tmp_path)
    assert find(tmp_path, "latest") == new
    assert new.record().order == pytest.approx(old.record().created, abs=1e-3)
    assert float((tmp_path / NEWEST_NAME).read_text()) == new.record().order


def test_a_note_that_leads_elsewhere_is_not_followed(tmp_path: Path, now: list[float]) -> None:
    mine, place = tmp_path / "paper.tex", tmp_path / "runs"
    mine.write_text("1e9")
    place.mkdir()
    (place / NEWEST_NAME).symlink_to(mine)
    run = made(place)
    assert mine.read_text() == "1e9"
    assert find(place, "latest") == run


def test_dates_that_are_no_dates_stop_nobody(tmp_path: Path, now: list[float]) -> None:
    odd = made(tmp_path)
    for created in (-6e10, -5.0, 0.0, 6e10):
        (tmp_path / NEWEST_NAME).unlink(missing_ok=True)
        record = odd.record()
        record.created = created
        replace_file(odd.record_path, encode_record(record))
        newest = made(tmp_path)
        assert find(tmp_path, "latest") == newest
    assert len(folders(tmp_path)) == 5
