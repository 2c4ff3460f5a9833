"""Any folder of images as uint8 tensors: read once by threads, then cached as one array."""

from __future__ import annotations

import hashlib
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from engine.data.dataset import Dataset, Split
from engine.data.image_cache import SIZE, ImageArrays, cached
from engine.errors import DataError
from engine.files import reason
from engine.sink import Sink, check_interrupt
from engine.text import clean_text

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
# Pillow tells formats apart by content, since endings may be wrong. Only these are tried: others
# start another program (EPS) or use a library that writes to stderr (TIFF).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_BATCH = 256  # images handed to the threads at a time; a stop is noticed between two batches
_MOST_BROKEN = 0.5  # share of the images that may be unreadable
_SAMPLE_ENTRIES, _SAMPLE_FILES = 200, 8  # looked at and taken of each class for a sample
_SHOWN = 400  # characters of a path in a message
_LONGEST_NAME = 255  # of a file, on the usual file systems


@dataclass(frozen=True)
class _Listing:
    """The image files of a folder.

    Attributes:
        classes: names of the classes, sorted; empty without classes.
        train: path relative to the folder, and number of the class (-1: none), of each image.
        test: the same of the test images.
        key: digest of all paths, sizes and modification times.
    """

    classes: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]
    key: str


@dataclass(frozen=True)
class _Broken:
    """An image that could not be read.

    Attributes:
        why: the reason, in words.
        lasting: whether it will be as unreadable the next time.
    """

    why: str
    lasting: bool


def load(argument: str, data_dir: Path, sink: Sink) -> Dataset:
    """The images below the folder ``argument``; see ``load_folder``."""
    found = load_folder(_root(argument), data_dir, sink)
    return Dataset(
        f"folder:{argument}",
        Split(*found.train),
        None if found.test is None else Split(*found.test),
        found.class_names,
        found.skipped,
    )


def sample(argument: str, _data_dir: Path, count: int) -> Tensor:
    """A few images, uint8 (n, 3, 32, 32), n <= count, of each class in turn.

    Looks at a few files only, however many there are.

    Raises:
        DataError: when there is no such folder, or no image in those files.
    """
    root = _root(argument)
    top = root / "train" if (root / "train").is_dir() else root
    if not top.is_dir():
        raise DataError(f"There is no folder {_shown(root)}.")
    # Up to four files for each picture wanted: some may be broken.
    found = (picture(path) for path in itertools.islice(_in_turn(top), 4 * count))
    pictures = list(itertools.islice((p for p in found if p is not None), count))
    if not pictures:
        raise DataError(f"There are no images in {_shown(top)}.")
    # Copies: the arrays are read-only views of Pillow's images, and torch warns of such.
    return torch.stack([torch.from_numpy(p.copy()) for p in pictures])


def _root(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"The folder {clean_text(path)} cannot be found: {error}") from error


def _in_turn(top: Path) -> Iterator[Path]:
    """Image files, one of each class in turn."""
    try:
        entries = sorted(os.scandir(top), key=lambda entry: entry.name)
        classes = [Path(entry.path) for entry in entries if entry.is_dir()]
        lists = [_first_files(folder) for folder in classes] if classes else [_first_files(top)]
    except OSError as error:
        raise DataError(f"The folder {_shown(top)} cannot be read: {reason(error)}.") from error
    for group in itertools.zip_longest(*lists):
        yield from (path for path in group if path is not None)


