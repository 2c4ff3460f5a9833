"""MAT files as scipy writes them; damaged ones end in one of the errors that are promised."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.mat_file import arrays


def written(values: dict[str, object], *, compressed: bool) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, values, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 3, 5), (1, 3), (400, 300, 3, 7)])
def test_what_scipy_wrote_is_read(shape: tuple[int, ...], compressed: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    other = np.arange(3, dtype=np.uint8)[:, None]
    data = written({"X": values, "a_long_name": other}, compressed=compressed)
    found = {}
    for array in arrays(io.BytesIO(data)):
        read = b""
        while piece := array.read(1000):
            read += piece
        found[array.name] = np.frombuffer(read, np.uint8).reshape(array.shape, order="F")
    assert list(found) == ["X", "a_long_name"]
    assert (found["X"] == values).all()
    assert (found["a_long_name"] == other).all()


def test_an_array_need_not_be_read_to_reach_the_next() -> None:
    data = written(
        {"X": np.zeros((50, 60), np.uint8), "y": np.ones((3, 1), np.uint8)}, compressed=True
    )
    assert [(array.name, array.shape) for array in arrays(io.BytesIO(data))] == [
        ("X", (50, 60)),
        ("y", (3, 1)),
    ]


def test_dimensions_that_are_no_whole_numbers_are_an_error() -> None:
    data = bytearray(written({"X": np.zeros((4, 15), np.uint8)}, compressed=False))
    dimensions = 128 + 8 + 16  # behind the file's header, the array's tag, flags and class
    assert data[dimensions : dimensions + 8] == b"\x05\0\0\0\x08\0\0\0"
    data[dimensions : dimensions + 8] = b"\x05\0\x03\0\x04\x0f\0\0"  # three bytes in the tag
    with pytest.raises(ValueError, match="dimensions"):
        list(arrays(io.BytesIO(data)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_end_in_an_error_or_an_array(data: st.DataObject) -> None:
    compressed = data.draw(st.booleans())
    whole = bytearray(
        written({"X": np.arange(60, dtype=np.uint8).reshape(4, 15)}, compressed=compressed)
    )
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        for array in arrays(io.BytesIO(cut)):
            while array.read(4096):
                pass
    except (ValueError, EOFError, zlib.error):
        pass
