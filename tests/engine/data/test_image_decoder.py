"""What a file becomes, against pixels that plain loops work out from the samples in the file."""

import os
import random
import struct
import subprocess
import sys
import warnings
import zlib
from typing import Any

import numpy as np
import PIL.features
import pytest
from PIL import Image

from engine.data import image_decoder
from engine.data.image_decoder import Broken, decode, decoder

SIDE = 32
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(pixels, depth, colour_type, transparent=b"", palette=b""):
    """A PNG of 32x32 pixels, each a tuple of samples of ``depth`` bits (PNG, sections 7 and 11)."""
    rows = b""
    for y in range(SIDE):
        bits = "".join(
            format(sample, f"0{depth}b")
            for pixel in pixels[y * SIDE : (y + 1) * SIDE]
            for sample in pixel
        )
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header)]
    parts += [chunk(b"PLTE", palette)] if palette else []
    parts += [chunk(b"tRNS", transparent)] if transparent else []
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def expected(pixels, depth, colour_type, transparent=None, palette=()):
    """Red, green and blue of each pixel over black, from 0 to 255, as floats."""
    top = 2**depth - 1
    found = []
    for pixel in pixels:
        alpha = 0.0 if transparent is not None and pixel == transparent else 1.0
        if colour_type == PALETTE:
            colour = [float(value) for value in palette[pixel[0]]]
        else:
            if colour_type in (GRAY_ALPHA, RGBA):
                alpha = pixel[-1] / top
                pixel = pixel[:-1]
            colour = [255 * sample / top for sample in pixel]
        colour = colour * 3 if len(colour) == 1 else colour
        found.append([value * alpha for value in colour])
    return np.array(found).reshape(SIDE, SIDE, 3).transpose(2, 0, 1)


def pixels_of(path):
    found = decode(path)
    assert isinstance(found, np.ndarray), found
    assert found.shape == (3, SIDE, SIDE)
    return found


def read(tmp_path, data, name="x.png"):
    path = tmp_path / name
    path.write_bytes(data)
    return pixels_of(path).astype(float)


@pytest.mark.parametrize("with_colour", [False, True], ids=["opaque", "transparent colour"])
@pytest.mark.parametrize(
    ("colour_type", "depth"),
    [(GRAY, 1), (GRAY, 2), (GRAY, 4), (GRAY, 8), (GRAY, 16), (RGB, 8), (RGB, 16)],
)
def test_every_depth_of_png_and_its_transparent_colour(tmp_path, colour_type, depth, with_colour):
    rng = random.Random(depth)
    count = SAMPLES[colour_type]
    pixels = [tuple(rng.randrange(2**depth) for _ in range(count)) for _ in range(SIDE**2)]
    transparent = max(pixels)  # not black: laid on black it becomes another colour
    pixels[::3] = [transparent] * len(pixels[::3])
    named = struct.pack(f">{count}H", *transparent) if with_colour else b""
    found = read(tmp_path, png(pixels, depth, colour_type, named))
    right = expected(pixels, depth, colour_type, transparent if with_colour else None)
    assert np.abs(found - right).max() <= 1.0  # Pillow drops the lower half of 16 bits of colour


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour_type", [GRAY_ALPHA, RGBA])
def test_alpha_is_laid_on_black(tmp_path, colour_type, depth):
    rng = random.Random(depth)
    pixels = [
        tuple(rng.randrange(2**depth) for _ in range(SAMPLES[colour_type])) for _ in range(SIDE**2)
    ]
    found = read(tmp_path, png(pixels, depth, colour_type))
    assert np.abs(found - expected(pixels, depth, colour_type)).max() <= 2.0  # two roundings


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes_with_an_alpha_for_each_colour(tmp_path, depth):
    rng = random.Random(depth)
    count = min(2**depth, 16)
    palette = [tuple(rng.randrange(256) for _ in range(3)) for _ in range(count)]
    alphas = [rng.choice((0, 255)) for _ in range(count)]
    pixels = [(rng.randrange(count),) for _ in range(SIDE**2)]
    table = bytes(value for colour in palette for value in colour)
    found = read(tmp_path, png(pixels, depth, PALETTE, bytes(alphas), table))
    black = [c if a else (0, 0, 0) for c, a in zip(palette, alphas, strict=True)]
    assert (found == expected(pixels, depth, PALETTE, palette=black)).all()


