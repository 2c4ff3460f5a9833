import json
import os
import random
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine import files
from engine.data import image_folder as imagefolder
from engine.data.image_decoder import decode
from engine.data.image_folder import load_folder
from engine.errors import DataError
from engine.sink import Interrupted, NullSink


class Listener(NullSink):
    def __init__(self, *, stop_after=None):
        self.stages, self.lines, self.asked, self.stop_after = [], [], 0, stop_after

    def progress(self, stage, done, total):
        self.stages.append((stage, done, total))

    def log(self, text):
        self.lines.append(text)

    def request(self):
        self.asked += 1
        return "stop" if self.stop_after is not None and self.asked > self.stop_after else None


def plain(red, green=0, blue=0, size=(32, 32), mode="RGB"):
    return Image.new(mode, size, (red, green, blue) if mode == "RGB" else red)


def noise(seed=0, size=(32, 32)):
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def plant(root, pictures):
    """Writes images (or bytes) below ``root`` and gives ``root`` back."""
    for path, picture in pictures.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            file.write_bytes(picture)
        else:
            picture.save(file)
    return root


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def load(tmp_path, data_dir):
    def load(pictures=None, *, root=None, sink=None):
        root = tmp_path / "images" if root is None else root
        plant(root, pictures or {})
        return load_folder(root, data_dir, sink or NullSink())

    return load


def reds(part):
    """The red value of each plainly coloured image."""
    images, labels = part
    assert images.dtype == torch.uint8
    assert images.shape[1:] == (3, 32, 32)
    assert images.is_contiguous()
    assert labels.dtype == torch.int64
    assert len(images) == len(labels)
    return images[:, 0, 16, 16].tolist()


def two_classes(extra=None):
    return {"cat/1.png": plain(1), "dog/1.png": plain(2)} | (extra or {})


# ------------------------------------------------------------------------------------- layouts


def test_train_and_test_folders(load):
    found = load(
        {
            "train/dog/b.png": plain(21),
            "train/dog/a.png": plain(20),
            "train/cat/z.png": plain(10),
            "train/emu/z.png": plain(30),
            "test/emu/x.png": plain(31),  # a test set need not have every class
            "test/cat/x.png": plain(11),
        }
    )
    assert found.class_names == ("cat", "dog", "emu")
    assert reds(found.train) == [10, 20, 21, 30]
    assert found.train[1].tolist() == [0, 1, 1, 2]
    assert reds(found.test) == [11, 31]
    assert found.test[1].tolist() == [0, 2]
    assert found.skipped == ()


def test_train_without_test(load):
    found = load({"train/cat/1.png": plain(1), "train/dog/1.png": plain(2)})
    assert found.test is None
    assert reds(found.train) == [1, 2]


def test_an_empty_test_folder_is_no_test_set(load, tmp_path):
    (tmp_path / "images/test/cat").mkdir(parents=True)
    found = load({"train/cat/1.png": plain(1), "train/dog/1.png": plain(2)})
    assert found.test is None


def test_class_folders_alone(load):
    found = load(two_classes())
    assert found.class_names == ("cat", "dog")
    assert found.train[1].tolist() == [0, 1]
    assert found.test is None


@pytest.mark.parametrize("top", ["", "train/"])
def test_images_without_classes(load, top):
    found = load({f"{top}{name}.png": plain(i) for i, name in enumerate("bca")})
    assert found.class_names == ()
    assert reds(found.train) == [2, 0, 1]  # by path
    assert found.train[1].tolist() == [-1, -1, -1]
    assert found.test is None


def test_hidden_and_foreign_files_are_passed_over(load, tmp_path):
    images = tmp_path / "images"
    (images / "cat/folder.png").mkdir(parents=True)
    (images / ".git").mkdir()
    (images / "cat/dangling.png").symlink_to("nowhere.png")
    found = load(
        two_classes(
            {
                "cat/.hidden.png": plain(9),
                ".thumbs/1.png": plain(9),
                "cat/notes.txt": b"notes",
                "README.md": b"# images",
                "dog/UPPER.PNG": plain(3),
                "dog/photo.JpEg": plain(4),
            }
        )
    )
    assert found.class_names == ("cat", "dog")
    assert found.train[1].tolist() == [0, 1, 1, 1]
    assert found.skipped == ()
    for part in (
        "1 folder inside a class (cat/folder.png)",
        "1 unreadable entry (cat/dangling.png: no file)",
        "2 files that are no images (first: README.md)",
        "there is no test set",
    ):
        assert part in found.left_out, found.left_out
    assert ".hidden" not in found.left_out


