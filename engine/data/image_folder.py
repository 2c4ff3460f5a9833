"""Any folder of images as uint8 tensors: read once by threads, then cached as one array."""

from __future__ import annotations

import hashlib
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config.data.data_set import SIZE
from engine.data.dataset import Dataset, Split
from engine.data.folder_listing import (
    FOREIGN,
    Listing,
    folders_and_files,
    is_own_folder,
    list_folder,
    shown,
)
from engine.data.image_cache import ImageArrays, cached
from engine.data.image_decoder import Broken, decode, decoder, decoder_name, is_called_image
from engine.data.image_store import ImageStore
from engine.errors import DataError
from engine.files import reason
from engine.sink import Sink, check_interrupt
from engine.text import clean_text

_BATCH = 256  # images handed to the threads at a time; a stop is noticed between two batches
_MOST_BROKEN = 0.5  # share of the images that may be unreadable
_BROKEN = ("broken image", "broken images")
_SAMPLE_ENTRIES, _SAMPLE_FILES = 200, 8  # looked at and taken of each class for a sample


def load(
    argument: str,
    data_dir: Path,
    sink: Sink,
    own_folders: Collection[Path] = (),
    size: int = SIZE,
) -> Dataset:
    """The images below the folder ``argument``; see ``load_folder``."""
    found = load_folder(_root(argument), data_dir, sink, own_folders, size=size)
    return Dataset(
        f"folder:{argument}",
        Split(*found.train),
        None if found.test is None else Split(*found.test),
        found.class_names,
        found.skipped,
        left_out=found.left_out,
        decoder=decoder_name(),
    )


def sample(argument: str, _data_dir: Path, count: int, size: int = SIZE) -> Tensor:
    """A few images, uint8 (n, 3, size, size), n <= count, of each class in turn.

    Looks at a few files only, however many there are.

    Raises:
        DataError: when there is no such folder, or no image in those files.
    """
    root = _root(argument)
    top = root / "train" if (root / "train").is_dir() else root
    if not top.is_dir():
        raise DataError(f"There is no folder {shown(root)}.")
    # Up to four files for each picture wanted: some may be broken.
    found = (picture(path, size) for path in itertools.islice(_in_turn(top), 4 * count))
    pictures = list(itertools.islice((p for p in found if p is not None), count))
    if not pictures:
        raise DataError(f"There are no images in {shown(top)}.")
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
        folders, _ = folders_and_files(top)
        classes = [Path(e.path) for e in folders if not is_own_folder(e.path)]
        lists = [_first_files(folder) for folder in classes] if classes else [_first_files(top)]
    except OSError as error:
        raise DataError(f"The folder {shown(top)} cannot be read: {reason(error)}.") from error
    for group in itertools.zip_longest(*lists):
        yield from (path for path in group if path is not None)


