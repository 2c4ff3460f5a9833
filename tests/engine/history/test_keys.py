"""Keys of the filter language and of sorting."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engine.errors import ConfigError
from engine.history import keys
from engine.history.filters import COLUMNS, parse_filter, sort_entries

from .runs_to_filter import NOW, RUNS, entry


@pytest.fixture(autouse=True)
def _the_clock_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs below are made when the tests are collected, minutes before the last one runs."""
    monkeypatch.setattr(keys, "time", SimpleNamespace(time=lambda: NOW))


@pytest.mark.parametrize("key", COLUMNS)
def test_every_column_can_be_compared_and_sorted_by(key: str) -> None:
    parse_filter(f"{key}:1")(RUNS[0])
    for sort in (key, f"-{key}"):
        assert sorted(e.id for e in sort_entries(RUNS, sort)) == sorted(e.id for e in RUNS)


def test_sorting_is_stable_and_puts_the_missing_last() -> None:
    assert [e.id[0] for e in sort_entries(RUNS, "loss")] == ["k", "b", "p", "z"]
    assert [e.id[0] for e in sort_entries(RUNS, "-knn")] == ["k", "b", "p", "z"]
    assert [e.id[0] for e in sort_entries(RUNS, "knn")] == ["b", "k", "p", "z"]
    assert sort_entries(RUNS, "-tag")[0].id[0] == "k"
    mixed = [entry("1", created=1.0), entry("3", created=3.0), entry("2", created=2.0)]
    assert [e.id for e in sort_entries(mixed, "kind")] == ["3", "2", "1"]
    with pytest.raises(ConfigError, match="is no key"):
        sort_entries(RUNS, "--step")


def test_a_key_stands_for_a_column_a_setting_or_a_metric() -> None:
    large = RUNS[0]
    for key, value in [
        ("state", "finished"),
        ("queue_size", 16384),
        ("moco.queue_size", 16384),
        ("knn", 61.5),
        ("best.knn", 63.0),
    ]:
        assert list(keys.resolve(key, ())[1](large)) == [value], key


@pytest.mark.parametrize(
    ("key", "hint"),
    [("queue_sise", r"did you mean queue_size\?$"), ("%%", r"or a metric such as knn\.$")],
)
def test_a_key_that_no_run_has_is_refused_with_a_hint(key: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"is no key to filter or sort by: .*{hint}"):
        keys.resolve(key, ())