def test_links_to_folders_and_images_are_followed(load, tmp_path):
    plant(tmp_path / "elsewhere", {"1.png": plain(7), "lonely.png": plain(8)})
    images = tmp_path / "images"
    (images / "dog").mkdir(parents=True)
    (images / "cat").symlink_to(tmp_path / "elsewhere")
    (images / "dog/link.png").symlink_to(tmp_path / "elsewhere/lonely.png")
    assert reds(load().train) == [7, 8, 8]


# ------------------------------------------------------------------------------ wrong folders


def refused(call):
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert message.endswith(".")
    assert message.isprintable()
    return message


def test_a_folder_that_is_not_there(load, tmp_path):
    message = refused(lambda: load(root=tmp_path / "nowhere/[bold]", pictures=None))
    assert "no folder" in message
    assert "nowhere/[bold]" in message


def test_impossible_paths(data_dir):
    for path in ("x" * 5000, "a\0b", "a\x1b[31mb\nc"):
        refused(lambda path=path: load_folder(Path(path), data_dir, NullSink()))


def test_a_file_in_place_of_a_folder(load, tmp_path):
    (tmp_path / "one.png").write_bytes(b"")
    message = refused(lambda: load_folder(tmp_path / "one.png", tmp_path, NullSink()))
    assert "one.png is a file" in message


def test_a_folder_that_may_not_be_read(load, monkeypatch):
    scan = os.scandir

    def forbidden(path):
        if Path(path).name == "cat":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert "permission is denied" in refused(lambda: load(two_classes()))


@pytest.mark.parametrize("pictures", [{}, {"notes.txt": b""}, {".hidden.png": plain(1)}])
def test_no_image_at_all(load, tmp_path, pictures):
    (tmp_path / "images").mkdir()
    message = refused(lambda: load(pictures))
    assert "no image" in message
    assert "train/<class>/" in message


def test_a_class_without_images(load, tmp_path):
    (tmp_path / "images/emu/deeper").mkdir(parents=True)
    message = refused(lambda: load(two_classes({"emu/deeper/1.png": plain(1)})))
    assert "class emu" in message


def test_one_class_is_refused_with_the_way_out(load, tmp_path):
    message = refused(lambda: load({"train/only/1.png": plain(5)}))
    assert "one class only (only)" in message
    way_out = f"folder:{tmp_path}/images/train/only"
    assert way_out in message
    found = load(root=Path(way_out.removeprefix("folder:")))
    assert reds(found.train) == [5]


def test_a_test_class_that_is_not_a_training_class(load):
    pictures = {f"train/{name}": image for name, image in two_classes().items()}
    message = refused(lambda: load(pictures | {"test/emu/1.png": plain(1)}))
    assert "class emu" in message


def test_a_test_folder_without_a_training_folder(load):
    message = refused(lambda: load(two_classes({"test/cat/1.png": plain(1)})))
    assert "none named train" in message


def test_images_beside_class_folders_are_not_guessed_about(load):
    message = refused(lambda: load(two_classes({"preview.png": plain(1)})))
    assert "preview.png" in message
    assert "cat" in message


# ------------------------------------------------------------------------------------- names


def test_names_of_classes_can_be_shown_anywhere(load, tmp_path):
    names = ["[bold]cat[b]", "a\x1b[31mred", "line\nend", "emoji \U0001f600", "h\u202etac"]
    root = tmp_path / "images"
    for name in names:
        plant(root / name, {"1.png": plain(1)})
    raw = os.fsencode(root) + b"/caf\xe9"  # no UTF-8
    os.mkdir(raw)  # noqa: PTH102
    plain(2).save(os.fsdecode(raw) + "/1.png")
    for _ in range(2):  # the second time from the cache
        found = load()
        assert set(found.class_names) == {
            "[bold]cat[b]",
            "a[31mred",
            "line end",
            "emoji \U0001f600",
            "htac",
            "caf",
        }
        assert len(found.train[0]) == 6
        for name in found.class_names:
            assert name.isprintable()
            name.encode()