def _first_files(folder: Path) -> list[Path]:
    """A few image files, without listing a folder that may hold a million."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in itertools.islice(entries, _SAMPLE_ENTRIES))
        files = sorted(folder / n for n in names if n.lower().endswith(tuple(ENDINGS)))
    return files[:_SAMPLE_FILES]


def load_folder(root: Path, data_dir: Path, sink: Sink) -> ImageArrays:
    """Reads the images below ``root``.

    Three layouts are understood: ``train/<class>/*`` with ``test/<class>/*`` beside it (which may
    be missing), ``<class>/*`` (no test set), and images directly in the folder or in ``train``
    (no classes: fit for pretraining only). jpg, png and webp count; hidden files and others are
    passed over. Gray images become colour, transparency is laid on black, the orientation that a
    camera noted is applied, and other sizes are resized: short side to 32 pixels, then the middle.
    Control characters are dropped from the names of classes.

    Args:
        root: the folder.
        data_dir: the cache lives in ``data_dir/cache``, one file a folder; it holds for the
            paths, sizes and times of all files, so that any change makes it anew.
        sink: receives the progress and may ask to stop.

    Raises:
        DataError: when there is no such folder, no image in it, images beside class folders, one
            class only, a test class that is not a training class, a class without one readable
            training image, or more broken images than good.
        Interrupted: when the sink asked to stop.
    """
    try:
        if not root.exists():
            raise DataError(
                f"There is no folder {_shown(root)}; --data folder:PATH needs one with images."
            )
        if not root.is_dir():
            raise DataError(
                f"{_shown(root)} is a file; --data folder:PATH needs a folder with images."
            )
        listing = _list(root)
    except OSError as error:
        raise DataError(f"The folder {_shown(root)} cannot be read: {reason(error)}.") from error
    _check(root, listing)
    # One file a folder, named by its path alone: a folder that changed replaces its old cache.
    root_digest = hashlib.blake2b(os.fsencode(root.absolute()), digest_size=8).hexdigest()
    path = data_dir / "cache" / f"folder-{root_digest}.images"
    return cached(path, listing.key, sink, lambda: _read(root, listing, sink))


# ------------------------------------------------------------------------------------ listing


def _list(root: Path) -> _Listing:
    """The image files below ``root``, and their classes."""
    test_top = root / "test"
    top = root / "train" if (root / "train").is_dir() else root
    if top is root and test_top.is_dir():
        raise DataError(
            f"{_shown(root)} has a folder test and none named train; "
            "it must hold train/<class>/ and test/<class>/."
        )
    folders = _class_folders(top)
    digest = hashlib.blake2b(digest_size=16)
    train = _files(root, top, folders, digest)
    test = []
    if folders and test_top.is_dir():
        unknown = sorted(set(_class_folders(test_top)) - set(folders))
        if unknown:
            raise DataError(
                f"{_shown(test_top)} has a class {_shown(unknown[0])} that {_shown(top)} has "
                "not; a test class must be a training class."
            )
        test = _files(root, test_top, folders, digest)
    names = tuple(clean_text(name, _LONGEST_NAME) or "?" for name in folders)
    return _Listing(names, train, test, digest.hexdigest())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds but for hidden names, sorted: the order decides which image is which."""
    with os.scandir(folder) as entries:
        visible = (entry for entry in entries if not entry.name.startswith("."))
        return sorted(visible, key=lambda entry: entry.name)


def _class_folders(top: Path) -> list[str]:
    """Names of the folders in ``top``, sorted; none when it holds the images itself."""
    entries = _entries(top)
    folders = [e.name for e in entries if e.is_dir()]
    image = next((e.name for e in entries if _is_image(e)), None)
    if image is None:
        return folders
    for name in folders:
        if any(_is_image(entry) for entry in _entries(top / name)):
            raise DataError(
                f"{_shown(top)} holds images ({_shown(image)}) beside folders of images "
                f"({_shown(name)}); every image must be in the folder of its class, or none."
            )
    return []


def _is_image(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in ENDINGS and entry.is_file()


def _files(
    root: Path, top: Path, folders: list[str], digest: hashlib.blake2b
) -> list[tuple[str, int]]:
    """Path (relative to ``root``) and class of every image; each is added to the cache's key."""
    found: list[tuple[str, int]] = []
    for number, name in enumerate(folders) if folders else [(-1, "")]:
        folder = top / name
        if not folder.is_dir():  # a test set need not have every class
            continue
        for entry in _entries(folder):
            if _is_image(entry):
                facts = entry.stat()
                path = os.path.relpath(entry.path, root)
                # fsencode: names need not be valid UTF-8.
                digest.update(os.fsencode(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n"))
                found.append((path, number))
    return found


def _check(root: Path, listing: _Listing) -> None:
    """Refuses folders that cannot be trained on, before any image is decoded."""
    if not listing.train:
        raise DataError(
            f"There is no image (jpg, png, webp) in {_shown(root)}; "
            "it must hold train/<class>/ and test/<class>/, or <class>/, or images."
        )
    counts = Counter(label for _, label in listing.train)
    for number, name in enumerate(listing.classes):
        if not counts[number]:
            raise DataError(
                f"The class {name} in {_shown(root)} has no training image; "
                "every class needs one, directly in its folder."
            )
    if len(listing.classes) == 1:
        only = root / Path(listing.train[0][0]).parent
        raise DataError(
            f"{_shown(root)} has one class only ({listing.classes[0]}); there must be two or "
            f"more. --data folder:{_shown(only)} takes its images without classes."
        )
    same = [name for name, count in Counter(listing.classes).items() if count > 1]
    if same:
        raise DataError(
            f"Two classes in {_shown(root)} have the name {same[0]}, control characters apart; "
            "rename one."
        )


# ------------------------------------------------------------------------------------ reading


def _read(root: Path, listing: _Listing, sink: Sink) -> ImageArrays:
    """Decodes the images of a listing; the broken ones are left out."""
    files = listing.train + listing.test
    images = np.empty((len(files), 3, SIZE, SIZE), dtype=np.uint8)
    broken: dict[int, _Broken] = {}
    sink.progress("reading images", 0, len(files))
    with (
        warnings.catch_warnings(),
        # Threads are enough: Pillow's decoders release the GIL.
        ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool,
    ):
        # Pillow warns of images that it can read but finds odd (corrupt EXIF data, for one).
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for start in range(0, len(files), _BATCH):
            check_interrupt(sink)
            batch = files[start : start + _BATCH]
            results = pool.map(_decode, [root / path for path, _ in batch])
            for number, result in enumerate(results, start):
                if isinstance(result, _Broken):
                    broken[number] = result
                else:
                    images[number] = result
            sink.progress("reading images", min(start + _BATCH, len(files)), len(files))
    good = np.array([n not in broken for n in range(len(files))], dtype=bool)
    labels = np.array([label for _, label in files], dtype=np.int64)
    skipped = tuple(f"{_shown(files[n][0])} ({fault.why})" for n, fault in broken.items())
    _check_broken(root, listing, good, labels, skipped)

    def part(rows: slice) -> tuple[Tensor, Tensor]:
        keep = good[rows]
        whole = bool(keep.all())  # then no copy of what may be gigabytes
        return (
            torch.from_numpy(images[rows] if whole else images[rows][keep]),
            torch.from_numpy(labels[rows][keep]),
        )

    count = len(listing.train)
    return ImageArrays(
        train=part(slice(0, count)),
        test=part(slice(count, None)) if good[count:].any() else None,
        class_names=listing.classes,
        skipped=skipped,
        lasting=all(fault.lasting for fault in broken.values()),
    )


def picture(path: Path) -> NDArray[np.uint8] | None:
    """One image as the data set would hold it: uint8 (3, 32, 32), or None when it is broken."""
    image = _decode(path)
    return None if isinstance(image, _Broken) else image


def _decode(path: Path) -> NDArray[np.uint8] | _Broken:
    """uint8 (3, 32, 32), or why not."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * SIZE:
                # Has the JPEG decoder scale a large photograph down while it decodes, to no less
                # than twice the final size.
                image.draft("RGB", (2 * SIZE, 2 * SIZE))
            colour = _to_rgb(_upright(image))
            if colour.size != (SIZE, SIZE):
                colour = ImageOps.fit(colour, (SIZE, SIZE), Image.Resampling.BICUBIC)
            return np.asarray(colour).transpose(2, 0, 1)  # (32, 32, 3) -> (3, 32, 32)
    except UnidentifiedImageError:
        return _Broken("not an image", lasting=True)
    except Exception as error:  # decoders of malformed bytes raise nearly anything
        # With an errno it is an error of the disk; Pillow's own OSErrors have none.
        if isinstance(error, OSError) and error.errno:
            return _Broken(reason(error), lasting=False)
        why = clean_text(str(error), 80) or type(error).__name__
        return _Broken(why, lasting=not isinstance(error, MemoryError))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # malformed EXIF data; the pixels may be sound
        image.load()
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB; what is transparent is black."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel, in a PNG: convert() would clip at 255
        values = np.asarray(image).astype(np.float64) * (255.0 / 65535.0)
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def _check_broken(
    root: Path,
    listing: _Listing,
    good: NDArray[np.bool_],
    labels: NDArray[np.int64],
    skipped: tuple[str, ...],
) -> None:
    """Refuses a folder with more broken images than good, or a class without a readable one."""
    if not skipped:
        return
    if len(skipped) > _MOST_BROKEN * len(good):
        raise DataError(
            f"{len(skipped)} of {len(good)} images in {_shown(root)} cannot be read, the "
            f"first is {skipped[0]}; most of them must be readable."
        )
    count = len(listing.train)
    readable = Counter(labels[:count][good[:count]].tolist())
    for number, name in enumerate(listing.classes):
        if not readable[number]:
            raise DataError(
                f"No training image of the class {name} in {_shown(root)} can be read; "
                f"the first broken image is {skipped[0]}."
            )


def _shown(path: Path | str) -> str:
    """A path for a message, in one line."""
    return clean_text(str(path), _SHOWN)