def test_gray_of_sixteen_bits_in_tiff_is_scaled_and_floats_are_from_0_to_1(tmp_path):
    values = np.linspace(0, 65535, SIDE**2).reshape(SIDE, SIDE)
    for name, samples in (
        ("a.tif", values.astype(np.uint16)),
        ("b.tif", (values / 65535).astype(np.float32)),
        ("c.tif", (values / 257).astype(np.float32)),
    ):
        Image.fromarray(samples).save(tmp_path / name)
        found = read(tmp_path, (tmp_path / name).read_bytes(), name)
        assert np.abs(found - values / 257).max() <= 0.51, name
    holes = (values / 65535).astype(np.float32)
    holes[0, 0] = np.nan
    Image.fromarray(holes).save(tmp_path / "d.tif")
    assert read(tmp_path, (tmp_path / "d.tif").read_bytes(), "d.tif")[0, 0, 0] == 0


def noise(mode="RGB"):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


LOSSLESS: dict[str, dict[str, Any]] = {
    "BMP": {}, "DIB": {}, "TIFF": {"compression": "tiff_lzw"}, "PPM": {}, "PNG": {}, "PCX": {},
    "SGI": {}, "WEBP": {"lossless": True}, "DDS": {}, "QOI": {}, "JPEG2000": {}, "ICO": {},
}  # fmt: skip


LOSSLESS = {name: how for name, how in LOSSLESS.items() if name not in image_decoder._NOT_READ}


@pytest.mark.parametrize("format_", LOSSLESS)
@pytest.mark.parametrize("name", ["x", "x.jfif", "x.txt"])
def test_what_pillow_reads_is_read_whatever_it_is_called(tmp_path, format_, name):
    picture = noise()
    options = {"sizes": [(SIDE, SIDE)]} if format_ == "ICO" else LOSSLESS[format_]
    picture.save(tmp_path / "original", format=format_, **options)
    found = read(tmp_path, (tmp_path / "original").read_bytes(), name)
    assert (found == np.asarray(picture).transpose(2, 0, 1)).all()


def test_a_format_without_a_mark_goes_by_its_suffix(tmp_path):
    noise().save(tmp_path / "x.tga")
    data = (tmp_path / "x.tga").read_bytes()
    assert (read(tmp_path, data, "y.tga") == np.asarray(noise()).transpose(2, 0, 1)).all()
    (tmp_path / "z.bin").write_bytes(data)
    assert isinstance(decode(tmp_path / "z.bin"), Broken)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_counts(tmp_path, format_):
    frames = [Image.new("RGB", (SIDE, SIDE), (value, 0, 0)) for value in (250, 10, 120)]
    options: dict[str, Any] = {"lossless": True} if format_ == "WEBP" else {}
    frames[0].save(
        tmp_path / "x", format=format_, save_all=True, append_images=frames[1:], **options
    )
    assert (pixels_of(tmp_path / "x")[0] == 250).all()


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.tif", "x.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_camera(tmp_path, name, orientation):
    """As EXIF 2.3, table 6, says where row 0 and column 0 of the file are to be shown."""
    corner = np.zeros((SIDE, SIDE), dtype=np.uint8)
    corner[:8, :16] = 255  # row 0 is its long edge, column 0 its short one
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if name == "x.webp" else {}
    Image.fromarray(corner).convert("RGB").save(tmp_path / name, exif=exif, **options)
    found = pixels_of(tmp_path / name)[0]
    top, left = [
        ("top", "left"), ("top", "right"), ("bottom", "right"), ("bottom", "left"),
        ("left", "top"), ("right", "top"), ("right", "bottom"), ("left", "bottom"),
    ][orientation - 1]  # fmt: skip
    turned = orientation >= 5
    right = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for row in range(8):
        for column in range(16):
            # ``row`` steps from the side where row 0 is, ``column`` from that of column 0
            y, x = (column, row) if turned else (row, column)
            vertical, horizontal = (left, top) if turned else (top, left)
            y = SIDE - 1 - y if vertical == "bottom" else y
            x = SIDE - 1 - x if horizontal == "right" else x
            right[y, x] = 255
    assert np.abs(found.astype(int) - right).mean() < 4