def test_classes_that_look_the_same_are_refused(load):
    message = refused(lambda: load(two_classes({"ca\x07t/1.png": plain(1)})))
    assert "cat" in message
    assert "rename" in message


def test_a_broken_image_of_any_name_is_named_in_one_line(load):
    pictures = two_classes({"cat/2.png": plain(1), "cat/[red]\x1b[2J\nx\udce9.png": b"no"})
    found = load(pictures)
    assert found.skipped == ("cat/[red][2J x.png (not an image)",)


# ----------------------------------------------------------------------------------- formats


def decoded(picture, tmp_path, name="x.png", **options):
    file = tmp_path / name
    if isinstance(picture, bytes):
        file.write_bytes(picture)
    else:
        picture.save(file, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)  # load_folder leaves them out
        result = decode(file)
    assert isinstance(result, np.ndarray), result
    assert result.dtype == np.uint8
    assert result.shape == (3, 32, 32)
    return result


@pytest.mark.parametrize(("name", "options"), [("x.png", {}), ("x.webp", {"lossless": True})])
def test_pixels_of_32x32_images_are_kept(tmp_path, name, options):
    picture = noise()
    result = decoded(picture, tmp_path, name, **options)
    assert (result == np.asarray(picture).transpose(2, 0, 1)).all()


def test_jpeg(tmp_path):
    picture = noise(size=(4, 4)).resize((32, 32), Image.Resampling.BILINEAR)
    result = decoded(picture, tmp_path, "x.jpg", quality=95)
    gap = result.astype(int) - np.asarray(picture).transpose(2, 0, 1)
    assert np.abs(gap).mean() < 4


def test_gray_becomes_colour(tmp_path):
    values = np.asarray(noise())[..., 0].copy()
    result = decoded(Image.fromarray(values), tmp_path)
    assert (result == values).all()
    bits = Image.fromarray(values > 128)
    assert bits.mode == "1"
    assert (decoded(bits, tmp_path) == (values > 128) * 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_black(tmp_path, mode):
    rng = np.random.default_rng(0)
    channels = rng.integers(0, 256, (32, 32, len(mode)), dtype=np.uint8)
    result = decoded(Image.fromarray(channels, mode), tmp_path)
    alpha = channels[..., -1].astype(float) / 255
    for c in range(3):
        colour = channels[..., c if mode == "RGBA" else 0]
        assert np.abs(result[c] - colour * alpha).max() <= 1.01


def test_palettes(tmp_path):
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50, 7, 8, 9])
    picture.paste(2, (0, 0, 16, 32))
    result = decoded(picture, tmp_path)
    assert result[:, 5, 20].tolist() == [200, 100, 50]
    assert result[:, 5, 5].tolist() == [7, 8, 9]
    for transparency in (1, bytes([255, 0, 255])):  # one index, or an alpha for each
        result = decoded(picture, tmp_path, transparency=transparency)
        assert result[:, 5, 20].tolist() == [0, 0, 0]
        assert result[:, 5, 5].tolist() == [7, 8, 9]


def test_a_transparent_colour(tmp_path):
    picture = plain(200, 100, 50)
    picture.paste((7, 8, 9), (0, 0, 16, 32))
    result = decoded(picture, tmp_path, transparency=(200, 100, 50))
    assert result[:, 5, 20].tolist() == [0, 0, 0]
    assert result[:, 5, 5].tolist() == [7, 8, 9]


@pytest.mark.parametrize("brightest", [65535, 200])  # a dark image stays dark
def test_sixteen_bits(tmp_path, brightest):
    values = np.linspace(0, brightest, 32 * 32).reshape(32, 32).astype(np.uint16)
    result = decoded(Image.fromarray(values), tmp_path)
    assert np.abs(result - values / 257.0).max() <= 0.51


