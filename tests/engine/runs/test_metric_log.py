"""The metric log: nothing written is lost, nothing half written is read, voided steps are gone."""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runs.metric_log import (
    LINE_LIMIT,
    MOST_NAMES,
    MetricLog,
    last_written,
)
from engine.runs.metric_writer import MetricWriter, encode_line, void_line
from engine.runs.recorded_fields import KEY_LIMIT


def points(log: MetricLog, name: str) -> list[tuple[int, float]]:
    steps, values = log.series(name)
    return list(zip(steps, values, strict=True))


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


# What the log must say, by plain dictionaries: later lines win, a voiding line removes.
def oracle(lines: list[dict[str, Any]]) -> dict[str, dict[int, float]]:
    curves: dict[str, dict[int, float]] = {}
    for line in lines:
        if "void_after" in line:
            for curve in curves.values():
                for step in [s for s in curve if s > line["void_after"]]:
                    del curve[step]
            continue
        for name, value in line.items():
            if name not in ("step", "epoch", "time"):
                curves.setdefault(name, {})[line["step"]] = float(value)
    return {name: curve for name, curve in curves.items() if curve}


def check(log: MetricLog, expected: dict[str, dict[int, float]]) -> None:
    assert set(log.names()) == set(expected)
    for name, curve in expected.items():
        found = points(log, name)
        assert [s for s, _ in found] == sorted(curve)
        assert all(same(v, curve[s]) for s, v in found)
        assert len(log.epochs(name)) == len(log.times(name)) == len(found)
        last = log.last(name)
        assert last is not None
        assert same(last, curve[max(curve)])


finite_or_not = st.floats(allow_nan=True, allow_infinity=True, width=64)
names = st.sampled_from(["train/loss", "train/lr", "knn/top1", "x y", "π/null", "NaN"])
line = st.one_of(
    st.fixed_dictionaries({"void_after": st.integers(0, 30)}),
    st.builds(
        lambda step, values: {"step": step, "epoch": step / 7, "time": 1e9 + step, **values},
        st.integers(1, 30),
        st.dictionaries(names, finite_or_not, min_size=1, max_size=3),
    ),
)


