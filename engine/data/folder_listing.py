"""Which files of a folder are images of which class, found without opening more than a few."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.data.image_decoder import is_image
from engine.errors import DataError
from engine.files import reason
from engine.text import clean_text

_TESTS = ("test", "val", "valid", "validation")
"""Folders beside ``train`` that may hold the test set; the first with folders of classes does."""
_SHOWN = 400  # characters of a path in a message
_LONGEST_NAME = 255  # of a file, on the usual file systems


Why = tuple[str, str]
"""Why something is left out: what it is, in the singular and in the plural."""

FOREIGN = ("file that is no image", "files that are no images")
UNREADABLE = ("unreadable entry", "unreadable entries")
_NESTED = ("folder inside a class", "folders inside classes")
_BESIDE_FILE = ("file beside train", "files beside train")
_BESIDE = ("folder beside train", "folders beside train")
_NO_CLASS = ("folder without images", "folders without images")
_NO_LABEL = ("folder of test images without labels", "folders of test images without labels")
UNLABELLED = ("unlabeled", "unlabelled")
"""Folders beside those of the classes whose images have no class: they are pretrained on alone."""
_OWN = ("folder of runs or caches", "folders of runs or caches")


@dataclass
class LeftOut:
    """What a folder holds and is not used, for one sentence.

    Attributes:
        remarks: about the layout, each a part of the sentence.
        counts: how many things are left out for a reason that is given in words.
        first: the name of the first of them.
    """

    remarks: list[str] = field(default_factory=list)
    counts: Counter[Why] = field(default_factory=Counter)
    first: dict[Why, str] = field(default_factory=dict)

    def add(self, why: Why, name: str, count: int = 1) -> None:
        """One thing more (or several) that is left out, with its name."""
        self.counts[why] += count
        self.first.setdefault(why, name)

    def sentence(self, root: Path) -> str:
        """Everything in one line; empty when nothing is left out and nothing remarkable."""
        parts = [
            f"{count:,} {why[count > 1]} ({'first: ' if count > 1 else ''}{shown(self.first[why])})"
            for why, count in self.counts.items()
        ]
        left_out = [f"left out: {', '.join(parts)}"] if parts else []
        told = "; ".join([*left_out, *self.remarks])
        return f"{shown(root)}: {told}" if told else ""


@dataclass(frozen=True)
class Listing:
    """The files of a folder that may be images.

    Attributes:
        classes: names of the classes in the Unicode normal form NFC, sorted; empty without classes.
        train: path relative to the folder, and number of the class (-1: none), of each file; those
            without one beside others with one come last.
        test: the same of the test images.
        key: digest of all paths, sizes and modification times.
        left_out: what is not in it.
    """

    classes: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]
    key: str
    left_out: LeftOut


def list_folder(root: Path, own_folders: Collection[Path] = ()) -> Listing:
    """The files below ``root``, and their classes; see ``image_folder.load_folder``.

    Args:
        root: the folder.
        own_folders: the runs folder and the like: no classes, wherever they lie.

    Raises:
        DataError: when its layout fits none that is understood.
        OSError: when a folder cannot be read.
    """
    out = LeftOut()
    own = {os.path.realpath(folder) for folder in own_folders}
    train_top = root / "train"
    top = train_top if train_top.is_dir() else root
    if top is root and (root / "test").is_dir():
        raise DataError(
            f"{shown(root)} has a folder test and none named train; "
            "it must hold train/<class>/ and test/<class>/."
        )
    digest = hashlib.blake2b(digest_size=16)
    classes, flat = _classes(top, own, out)
    if flat is not None:
        train = _files(top, flat, -1, root, digest, out)
    else:
        unlabelled = [classes.pop(name) for name in UNLABELLED if name in classes]
        train = _class_files(top, classes, list(classes), root, digest, out)
        train += _unlabelled_files(top, unlabelled, root, digest, out)
    test: list[tuple[str, int]] = []
    if top is not root:
        test_top, test_classes = _test_folder(root, top, bool(classes), own, out)
        if test_top is not None:
            test = _class_files(test_top, test_classes, list(classes), root, digest, out)
    names = tuple(clean_text(name, _LONGEST_NAME) or "?" for name in classes)
    return Listing(names, train, test, digest.hexdigest(), out)


def folders_and_files(
    folder: Path, out: LeftOut | None = None
) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """What a folder holds but for hidden names, sorted: the order decides which image is which.

    An entry that cannot be looked at (a link to itself, a file that may not be read) is noted in
    ``out`` and passed over, and so is what is neither a folder nor a file.
    """
    folders: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    with os.scandir(folder) as found:
        entries = sorted(
            (e for e in found if not e.name.startswith(".")), key=lambda entry: entry.name
        )
    for entry in entries:
        try:
            if entry.is_dir():
                folders.append(entry)
            elif entry.is_file():
                files.append(entry)
            elif out is not None:  # a link to nothing, a device
                out.add(UNREADABLE, f"{folder.name}/{entry.name}: no file")
        except OSError as error:
            if out is not None:
                out.add(UNREADABLE, f"{folder.name}/{entry.name}: {reason(error)}")
    return folders, files


def is_own_folder(path: str, own: Collection[str] = ()) -> bool:
    """Whether a folder is one that this program writes: of runs, a run itself, or of data sets.

    Args:
        path: the folder.
        own: real paths of the folders that are in use now.
    """
    if own and os.path.realpath(path) in own:
        return True
    if any(os.path.lexists(f"{path}/{name}") for name in ("run.json", "history.json")):
        return True
    try:
        with os.scandir(path) as entries:
            return any(
                os.path.lexists(f"{entry.path}/run.json")
                or (entry.name == "cache" and _holds_caches(entry.path))
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
            )
    except OSError:  # whoever reads it says so
        return False


def _holds_caches(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(e.name.endswith(".images") for e in entries)


def _classes(
    top: Path, own: Collection[str], out: LeftOut
) -> tuple[dict[str, str], list[os.DirEntry[str]] | None]:
    """The folders of classes in ``top`` by their name in NFC, sorted.

    Returns:
        The folders, and None; no folders and the files in ``top``, when that holds the images.
    """
    folders, files = folders_and_files(top, out)
    kept = []
    for entry in folders:
        if is_own_folder(entry.path, own):
            out.add(_OWN, entry.name)
        else:
            kept.append(entry)
    if not kept:
        return {}, files
    image = next((e.name for e in files if is_image(Path(e.path))), None)
    if image is None:
        _note(FOREIGN, files, out)
        return _normalised(top, [entry.name for entry in kept]), None
    for entry in kept:
        if any(is_image(Path(e.path)) for e in folders_and_files(Path(entry.path))[1]):
            raise DataError(
                f"{shown(top)} holds images ({shown(image)}) beside folders of images "
                f"({shown(entry.name)}); every image must be in the folder of its class, or none."
            )
    _note(_NO_CLASS, kept, out)
    return {}, files


def _note(why: Why, entries: list[os.DirEntry[str]], out: LeftOut) -> None:
    if entries:
        out.add(why, entries[0].name, len(entries))


def _normalised(top: Path, names: Iterable[str]) -> dict[str, str]:
    """Names of folders by their Unicode normal form NFC, sorted by that.

    Systems write one accented letter as one code point or as two, so the names of the folders of
    one class may differ between two places (Unicode Standard Annex 15).

    Raises:
        DataError: when two folders of one place have the same name then.
    """
    found: dict[str, str] = {}
    for name in sorted(names):
        normal = unicodedata.normalize("NFC", name)
        if normal in found:
            raise DataError(
                f"{shown(top)} has two folders that both read {shown(normal)}, written with other "
                f"code points ({found[normal]!a} and {name!a}); rename one."
            )
        found[normal] = name
    return dict(sorted(found.items()))


def _test_folder(
    root: Path, top: Path, labelled: bool, own: Collection[str], out: LeftOut
) -> tuple[Path | None, dict[str, str]]:
    """The folder of the test set beside ``train``, and its folders of classes by name.

    Everything else beside ``train`` is noted as left out.
    """
    folders, files = folders_and_files(root, out)
    _note(_BESIDE_FILE, files, out)
    names = [e.name for e in folders if e.name != top.name and not is_own_folder(e.path, own)]
    chosen: Path | None = None
    classes: dict[str, str] = {}
    for name in sorted(names, key=lambda n: (_TESTS.index(n) if n in _TESTS else len(_TESTS), n)):
        folder = root / name
        if name not in _TESTS or chosen is not None or not labelled:
            out.add(_BESIDE, name)
            continue
        inside, loose = folders_and_files(folder, out)
        if not inside:
            if loose:
                out.remarks.append(
                    f"{name} holds {len(loose):,} files and no folders of classes: without labels "
                    "they are no test set"
                )
            continue
        _note(FOREIGN, loose, out)
        chosen, classes = folder, _normalised(folder, [entry.name for entry in inside])
        for without in UNLABELLED:
            if classes.pop(without, None) is not None:
                out.add(_NO_LABEL, f"{name}/{without}")
        known = _normalised(top, [e.name for e in folders_and_files(top)[0]])
        unknown = sorted(classes.keys() - known.keys())
        if unknown:
            raise DataError(
                f"{shown(folder)} has a class {shown(unknown[0])} that {shown(top)} has "
                "not; a test class must be a training class."
            )
        if name != "test":
            out.remarks.append(f"{name} serves as the test set")
    return chosen, classes


def _class_files(
    top: Path,
    folders: dict[str, str],
    classes: list[str],
    root: Path,
    digest: hashlib.blake2b,
    out: LeftOut,
) -> list[tuple[str, int]]:
    """The files of every class, in the order of the classes; a test set need not have each."""
    found: list[tuple[str, int]] = []
    for number, name in enumerate(classes):
        if name not in folders:
            continue
        folder = top / folders[name]
        nested, files = folders_and_files(folder, out)
        if nested:
            out.add(_NESTED, f"{folders[name]}/{nested[0].name}", len(nested))
        found += _files(folder, files, number, root, digest, out)
    return found


def _unlabelled_files(
    top: Path, folders: list[str], root: Path, digest: hashlib.blake2b, out: LeftOut
) -> list[tuple[str, int]]:
    """The files without a class. They change the key, since such folders once were classes."""
    found: list[tuple[str, int]] = []
    for name in folders:
        digest.update(b"without labels\n")
        found += _class_files(top, {name: name}, [name], root, digest, out)
    return [(path, -1) for path, _ in found]


def _files(
    folder: Path,
    files: list[os.DirEntry[str]],
    number: int,
    root: Path,
    digest: hashlib.blake2b,
    out: LeftOut,
) -> list[tuple[str, int]]:
    """Path (relative to ``root``) and class of each file, which is added to the cache's key."""
    within = os.path.relpath(folder, root)
    prefix = "" if within == os.curdir else f"{within}{os.sep}"
    found: list[tuple[str, int]] = []
    for entry in files:
        path = f"{prefix}{entry.name}"
        try:
            facts = entry.stat()
        except OSError as error:  # removed, or made unreadable, since it was listed
            out.add(UNREADABLE, f"{path}: {reason(error)}")
            continue
        # fsencode: names need not be valid UTF-8.
        digest.update(os.fsencode(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n"))
        found.append((path, number))
    return found


def shown(path: Path | str) -> str:
    """A path for a message, in one line."""
    return clean_text(str(path), _SHOWN)