def test_other_contents_than_the_ending_says(tmp_path):
    for form in ("BMP", "GIF", "JPEG", "WEBP"):
        result = decoded(plain(250, 0, 0), tmp_path, "x.png", format=form)
        assert result[0].min() > 240
    cmyk = decoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), tmp_path, "x.jpg")
    assert cmyk[0].min() > 200
    assert cmyk[1:].max() < 60


def test_orientation_that_a_camera_noted(tmp_path):
    picture = plain(0)
    picture.paste((255, 255, 255), (0, 0, 32, 16))  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees: bright on the right
    result = decoded(picture, tmp_path, "x.jpg", exif=exif)
    assert result[:, :, 20:].min() > 200
    assert result[:, :, :12].max() < 50


def test_a_broken_note_does_not_cost_the_image(tmp_path):
    broken = b"Exif\0\0" + b"garbage" * 9
    for name in ("x.jpg", "x.png", "x.webp"):
        assert decoded(plain(250, 0, 0), tmp_path, name, exif=broken)[0].min() > 240


def test_other_sizes(tmp_path):
    # the middle of a wide image, and of a high one
    wide = plain(255, 0, 0, size=(128, 64))
    wide.paste((0, 255, 0), (32, 0, 96, 64))
    result = decoded(wide, tmp_path)
    assert result[1, :, 2:-2].min() > 250
    assert result[0, :, 2:-2].max() < 5
    high = wide.transpose(Image.Transpose.ROTATE_90)
    assert (decoded(high, tmp_path) == result.swapaxes(1, 2)[:, ::-1]).all()
    # shrinking averages: a fine checkerboard is gray
    board = np.indices((256, 256)).sum(0) % 2 * 255
    result = decoded(Image.fromarray(board.astype(np.uint8)), tmp_path)
    assert np.abs(result[:, 4:-4, 4:-4].astype(int) - 127).max() < 8
    for size in [(1, 1), (1, 200), (200, 1), (3, 2), (33, 31)]:
        result = decoded(plain(9, 99, 200, size=size), tmp_path)
        assert (result == np.array([9, 99, 200]).reshape(3, 1, 1)).all()


@pytest.mark.parametrize("size", [(128, 128), (600, 400), (999, 1500)])
def test_a_large_photograph_is_read_as_if_whole(tmp_path, size):
    picture = noise(size=(24, 24)).resize(size, Image.Resampling.BICUBIC)
    from_jpeg = decoded(picture, tmp_path, "x.jpg", quality=95).astype(int)
    from_png = decoded(picture, tmp_path, "x.png").astype(int)
    assert np.abs(from_jpeg - from_png).mean() < 5


# ------------------------------------------------------------------------------ broken images


