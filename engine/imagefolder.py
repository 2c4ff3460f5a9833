"""Any folder of images as uint8 tensors: read once by threads, then cached as one array."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from engine.errors import DataError
from engine.imagecache import SIZE, Found, cached
from engine.sink import Sink, attend

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_BATCH = 256  # images handed to the threads at a time
_MOST_BROKEN = 0.5


@dataclass(frozen=True)
class _Listing:
    """The image files of a folder with the number of each one's class (-1: none)."""

    classes: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]] | None
    key: str


def load_folder(root: Path, data_dir: Path, sink: Sink) -> Found:
    """Reads the images below ``root``.

    Three layouts are understood: ``train/<class>/*`` with ``test/<class>/*`` beside it (which may
    be missing), ``<class>/*`` (no test set), and images directly in the folder or in ``train``
    (no classes: fit for pretraining only). jpg, png and webp count; hidden files and others are
    passed over. Gray images become colour, transparency is laid on black, the orientation that a
    camera noted is applied, and other sizes are resized: short side to 32 pixels, then the middle.

    Args:
        root: the folder.
        data_dir: the cache lives in ``data_dir/cache``; it is keyed by the paths, sizes and times
            of all files, so that any change makes it anew.
        sink: hears the progress and may ask to stop.

    Raises:
        DataError: when there is no such folder, no image in it, a test class that is not a
            training class, a class without one readable image, or more broken images than good.
    """
    listing = _list(root)
    return cached(data_dir, listing.key, sink, lambda: _read(root, listing, sink))


# ------------------------------------------------------------------------------------ listing


def _list(root: Path) -> _Listing:
    shown = _clean(str(root))
    if not root.exists():
        raise DataError(f"There is no folder {shown}; --data folder:PATH needs one with images.")
    if not root.is_dir():
        raise DataError(f"{shown} is a file; --data folder:PATH needs a folder with images.")
    digest = hashlib.blake2b(f"{SIZE} {root.absolute()}".encode(), digest_size=16)
    try:
        top = root / "train" if (root / "train").is_dir() else root
        classes = _class_folders(top, passing=("train", "test") if top == root else ())
        train = _files(root, top, classes, digest)
        test = None
        test_top = root / "test"
        if top != root and test_top.is_dir():
            test_classes = _class_folders(test_top)
            unknown = sorted(set(test_classes) - set(classes))
            if classes and unknown:
                raise DataError(
                    f"{_clean(str(test_top))} has a class {_clean(unknown[0])} that "
                    f"{_clean(str(top))} has not; a test class must be a training class."
                )
            if classes and test_classes:
                test = _files(root, test_top, classes, digest)
    except OSError as error:
        raise DataError(
            f"The folder {shown} cannot be read ({error.strerror or error})."
        ) from error
    if not train:
        raise DataError(
            f"There is no image (jpg, png, webp) in {shown}; "
            "it must hold train/<class>/ and test/<class>/, or images."
        )
    counts = Counter(label for _, label in train)
    for number, name in enumerate(classes):
        if not counts[number]:
            raise DataError(f"The class {_clean(name)} in {_clean(str(top))} has no image.")
    if len(classes) == 1:
        raise DataError(
            f"{_clean(str(top))} has one class only ({_clean(classes[0])}); there must be two or "
            "more, or the images themselves without classes."
        )
    return _Listing(classes, train, test or None, digest.hexdigest())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        visible = (entry for entry in entries if not entry.name.startswith("."))
        return sorted(visible, key=lambda entry: entry.name)