def test_other_modes(tmp_path):
    ink = Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0))
    ink.save(tmp_path / "x.tif")
    assert pixels_of(tmp_path / "x.tif")[:, 3, 3].tolist() == [255, 0, 0]
    bits = Image.fromarray(np.asarray(noise())[..., 0] > 128)
    bits.save(tmp_path / "x.bmp")
    assert set(pixels_of(tmp_path / "x.bmp").flatten().tolist()) == {0, 255}
    Image.new("LAB", (SIDE, SIDE), (255, 128, 128)).save(tmp_path / "lab.tif")
    assert decode(tmp_path / "lab.tif") is not None  # pixels or a reason


@pytest.mark.parametrize(
    ("name", "foreign"), [("notes.txt", True), ("x.png", False), ("x.JFIF", False), ("x", True)]
)
def test_what_is_no_image_is_at_fault_only_when_it_is_called_one(tmp_path, name, foreign):
    (tmp_path / name).write_bytes(b"notes")
    assert decode(tmp_path / name) == Broken("not an image", lasting=True, foreign=foreign)


@pytest.mark.parametrize(
    "data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xd7\xcd\xc6\x9a" + bytes(99)]
)
def test_formats_that_start_a_program_are_not_read(tmp_path, data, monkeypatch):
    def forbidden(*_args, **_options):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    (tmp_path / "x.png").write_bytes(data)
    assert decode(tmp_path / "x.png") == Broken("not an image", lasting=True)


def test_damaged_files_of_every_format_end_in_a_reason_and_say_nothing(tmp_path, capfd):
    rng = random.Random(0)
    originals = []
    for format_, options in (*LOSSLESS.items(), ("TIFF", {"compression": "jpeg"})):
        noise().save(tmp_path / "x", format=format_, **options)
        originals.append((tmp_path / "x").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reasons = 0
        for number in range(40 * len(originals)):
            data = bytearray(originals[number % len(originals)])
            for _ in range(rng.choice((1, 8, 60))):
                data[rng.randrange(len(data))] = rng.randrange(256)
            (tmp_path / "y").write_bytes(data)
            found = decode(tmp_path / "y")
            if isinstance(found, Broken):
                reasons += 1
                assert found.why.isprintable()
    assert reasons > 20
    assert capfd.readouterr() == ("", "")
    os.write(2, b"open again")
    assert capfd.readouterr().err == "open again"


def test_descriptor_2_may_be_closed(tmp_path):
    noise().save(tmp_path / "x.tif", compression="tiff_lzw")
    code = (
        "import os, sys; from pathlib import Path; os.close(2)\n"
        "from engine.data.image_decoder import decode\n"
        f"sys.exit(not hasattr(decode(Path({str(tmp_path / 'x.tif')!r})), 'shape'))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_decoder_is_named_with_all_that_may_change_a_pixel(monkeypatch):
    def named(**changes):
        decoder.cache_clear()
        with monkeypatch.context() as patch:
            for name, value in changes.items():
                patch.setattr(image_decoder, name, value)
            return decoder()

    def version(_name):
        return "0.0"

    names = [named(), named(_DECODING=99)]
    with monkeypatch.context() as patch:
        patch.setattr(PIL, "__version__", "99.0")
        names.append(named())
    with monkeypatch.context() as patch:
        patch.setattr(PIL.features, "version_codec", version)
        names.append(named())
    decoder.cache_clear()
    assert PIL.__version__ in names[0]
    assert len(set(names)) == len(names)