def huge_png():
    """A PNG of a few bytes whose header claims 10 gigapixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def encoded(name, tmp_path, picture=None, **options):
    file = tmp_path / f"encoded-{name}"
    (noise() if picture is None else picture).save(file, **options)
    return file.read_bytes()


def test_broken_images_are_named_and_skipped(load, tmp_path):
    broken = {
        "cat/empty.png": b"",
        "cat/half.jpg": encoded("x.jpg", tmp_path)[:400],
        "cat/half.png": encoded("x.png", tmp_path)[:1000],
        "cat/half.webp": encoded("x.webp", tmp_path)[:60],
        "dog/huge.png": huge_png(),
        "dog/page.jpg": b"<html>404</html>",
    }
    good = {
        f"{c}/{i}.png": plain(10 * n + i) for n, c in enumerate(("cat", "dog")) for i in range(4)
    }
    sink = Listener()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = load(good | broken, sink=sink)
    assert heard == []
    assert sorted(line.split(" (")[0] for line in found.skipped) == sorted(broken)
    assert all(line.endswith(")") and len(line) < 150 for line in found.skipped)
    assert "dog/page.jpg (not an image)" in found.skipped
    assert reds(found.train) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert found.train[1].tolist() == [0] * 4 + [1] * 4
    assert load().skipped == found.skipped  # also when they come from the cache


def test_bytes_changed_at_random_never_end_in_a_traceback(load, tmp_path):
    options_of: dict[str, dict[str, Any]] = {
        "a.png": {}, "b.jpg": {"exif": Image.Exif()}, "c.webp": {},
        "d.png": {"transparency": (1, 2, 3)}, "e.jpg": {"progressive": True},
    }  # fmt: skip
    originals = {name: encoded(name, tmp_path, **options) for name, options in options_of.items()}
    originals["p.png"] = encoded("p.png", tmp_path, noise().convert("P"))
    rng = random.Random(0)
    pictures = {f"{i:04}.png": plain(1) for i in range(400)}
    for i in range(390):
        name, data = rng.choice(sorted(originals.items()))
        data = bytearray(data)
        for _ in range(rng.choice((1, 2, 8))):
            data[min(int(rng.expovariate(1 / 60)), len(data) - 1)] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        pictures[f"broken-{i:04}-{name}"] = bytes(data)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = load(pictures)
    assert heard == []
    assert len(found.train[0]) + len(found.skipped) == 790
    assert 100 < len(found.skipped) < 390
    assert all(line.isprintable() for line in found.skipped)


@pytest.mark.parametrize("bad", [4, 5])
def test_more_broken_than_good_is_refused(load, bad):
    pictures = {f"good-{i}.png": plain(i) for i in range(4)}
    pictures |= {f"bad-{i}.png": b"?" for i in range(bad)}
    if bad == 4:
        assert len(load(pictures).skipped) == 4
        return
    message = refused(lambda: load(pictures))
    assert "5 of 9 images" in message
    assert "bad-0.png (not an image)" in message


def test_a_class_of_broken_images_only_is_refused(load):
    pictures = {f"train/cat/{i}.png": plain(1) for i in range(5)}
    pictures |= {"train/dog/1.png": b"?", "test/dog/1.png": plain(1), "test/cat/1.png": plain(1)}
    message = refused(lambda: load(pictures))
    assert "class dog" in message
    assert "train/dog/1.png (not an image)" in message


def test_broken_test_images_cost_the_test_set_only(load):
    pictures = {f"train/{c}/{i}.png": plain(1) for c in ("cat", "dog") for i in range(3)}
    found = load(pictures | {"test/cat/1.png": b"?", "test/dog/1.png": plain(4)})
    assert reds(found.test) == [4]
    assert found.test[1].tolist() == [1]
    found = load({"test/dog/1.png": b"?"})
    assert found.test is None
    assert len(found.skipped) == 2


# ------------------------------------------------------------------------------------- cache


def same(a, b):
    assert a.class_names == b.class_names
    assert a.skipped == b.skipped
    assert (a.test is None) == (b.test is None)
    pairs = [(a.train, b.train)] + ([] if a.test is None else [(a.test, b.test)])
    for one, other in pairs:
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
        assert one[1].dtype == other[1].dtype
        assert one[0].is_contiguous()


@pytest.fixture
def forest(tmp_path):
    pictures = {f"train/{c}/{i}.png": noise(i) for c in ("cat", "dog") for i in range(4)}
    pictures |= {"test/cat/1.png": noise(99), "train/cat/bad.png": b"?"}
    return plant(tmp_path / "images", pictures)


@pytest.fixture
def reads(monkeypatch):
    """Paths of the images that were decoded."""
    paths = []

    def counting(path, *size):
        paths.append(path.name)
        return decode(path, *size)

    monkeypatch.setattr(imagefolder, "decode", counting)
    return paths


def test_the_second_time_nothing_is_decoded(load, forest, reads, data_dir, monkeypatch):
    first = load()
    assert len(reads) == 10
    reads.clear()
    sink = Listener()
    same(load(sink=sink), first)
    monkeypatch.chdir(forest.parent)
    same(load(root=Path("images")), first)  # the same folder by another name
    assert reads == []
    assert sink.lines == []
    assert [p.suffix for p in (data_dir / "cache").iterdir()] == [".images"]


@pytest.mark.parametrize(
    "pictures", [{"1.png": noise(1), "2.png": noise(2)}, {"a/1.png": noise(1), "b/1.png": noise(2)}]
)
def test_sets_without_classes_or_test_images_are_cached(load, reads, pictures):
    first = load(pictures)
    assert first.test is None
    reads.clear()
    same(load(), first)
    assert reads == []


def touch(path, seconds=5):
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + seconds * 10**9))


def test_any_change_of_the_files_makes_the_cache_anew(load, forest, reads, data_dir):
    def changed(change):
        change()
        reads.clear()
        found = load()
        assert reads, change
        reads.clear()
        same(load(), found)
        assert reads == []
        assert len(list((data_dir / "cache").iterdir())) == 1  # in place of the old one
        return found

    load()
    file = forest / "train/cat/0.png"
    found = changed(lambda: plain(77).save(file))
    assert found.train[0][0, 0].eq(77).all()
    changed(lambda: touch(file))
    facts = file.stat()

    def replaced_in_the_same_instant():
        plain(79).save(file, compress_level=0)
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    found = changed(replaced_in_the_same_instant)
    assert found.train[0][0, 0].eq(79).all()
    found = changed(lambda: plain(78).save(forest / "train/cat/00.png"))
    assert found.train[0][1, 0].eq(78).all()
    found = changed(lambda: file.unlink())
    assert found.train[0][0, 0].eq(78).all()
    changed(lambda: (forest / "train/dog/3.png").rename(forest / "train/dog/4.png"))
    found = changed(lambda: (forest / "train/dog").rename(forest / "train/emu"))
    assert found.class_names == ("cat", "emu")
    found = changed(lambda: (forest / "test/cat/1.png").unlink())
    assert found.test is None


def sealed(body):
    return b"%08x\n" % zlib.crc32(body) + body


def damage(kind, data):
    def flip(place):
        return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]

    header_end = data.index(b"\n", 9) + 1
    return {
        "empty": b"",
        "only a checksum": data[:9],
        "half a header": data[:40],
        "header only": data[:header_end],
        "one byte short": data[:-1],
        "one byte more": data + b"x",
        "flipped checksum": flip(3),
        "flipped name": flip(data.index(b"cat") + 1),
        "flipped pixel": flip(header_end + 5000),
        "flipped label": flip(len(data) - 8),
        "garbage": random.Random(0).randbytes(len(data)),
        "zeros": bytes(len(data)),
        "other version": sealed(data[9:].replace(b'"version":3', b'"version":2')),
        "negative count": sealed(data[9:].replace(b'"train":8', b'"train":-8')),
        "other fields": sealed(b'{"version":3,"key":7}\n' + data[header_end:]),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "empty", "only a checksum", "half a header", "header only", "one byte short",
        "one byte more", "flipped checksum", "flipped name", "flipped pixel", "flipped label",
        "garbage", "zeros", "other version", "negative count", "other fields",
    ],
)  # fmt: skip
def test_a_damaged_cache_is_made_again(load, forest, reads, data_dir, kind):
    first = load()
    (file,) = (data_dir / "cache").iterdir()
    whole = file.read_bytes()
    harmed = damage(kind, whole)
    assert harmed != whole
    file.write_bytes(harmed)
    reads.clear()
    sink = Listener()
    same(load(sink=sink), first)
    assert reads
    assert file.read_bytes() == whole
    if kind != "other version":
        assert any("damaged" in line for line in sink.lines)


def test_a_cache_that_cannot_be_written_is_done_without(load, forest, tmp_path, data_dir):
    expected = load_folder(forest, tmp_path / "other", NullSink())
    data_dir.write_bytes(b"a file")
    sink = Listener()
    same(load(sink=sink), expected)
    assert any("not cached" in line for line in sink.lines)
    data_dir.unlink()
    (file,) = (tmp_path / "other/cache").iterdir()
    (data_dir / "cache" / file.name / "in the way").mkdir(parents=True)
    sink = Listener()
    same(load(sink=sink), expected)
    assert any("not cached" in line for line in sink.lines)
    assert [p.name for p in (data_dir / "cache").iterdir()] == [file.name]


def test_a_full_disk_leaves_no_half_file(load, forest, data_dir, monkeypatch):
    def full(self, target, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    sink = Listener()
    assert len(load(sink=sink).train[0]) == 8
    assert any("the disk is full" in line for line in sink.lines)
    assert list((data_dir / "cache").iterdir()) == []


def test_a_failure_of_the_disk_is_not_remembered(load, forest, data_dir, monkeypatch):
    opened = files.open_plain

    def failing(path, flags, **options):
        if path.name == "1.png" and "dog" in str(path):
            raise OSError(5, "Input/output error", str(path))
        return opened(path, flags, **options)

    monkeypatch.setattr("engine.data.image_decoder.open_plain", failing)
    found = load()
    assert "train/dog/1.png (the disk reports an error)" in found.skipped
    monkeypatch.undo()
    assert len(load().train[0]) == 8
    assert len(load().skipped) == 1


# ------------------------------------------------------------------------- progress and stop


def test_progress_is_reported(load):
    sink = Listener()
    load({f"{i:03}.png": plain(1) for i in range(300)}, sink=sink)
    assert {stage for stage, _, _ in sink.stages} == {"reading images"}
    done = [done for _, done, _ in sink.stages]
    assert done == sorted(done)
    assert done[0] == 0
    assert len(done) > 2
    assert sink.stages[-1][1:] == (300, 300)


def test_reading_stops_when_asked_and_caches_nothing(load, data_dir):
    sink = Listener(stop_after=1)
    with pytest.raises(Interrupted):
        load({f"{i:03}.png": plain(1) for i in range(600)}, sink=sink)
    assert sink.stages[-1][1] < 600
    assert not (data_dir / "cache").exists()


# ------------------------------------------------------------------------- sizes, no labels


@pytest.mark.parametrize("size", [32, 48, 224])
def test_images_of_any_size_are_the_middle_resized_by_pillow(tmp_path, data_dir, size):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (80, 120, 3), dtype=np.uint8))
    root = plant(tmp_path / "images", {f"{name}/1.png": picture for name in ("cat", "dog")})
    found = load_folder(root, data_dir, NullSink(), size=size)
    middle = picture.resize((size, size), Image.Resampling.BICUBIC, box=(20, 0, 100, 80))
    expected = torch.from_numpy(np.array(middle)).permute(2, 0, 1)
    assert torch.equal(found.train[0], torch.stack([expected, expected]))


def test_each_size_has_a_cache_of_its_own(load, forest, reads, data_dir):
    load()
    root, caches = forest, data_dir / "cache"
    (usual,) = caches.iterdir()
    load_folder(root, data_dir, NullSink(), size=64)
    assert {path.name for path in caches.iterdir()} == {usual.name, f"{usual.stem}-64.images"}
    reads.clear()
    load()
    load_folder(root, data_dir, NullSink(), size=64)
    assert reads == []


def test_a_cache_of_the_usual_size_is_that_of_version_0_1(load, forest, reads, data_dir):
    """Its header named no size."""
    load()
    (path,) = (data_dir / "cache").iterdir()
    _, line, rest = path.read_bytes().split(b"\n", 2)
    header = json.loads(line)
    assert header.pop("size") == 32
    body = json.dumps(header, separators=(",", ":")).encode() + b"\n" + rest
    path.write_bytes(b"%08x\n" % zlib.crc32(body) + body)
    reads.clear()
    load()
    assert reads == []


def test_images_without_labels_are_trained_on_behind_the_others(load):
    pictures = {f"train/{name}/{n}.png": plain(40 * n) for name in ("cat", "dog") for n in range(3)}
    pictures |= {f"train/unlabeled/{n}.png": plain(200 + n) for n in range(4)}
    pictures |= {f"test/{name}/1.png": plain(9) for name in ("cat", "dog")}
    found = load(pictures)
    assert found.train[1].tolist() == [0, 0, 0, 1, 1, 1, -1, -1, -1, -1]
    assert reds(found.train) == [0, 40, 80, 0, 40, 80, 200, 201, 202, 203]
    again = load()
    assert torch.equal(again.train[1], found.train[1])