def _first_files(folder: Path) -> list[Path]:
    """A few image files, without listing a folder that may hold a million."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in itertools.islice(entries, _SAMPLE_ENTRIES))
        files = sorted(folder / name for name in names if not name.startswith("."))
    # Those that are called images first: of the others most are none.
    files.sort(key=lambda path: not is_called_image(path.name))
    return files[:_SAMPLE_FILES]


def load_folder(
    root: Path,
    data_dir: Path,
    sink: Sink,
    own_folders: Collection[Path] = (),
    *,
    size: int = SIZE,
) -> ImageArrays:
    """Reads the images below ``root``.

    Three layouts are understood: ``train/<class>/*`` with ``test/<class>/*`` beside it (which may
    be missing, or be called ``val``), ``<class>/*`` (no test set), and images directly in the
    folder or in ``train`` (no classes: fit for pretraining only). A folder ``unlabeled`` or
    ``unlabelled`` beside those of the classes holds images without a class. Whatever Pillow reads
    counts, by its content; hidden files and folders are passed over, and so are this program's own.
    For how an image is decoded see ``image_decoder.decode``; one of more than 178,956,970 pixels,
    or in a file of more than 4 GiB, counts as broken. Names of classes are in the Unicode normal
    form NFC, without control characters.

    Args:
        root: the folder.
        data_dir: the cache lives in ``data_dir/cache``, one file for a folder and size; it holds
            for the paths, sizes and times of all files and for the decoder, so that any change
            makes it anew.
        sink: receives the progress and may ask to stop.
        own_folders: the runs folder and the like, which are no classes.
        size: height and width of the images, in pixels.

    Returns:
        The images; ``left_out`` says in one line what of the folder is not among them.

    Raises:
        DataError: when there is no such folder, no image in it, images beside class folders, one
            class only, a test class that is not a training class, a class without one readable
            training image, or more broken images than good.
        Interrupted: when the sink asked to stop.
    """
    try:
        if not root.exists():
            raise DataError(
                f"There is no folder {shown(root)}; --data folder:PATH needs one with images."
            )
        if not root.is_dir():
            raise DataError(
                f"{shown(root)} is a file; --data folder:PATH needs a folder with images."
            )
        listing = list_folder(root, own_folders)
    except OSError as error:
        raise DataError(f"The folder {shown(root)} cannot be read: {reason(error)}.") from error
    _check(root, listing)
    # Named by the folder's path and the size alone: a folder that changed replaces its old cache.
    root_digest = hashlib.blake2b(os.fsencode(root.absolute()), digest_size=8).hexdigest()
    of_size = "" if size == SIZE else f"-{size}"
    path = data_dir / "cache" / f"folder-{root_digest}{of_size}.images"
    key = f"{listing.key}, {decoder(size)}"
    most = len(listing.train) + len(listing.test)

    def make() -> ImageArrays:
        return _read(root, listing, ImageStore(most, size, path.parent), size, sink)

    found = cached(path, key, sink, make, size=size, most=most)
    if found.foreign:
        listing.left_out.add(FOREIGN, found.first_foreign, found.foreign)
    if found.skipped:
        listing.left_out.add(_BROKEN, found.skipped[0], len(found.skipped))
    if found.class_names and found.test is None:
        listing.left_out.remarks.append(
            "there is no test set, which a probe will need: test/<class>/ beside train/<class>/"
        )
    return replace(found, left_out=listing.left_out.sentence(root))


def _check(root: Path, listing: Listing) -> None:
    """Refuses folders that cannot be trained on, before any image is decoded."""
    if not listing.train:
        raise _no_image(root)
    counts = Counter(label for _, label in listing.train)
    for number, name in enumerate(listing.classes):
        if not counts[number]:
            raise _empty_class(root, name)
    if len(listing.classes) == 1:
        only = root / Path(listing.train[0][0]).parent
        raise DataError(
            f"{shown(root)} has one class only ({listing.classes[0]}); there must be two or "
            f"more. --data folder:{shown(only)} takes its images without classes."
        )
    same = [name for name, count in Counter(listing.classes).items() if count > 1]
    if same:
        raise DataError(
            f"Two classes in {shown(root)} have the name {same[0]}, control characters apart; "
            "rename one."
        )


# ------------------------------------------------------------------------------------ reading


def _read(root: Path, listing: Listing, store: ImageStore, size: int, sink: Sink) -> ImageArrays:
    """Decodes the images of a listing into a store; the broken ones are left out."""
    files = listing.train + listing.test
    broken: dict[int, Broken] = {}
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
            results = pool.map(lambda file: decode(root / file[0], size), batch)
            for number, result in enumerate(results, start):
                if isinstance(result, Broken):
                    broken[number] = result
                else:
                    store.add(result[np.newaxis])
            sink.progress("reading images", min(start + _BATCH, len(files)), len(files))
    good = np.array([n not in broken for n in range(len(files))], dtype=bool)
    labels = np.array([label for _, label in files], dtype=np.int64)
    foreign = [files[n][0] for n, fault in broken.items() if fault.foreign]
    skipped = tuple(
        f"{shown(files[n][0])} ({fault.why})" for n, fault in broken.items() if not fault.foreign
    )
    if not skipped and not good.any():
        raise _no_image(root)
    _check_broken(root, listing, good, labels, skipped)

    images, known = store.images(), torch.from_numpy(labels[good])
    count = int(good[: len(listing.train)].sum())
    return ImageArrays(
        train=(images[:count], known[:count]),
        test=(images[count:], known[count:]) if good[len(listing.train) :].any() else None,
        class_names=listing.classes,
        skipped=skipped,
        lasting=all(fault.lasting for fault in broken.values()),
        foreign=len(foreign),
        first_foreign=shown(foreign[0]) if foreign else "",
    )


def picture(path: Path, size: int = SIZE) -> NDArray[np.uint8] | None:
    """One image as the data set would hold it: uint8 (3, size, size); None when it is broken."""
    image = decode(path, size)
    return None if isinstance(image, Broken) else image


def _check_broken(
    root: Path,
    listing: Listing,
    good: NDArray[np.bool_],
    labels: NDArray[np.int64],
    skipped: tuple[str, ...],
) -> None:
    """Refuses a folder with more broken images than good, or a class without a readable one."""
    images = int(good.sum()) + len(skipped)  # without the files that are none
    if len(skipped) > _MOST_BROKEN * images:
        raise DataError(
            f"{len(skipped)} of {images} images in {shown(root)} cannot be read, the "
            f"first is {skipped[0]}; most of them must be readable."
        )
    count = len(listing.train)
    readable = Counter(labels[:count][good[:count]].tolist())
    for number, name in enumerate(listing.classes):
        if not readable[number] and not skipped:
            raise _empty_class(root, name)
        if not readable[number]:
            raise DataError(
                f"No training image of the class {name} in {shown(root)} can be read; "
                f"the first broken image is {skipped[0]}."
            )


def _no_image(root: Path) -> DataError:
    return DataError(
        f"There is no image in {shown(root)}; "
        "it must hold train/<class>/ and test/<class>/, or <class>/, or images."
    )


def _empty_class(root: Path, name: str) -> DataError:
    return DataError(
        f"The class {name} in {shown(root)} has no training image; "
        "every class needs one, directly in its folder."
    )
