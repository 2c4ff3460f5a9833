"""Lines of the history of the devices: what is written is read, and nothing else is believed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.machine.cards import CardProcess
from engine.runs.device_lines import (
    DeviceOthers,
    DevicePart,
    DeviceSample,
    decode_line_of,
    encode_line_of,
)

PART = DevicePart(1.7e9, 10.0, ("cpu", "memory"), {"memory": 2.0**34}, ("NVIDIA H100",), 2.5, 4)
HOSTILE = "\x1b]0;x\x07\x1b[2Jann\u202e\n"


def test_what_is_written_is_read() -> None:
    others = DeviceOthers(20.0, {0: [CardProcess(5, "ann", 2**30), CardProcess(6)], 1: []})
    sample = DeviceSample(12.34, [42.123, math.nan])
    assert decode_line_of(encode_line_of(PART).rstrip(), 0) == PART
    found = decode_line_of(encode_line_of(sample).rstrip(), 2)
    assert isinstance(found, DeviceSample)
    assert found.seconds == 12.3
    assert found.values[0] == 42.1
    assert math.isnan(found.values[1])
    assert decode_line_of(encode_line_of(others).rstrip(), 2) == DeviceOthers(
        20.0, {0: others.processes[0]}
    )
    exact = DeviceSample(1.0, [2.0**36 + 1, 0.0])  # bytes are not rounded
    assert decode_line_of(encode_line_of(exact).rstrip(), 2) == exact


def test_a_sample_is_short() -> None:
    values = [42.123456, 3.3, 2.0**36, 2.0**30, 90.0, 80.0, 2.0**36, 2.0**33, 320.5, 51.0, 1.0, 0.0]
    assert len(encode_line_of(DeviceSample(123_456.789, values))) < 110


ODD: tuple[Any, ...] = (
    *(None, True, 5, "x", [], {}, [1], [1, 2], [1, 2, 3, 4], ["x", 1, 2], [True, 1, 2], [-1, 1, 2]),
    *([1e400, 1, 2], {"others": 5}, {"others": [], "seconds": -1}, {"began": 1, "every": 0}),
    {"began": 1, "every": 1, "columns": []},
    {"began": 1, "every": 1, "columns": ["cpu"] * 2},
    {"began": 1, "every": 1, "columns": [str(i) for i in range(100_000)]},
    {"began": 10**400, "every": 1, "columns": ["cpu"]},
    {"began": 1, "every": "x", "columns": ["cpu"]},
)


@pytest.mark.parametrize("odd", ODD, ids=[str(i) for i in range(len(ODD))])
def test_what_is_no_line_is_none(odd: Any) -> None:
    line = json.dumps(odd).encode()
    if odd == [1, 2]:  # of one column
        assert decode_line_of(line, 1) == DeviceSample(1.0, [2.0])
    assert decode_line_of(line, 2) is None


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[" * 100_000, b"9" * 5000, b"\xff\xfe", b"[1,2,3]x", bytes(100)]
)
def test_bytes_that_are_no_json_are_none(line: bytes) -> None:
    assert decode_line_of(line, 2) is None


def test_a_sample_before_the_first_part_is_none() -> None:
    assert decode_line_of(b"[1,2]", 0) is None


def test_values_that_no_machine_has_are_missing() -> None:
    for odd in ("true", '"x"', "-1", "1e300", "[]", "null", "9" * 400):
        found = decode_line_of(f"[1,{odd},5]".encode(), 2)
        assert isinstance(found, DeviceSample)
        assert math.isnan(found.values[0])
        assert found.values[1] == 5.0


def test_texts_are_clean() -> None:
    part = {**PART._asdict(), "cards": [HOSTILE, 5, "A" * 9999], "columns": [HOSTILE, 5]}
    found = decode_line_of(json.dumps(part).encode(), 0)
    assert isinstance(found, DevicePart)
    assert [*found.cards, *found.columns] == ["]0;x[2Jann", "", "A" * 64, "]0;x[2Jann", ""]
    others = {"seconds": 1, "others": [{"card": 0, "pid": 5, "user": HOSTILE, "memory": "x"}]}
    read = decode_line_of(json.dumps(others).encode(), 0)
    assert isinstance(read, DeviceOthers)
    assert read.processes == {0: [CardProcess(5, "]0;x[2Jann", None)]}


def test_odd_processes_are_left_out() -> None:
    each: list[Any] = [5, {}, {"card": 0}, {"card": True, "pid": 1}, {"card": -1, "pid": 1}]
    each += [{"card": 0, "pid": 2**40}, {"card": 10**9, "pid": 1}, {"card": 1, "pid": 7}]
    read = decode_line_of(json.dumps({"seconds": 1, "others": each}).encode(), 0)
    assert isinstance(read, DeviceOthers)
    assert read.processes == {1: [CardProcess(7)]}
    many = [{"card": 0, "pid": i} for i in range(10_000)]
    read = decode_line_of(json.dumps({"seconds": 1, "others": many}).encode(), 0)
    assert isinstance(read, DeviceOthers)
    assert len(read.processes[0]) == 16


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON | st.fixed_dictionaries({"began": JSON, "every": JSON, "columns": JSON, "most": JSON}))
def test_no_line_raises(value: Any) -> None:
    decode_line_of(json.dumps(value).encode(), 3)