def _class_folders(top: Path, passing: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Names of the folders that hold images, sorted; none when there are images beside them."""
    entries = _entries(top)
    if any(_is_image(entry) for entry in entries):
        return ()
    return tuple(e.name for e in entries if e.is_dir() and e.name not in passing)


def _is_image(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in ENDINGS and entry.is_file()


def _files(
    root: Path, top: Path, classes: tuple[str, ...], digest: hashlib.blake2b
) -> list[tuple[str, int]]:
    """Path (relative to ``root``) and class of every image; each is added to the cache's key."""
    found: list[tuple[str, int]] = []
    for number, name in enumerate(classes) if classes else [(-1, "")]:
        folder = top / name
        if not folder.is_dir():  # a test set need not have every class
            continue
        for entry in _entries(folder):
            if _is_image(entry):
                facts = entry.stat()
                path = os.path.relpath(entry.path, root)
                line = f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
                found.append((path, number))
    return found


# ------------------------------------------------------------------------------------ reading


def _read(root: Path, listing: _Listing, sink: Sink) -> Found:
    files = listing.train + (listing.test or [])
    images = np.empty((len(files), 3, SIZE, SIZE), dtype=np.uint8)
    broken: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
        for start in range(0, len(files), _BATCH):
            attend(sink)
            batch = files[start : start + _BATCH]
            results = pool.map(_decode, [root / path for path, _ in batch])
            for number, result in enumerate(results, start):
                if isinstance(result, str):
                    broken[number] = f"{_clean(files[number][0])} ({result})"
                else:
                    images[number] = result
            sink.progress("reading images", min(start + _BATCH, len(files)), len(files))
    _check_broken(root, listing, files, broken)
    good = np.array([n not in broken for n in range(len(files))], dtype=bool)
    labels = np.array([label for _, label in files], dtype=np.int64)

    def part(rows: slice) -> tuple[Tensor, Tensor]:
        keep = good[rows]
        return (
            torch.from_numpy(np.ascontiguousarray(images[rows][keep])),
            torch.from_numpy(labels[rows][keep]),
        )

    count = len(listing.train)
    return Found(
        train=part(slice(0, count)),
        test=None if listing.test is None else part(slice(count, None)),
        class_names=listing.classes,
        skipped=tuple(broken.values()),
    )


def _decode(path: Path) -> np.ndarray | str:
    """uint8 (3, 32, 32), or in a few words why not."""
    try:
        with Image.open(path) as image:
            if image.format == "JPEG" and min(image.size) >= 4 * SIZE:
                image.draft("RGB", (2 * SIZE, 2 * SIZE))  # decodes a large photograph smaller
            upright = ImageOps.exif_transpose(image)
            colour = _to_rgb(upright)
            if colour.size != (SIZE, SIZE):
                colour = ImageOps.fit(colour, (SIZE, SIZE), Image.Resampling.BICUBIC)
            return np.asarray(colour).transpose(2, 0, 1)
    except Image.DecompressionBombError:
        return "too many pixels"
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError) as error:
        return _clean(str(error).split("\n")[0])[:80] or type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a pixel and more
        values = np.asarray(image, dtype=np.float64)
        scale = 255.0 / 65535.0 if values.max(initial=0.0) > 255.0 else 1.0
        image = Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        seen = image.convert("RGBA")
        ground = Image.new("RGBA", seen.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, seen).convert("RGB")
    return image.convert("RGB")


def _check_broken(
    root: Path, listing: _Listing, files: list[tuple[str, int]], broken: dict[int, str]
) -> None:
    if not broken:
        return
    first = next(iter(broken.values()))
    if len(broken) > _MOST_BROKEN * len(files):
        raise DataError(
            f"{len(broken)} of {len(files)} images in {_clean(str(root))} cannot be read, the "
            f"first is {first}; most of them must be readable."
        )
    left = Counter(label for n, (_, label) in enumerate(files) if n not in broken)
    for number, name in enumerate(listing.classes):
        if not left[number]:
            raise DataError(
                f"No image of the class {_clean(name)} in {_clean(str(root))} can be read; "
                f"the first is {first}."
            )


def _clean(text: str) -> str:
    """A path for a message: control characters and broken bytes made visible."""
    return "".join(c if c.isprintable() else "?" for c in text)
