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


@pytest.mark.parametrize("key", ["top1", "best", "loss", "done", "labels", "trained", "K", "data"])
def test_runs_without_the_value_come_last_in_both_directions(key: str) -> None:
    without = [entry("1", kind="odd"), entry("2", kind="odd")]
    runs = [*without, *RUNS]
    up, down = (sort_entries(runs, sign + key) for sign in ("", "-"))
    have = [
        e for e in up if any(v not in ("", None) and v == v for v in keys.resolve(key, ())[1](e))
    ]
    assert 0 < len(have) < len(runs) - 1
    assert up[: len(have)] == have
    assert {e.id for e in down[: len(have)]} == {e.id for e in have}
    figure = keys.resolve(key, ()).values
    if len({tuple(figure(e)) for e in have}) > 1:
        assert [figure(e) for e in down[: len(have)]] == [figure(e) for e in reversed(have)]


def test_states_are_sorted_by_what_needs_a_look() -> None:
    assert [e.status for e in sort_entries(RUNS, "state")] == [
        "running",
        "failed",
        "damaged",
        "finished",
    ]


def test_a_share_of_the_labels_is_found_by_the_per_cent_that_are_shown() -> None:
    for percent in range(1, 101):
        run = entry("p", kind="probe", config={"label_fraction": percent / 100})
        for text in (f"labels={percent}", f"labels<={percent}%", f"label_fraction<={percent}%"):
            assert parse_filter(text)(run), text
            assert not parse_filter(f"labels<{percent}")(run)


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
