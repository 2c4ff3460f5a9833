"""What images take while they are decoded is known before, bounded over all threads, and enough."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.data import decoding_memory, image_decoder
from engine.data.decoding_memory import MOST_PIXELS, MemoryBudget, memory_of
from engine.data.image_decoder import Broken, decode, is_image


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_that_says(width: int, height: int, *, depth: int = 16) -> bytes:
    """A PNG of a few hundred bytes that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_more_than_there_is_waits_and_no_thread_takes_it_beside_another() -> None:
    budget = MemoryBudget(100)
    inside, alone = [], []
    lock = threading.Lock()

    def take(amount: int) -> None:
        with budget.hold(amount):
            with lock:
                inside.append(amount)
                assert sum(min(a, 100) for a in inside) <= 100
                if amount > 100:
                    alone.append(len(inside))
            with lock:
                inside.remove(amount)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, [30, 60, 500, 10, 99, 1, 100] * 30))
    assert set(alone) == {1}
    assert (budget.used, inside) == (0, [])
    assert budget.peak <= 100


def test_an_error_gives_the_memory_back() -> None:
    budget = MemoryBudget(10)
    with pytest.raises(ValueError, match="x"), budget.hold(7):
        raise ValueError("x")
    assert budget.used == 0


def test_eight_threads_of_large_images_stay_within_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(1 << 21)  # two of these images, of 12 bytes a pixel
    monkeypatch.setattr(image_decoder, "BUDGET", budget)
    paths = [tmp_path / f"{number}.png" for number in range(24)]
    for path in paths:
        Image.new("RGB", (290, 290), (9, 8, 7)).save(path)
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_that_says(10_000, 10_000))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(decode, [*paths, bomb, *paths]))
    assert sum(isinstance(image, Broken) for image in found) == 1
    assert budget.peak <= 1 << 21
    assert budget.peak >= 290 * 290 * 12
    assert budget.used == 0


def test_more_pixels_than_an_image_may_have_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    side = int(MOST_PIXELS**0.5) + 1
    for width, height in ((side, side), (60_000, 60_000), (2**31 - 1, 2**31 - 1)):
        path.write_bytes(png_that_says(width, height))
        found = decode(path)
        assert isinstance(found, Broken)
        assert found.lasting
        assert found.why == "more than the 178,956,970 pixels that an image may have"


def test_more_bytes_than_a_file_may_have_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.webp"
    path.write_bytes(b"RIFF\xff\xff\xff\xffWEBPVP8 ")
    os.truncate(path, decoding_memory.MOST_BYTES + 1)
    found = decode(path)
    assert isinstance(found, Broken)
    assert found.why == "more than the 4,294,967,296 bytes that a file may have"
    assert not is_image(path)


@pytest.mark.parametrize("what", ["pipe", "device", "link to a device"])
def test_what_has_no_end_is_not_opened(what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    found = decode(path)
    assert isinstance(found, Broken)
    assert "no plain file" in found.why
    assert not is_image(path)


def test_what_holds_another_image_is_decoded_alone() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (32, 32)).save(file, "ICO")
    with Image.open(file) as image:
        assert memory_of(image, image.size, 1 << 30) == 1 << 30


def test_a_jpeg_of_several_scans_counts_at_its_full_size() -> None:
    amounts = []
    for progressive in (False, True):
        file = io.BytesIO()
        Image.new("RGB", (800, 800)).save(file, "JPEG", progressive=progressive)
        with Image.open(file) as image:
            image.draft("RGB", (64, 64))
            amounts.append(memory_of(image, (800, 800), 1 << 30))
    assert amounts[0] <= 100 * 100 * 12
    assert amounts[1] == amounts[0] + 800 * 800 * 6


MODES = ["L", "LA", "RGBA", "P", "PA", "1", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_bands_give_the_colours_of_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(3)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray((draw.random((57, 41)) * 65_000).astype(kind))
        if mode == "F":
            image = Image.fromarray((draw.random((57, 41)) * 2 - 0.5).astype(np.float32))
    else:
        bands = len(Image.new(mode, (1, 1)).getbands())
        values = draw.integers(0, 256, (57 * 41 * bands,), dtype=np.uint8).tobytes()
        image = Image.frombytes(mode, (41, 57), values[: 57 * 6] if mode == "1" else values)
    if mode in ("P", "PA"):
        image.putpalette(draw.integers(0, 256, 768, dtype=np.uint8).tolist())
    infos: list[dict[str, Any]] = [{}]
    if mode in ("L", "1", "I;16", "I", "P"):
        infos.append({"transparency": 1 if mode == "1" else 40})
    if mode == "P":
        infos.append({"transparency": draw.integers(0, 256, 256, dtype=np.uint8).tobytes()})
    for info in infos:
        whole, parts = image.copy(), image.copy()
        for copy in (whole, parts):
            copy.info.clear()
            copy.info.update(info)
        monkeypatch.setattr(image_decoder, "_BAND_PIXELS", 1 << 20)
        expected = np.asarray(image_decoder._in_bands(whole))
        monkeypatch.setattr(image_decoder, "_BAND_PIXELS", 41 * 4)
        assert (np.asarray(image_decoder._in_bands(parts)) == expected).all()


def test_a_large_image_takes_no_more_than_was_worked_out(tmp_path: Path) -> None:
    """In a process of its own, which is refused more memory than that."""
    resource = pytest.importorskip("resource")
    del resource
    path = tmp_path / "large.png"
    side = 4000
    rows = zlib.compress(bytes((1 + 2 * side) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert len(data) < 400_000
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from engine.data.image_decoder import Broken, decode\n"
        "decode(Path(sys.argv[2]))\n"  # what is loaded once
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "limit = used + 4000 * 4000 * 12 + (64 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "found = decode(Path(sys.argv[1]))\n"
        "print(found.why if isinstance(found, Broken) else found.shape)\n"
    )
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((40, 40), dtype=np.uint16)).save(small)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(small)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "(3, 32, 32)\n", done.stdout + done.stderr