def encode(entry: dict[str, Any]) -> bytes:
    if "void_after" in entry:
        return void_line(entry["void_after"], 0.0)
    values = {k: v for k, v in entry.items() if k not in ("step", "epoch", "time")}
    return encode_line(entry["step"], entry["epoch"], entry["time"], values)


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(line, max_size=40), cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_a_reader_that_tails_sees_what_a_dictionary_holds(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any]], cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    data = b"".join(map(encode, lines))
    log = MetricLog(path)
    # The file grows by arbitrary pieces, most of which end in the middle of a line.
    for cut in [*sorted(min(c, len(data)) for c in cuts), len(data)]:
        path.write_bytes(data[:cut])
        os.utime(path)
        log.poll()
        whole = data[:cut].count(b"\n")
        check(log, oracle(lines[:whole]))
    fresh = MetricLog(path)
    fresh.poll()
    check(fresh, oracle(lines))


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(line, max_size=15),
    junk=st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=40)), max_size=5),
)
def test_garbage_between_lines_is_skipped_and_never_raises(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[dict[str, Any]],
    junk: list[tuple[int, bytes]],
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    rows = [encode(entry) for entry in lines]
    for at, dirt in junk:
        # What is valid by chance would be data: a bracket in front makes sure that it is not.
        rows.insert(min(at, len(rows)), b"]" + dirt.replace(b"\n", b"") + b"\n")
    path.write_bytes(b"".join(rows))
    log = MetricLog(path)
    log.poll()
    check(log, oracle(lines))
    assert log.skipped == len(junk)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_can_be_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    path.write_bytes(data)
    MetricLog(path).poll()


@pytest.mark.parametrize(
    "row",
    [
        b'{"step": 1.5, "epoch": 0, "time": 0, "a": 1}',
        b'{"step": "1", "epoch": 0, "time": 0, "a": 1}',
        b'{"step": true, "epoch": 0, "time": 0, "a": 1}',
        b'{"step": 99999999999999999999999, "epoch": 0, "time": 0, "a": 1}',
        b'{"step": 1, "epoch": "x", "time": 0, "a": 1}',
        b'{"step": 1, "epoch": 0, "time": 0, "a": null}',
        b'{"step": 1, "epoch": 0, "time": 0, "a": "five"}',
        b'{"step": 1, "epoch": 0, "time": 0, "a": [1]}',
        b'{"void_after": "1"}',
        b"[1, 2]",
        b"17",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_json_but_no_metric_gives_no_point(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    good = [encode_line(s, 0.0, 0.0, {"a": float(s)}) for s in (2, 3)]
    path.write_bytes(good[0] + row + b"\n" + row + b"\n" + good[1])
    log = MetricLog(path)
    log.poll()
    assert points(log, "a") == [(2, 2.0), (3, 3.0)]


def test_non_finite_values_are_json_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        encode_line(1, 0.1, 5.0, {"a": math.nan, "b": math.inf})
        + encode_line(2, 0.2, 6.0, {"a": -math.inf, "b": 1.0})
    )

    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    first = json.loads(path.read_text().splitlines()[0], parse_constant=no_constants)
    assert first == {"step": 1, "epoch": 0.1, "time": 5.0, "a": "NaN", "b": "Infinity"}
    log = MetricLog(path)
    log.poll()
    assert math.isnan(log.series("a")[1][0])
    assert list(log.series("b")[1]) == [math.inf, 1.0]
    assert log.last("a") == -math.inf
    assert log.last("nothing") is None
    assert len(log.series("nothing")[0]) == 0


def test_numbers_of_other_libraries_are_written(tmp_path: Path) -> None:
    class Scalar:
        def __float__(self) -> float:
            return 2.5

    path = tmp_path / "m"
    path.write_bytes(encode_line(1, 0.0, 0.0, {"a": Scalar()}))  # type: ignore[dict-item]
    log = MetricLog(path)
    log.poll()
    assert log.last("a") == 2.5


def test_poll_says_whether_anything_changed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricLog(path)
    assert not log.poll()
    path.write_bytes(encode_line(1, 0.0, 0.0, {"a": 1.0}) + b'{"step": 2, "ep')
    assert log.poll()
    assert not log.poll()
    with path.open("ab") as file:
        file.write(b'och": 0, "time": 0, "a": 2}\n')
    assert log.poll()
    assert points(log, "a") == [(1, 1.0), (2, 2.0)]
    path.unlink()
    assert log.poll()
    assert log.names() == []


@pytest.mark.parametrize("how", ["shorter", "replaced", "rewritten"])
def test_a_file_that_is_not_the_old_one_is_read_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(encode_line(s, 0.0, 0.0, {"a": 1.0}) for s in range(1, 9)))
    log = MetricLog(path)
    log.poll()
    new = b"".join(
        encode_line(s, 0.0, 0.0, {"a": 2.0}) for s in range(1, 3 if how == "shorter" else 20)
    )
    if how == "replaced":
        other = tmp_path / "other"
        other.write_bytes(new)
        other.replace(path)
    else:
        path.write_bytes(new)
    assert log.poll()
    assert set(log.series("a")[1]) == {2.0}
    assert len(log.series("a")[0]) == (2 if how == "shorter" else 19)


def test_bounded_polls_read_everything_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [encode_line(s, s / 97, float(s), {"loss": s / 7}) for s in range(1, 60_001)]
    path.write_bytes(b"".join(rows))
    log = MetricLog(path)
    polls = 0
    while log.poll(max_bytes=1 << 20):
        polls += 1
    assert polls > 1
    assert points(log, "loss") == [(s, s / 7) for s in range(1, 60_001)]


def test_a_reader_may_keep_looking_at_the_memory_of_a_curve(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(encode_line(s, 0.0, 0.0, {"a": 1.0}) for s in (1, 2)))
    log = MetricLog(path)
    log.poll()
    view = memoryview(log.series("a")[1])  # type: ignore[arg-type]
    with path.open("ab") as file:
        file.write(b"".join(encode_line(s, 0.0, 0.0, {"a": 2.0}) for s in (3, 4)))
        file.write(void_line(3, 0.0))
    assert log.poll()
    assert list(log.series("a")[0]) == [1, 2, 3]
    assert list(view) == [1.0, 1.0]


def test_a_resume_voids_later_steps_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricWriter(path)
    writer.append(b"".join(encode_line(s, 0.0, 0.0, {"a": 1.0, "b": 9.0}) for s in range(1, 11)))
    writer.append(void_line(6, 0.0))
    writer.append(b"".join(encode_line(s, 0.0, 0.0, {"a": 2.0}) for s in range(7, 9)))
    writer.close()
    log = MetricLog(path)
    log.poll()
    assert points(log, "a") == [(s, 1.0) for s in range(1, 7)] + [(7, 2.0), (8, 2.0)]
    assert points(log, "b") == [(s, 9.0) for s in range(1, 7)]


def test_long_logs_are_read_as_columns_whatever_their_names(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "metrics.jsonl"
    lines: list[dict[str, Any]] = []
    for step in range(1, 3000):
        entry: dict[str, Any] = {"step": step, "epoch": step / 97, "time": float(step)}
        entry["train/loss"] = rng.random()
        if rng.random() < 0.1:
            entry["knn/top1"] = rng.choice([rng.random(), math.nan, math.inf])
        lines.append(entry)
        if rng.random() < 0.002:
            lines.append({"void_after": rng.randrange(step + 1)})
    path.write_bytes(b"".join(map(encode, lines)))
    log = MetricLog(path)
    log.poll()
    check(log, oracle(lines))
    last = lines[-1]
    assert log.epochs("train/loss")[-1] == last["step"] / 97
    assert log.times("train/loss")[-1] == float(last["step"])


class Counted:
    """Counts the bytes that are read from files by position."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        real = os.pread

        def pread(fd: int, count: int, at: int) -> bytes:
            data = real(fd, count, at)
            self.bytes += len(data)
            return data

        monkeypatch.setattr(os, "pread", pread)


def row(step: int) -> bytes:
    return encode_line(step, 0.0, 0.0, {"a": float(step)})


def test_a_log_without_a_line_end_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    size = 200 * 10**6
    path.write_bytes(row(1))
    with path.open("ab") as file:
        file.truncate(size)  # nothing but zeros, and no room on the disk
    counted = Counted(monkeypatch)
    kept = []
    real = MetricLog._pass

    def watched(log: MetricLog, data: bytes) -> None:
        kept.append(len(data))
        real(log, data)

    monkeypatch.setattr(MetricLog, "_pass", watched)
    log = MetricLog(path)
    assert log.poll()
    assert size <= counted.bytes <= size + 1000
    assert sum(kept) == size
    assert max(kept) <= 2 * LINE_LIMIT, "no more than this is held at a time"
    assert log.skipped == 1
    counted.bytes = 0
    for _ in range(20):
        assert not log.poll()
    assert counted.bytes <= 20 * 100, "what was read is not read again"
    with path.open("ab") as file:
        file.write(b"the end of it\n" + row(2) + row(3))
    assert log.poll()
    assert points(log, "a") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert log.skipped == 1


@pytest.mark.parametrize("max_bytes", [1, 1 << 20, None])
@pytest.mark.parametrize("beyond", [-1, 0, 1, 2 * LINE_LIMIT])
def test_a_line_may_have_so_many_bytes_and_no_more(
    tmp_path: Path, beyond: int, max_bytes: int | None
) -> None:
    path = tmp_path / "metrics.jsonl"
    length = LINE_LIMIT + beyond
    long = row(2)[:-1]
    path.write_bytes(row(1) + long + b" " * (length - len(long) - 1) + b"\n" + row(3))
    log = MetricLog(path)
    while log.poll(max_bytes):
        pass
    expected = [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert points(log, "a") == [p for p in expected if beyond <= 0 or p[0] != 2]
    assert log.skipped == (beyond > 0)


def test_a_long_line_that_comes_in_pieces_is_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricLog(path)
    path.write_bytes(row(1))
    for _ in range(12):
        log.poll()
        with path.open("ab") as file:
            file.write(b"x" * 300_000)
    with path.open("ab") as file:
        file.write(b"\n" + row(2))
    log.poll()
    assert points(log, "a") == [(1, 1.0), (2, 2.0)]
    assert log.skipped == 1


@pytest.mark.parametrize("line", [row(9), void_line(0, 0.0)])
def test_a_log_that_is_replaced_within_a_long_line_is_read_anew(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(row(1) + b"x" * (2 * LINE_LIMIT))
    log = MetricLog(path)
    log.poll()
    path.write_bytes(row(5) + line)
    assert log.poll()
    assert log.skipped == 0
    assert points(log, "a")[:1] == ([(5, 5.0)] if line == row(9) else [])


ODD_ROWS = [
    b'{"step": 1%s, "epoch": 0, "time": 0, "b": 1}' % (b"0" * 25),
    b'{"step": 1, "epoch": 0, "time": 0, "b": %s}' % (b"9" * 5000),
    b'{"step": 1, "epoch": 0, "time": 0, "b": %s}' % (b"[" * 10_000 + b"]" * 10_000),
    b'{"step": 1, "epoch": 0, "time": 0, "b": "five"}',
    b'{"step": 1, "epoch": 0, "time": 0, "b": true}',
    b'{"step": 1, "epoch": 0, "time": 0, "b": {}}',
    b'{"step": 1, "epoch": [], "time": 0, "b": 1}',
    b'{"void_after": 1e5}',
    b'{"void_after": null}',
    b'{"b": 1}',
]


@pytest.mark.parametrize("odd", ODD_ROWS)
def test_a_line_that_is_no_metric_is_counted(tmp_path: Path, odd: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(row(1) + odd + b"\n" + row(2))
    log = MetricLog(path)
    log.poll()
    assert points(log, "a") == [(1, 1.0), (2, 2.0)]
    assert log.names() == ["a"]
    assert log.skipped == 1


def test_names_are_clean_short_and_not_without_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(
        encode_line(1, 0.0, 0.0, {"loss\x1b[31m\n": 1.0, "\u202egnp": 2.0, "n" * 5000: 3.0})
        + encode_line(2, 0.0, 0.0, {"loss\x1b[31m\n": 4.0})
        + b"".join(encode_line(s, 0.0, 0.0, {f"m{s}": 1.0}) for s in range(3, MOST_NAMES + 50))
    )
    log = MetricLog(path)
    log.poll()
    names = log.names()
    assert names[:3] == ["loss?[31m ", "?gnp", "n" * KEY_LIMIT]
    assert all(name.isprintable() for name in names)
    assert points(log, "loss?[31m ") == [(1, 1.0), (2, 4.0)]
    assert MOST_NAMES - 5 < len(names) <= MOST_NAMES
    assert log.skipped > 0


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(width=64)
    | st.text(max_size=5)
    # What the reader treats in a way of its own.
    | st.sampled_from([10**400, -(2**63), "NaN", 1e308]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["step", "epoch", "time", "void_after", "a", "b\x1b"]), json_values
        ),
        max_size=6,
    )
)
def test_no_row_whatever_it_holds_is_an_exception(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    log = MetricLog(path)
    log.poll()
    for name in log.names():
        steps, values = log.series(name)
        assert len(steps) == len(values) == len(log.times(name)) == len(log.epochs(name))
        assert list(steps) == sorted(set(steps))
        log.last(name)
    log.idle_seconds(0, 100)
    last_written(path)
