"""What of a folder is taken for images of which class, and what is said of the rest."""

import hashlib
import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from engine.config.schema import PretrainConfig
from engine.data import folder_listing, image_decoder, image_folder
from engine.data.folder_listing import list_folder
from engine.data.image_folder import load_folder, sample
from engine.errors import DataError
from engine.runs.root import create
from engine.sink import NullSink


def plant(root, *paths):
    """Images (each of a gray of its own) and, at other paths than of images, texts."""
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix in (".txt", ".md"):
            file.write_text("notes")
        else:
            Image.new("L", (32, 32), number).save(file)
    return root


def load(root, tmp_path, *own):
    return load_folder(root, tmp_path / "data", NullSink(), own)


@pytest.fixture
def pets(tmp_path):
    return plant(tmp_path / "pets", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")


# ----------------------------------------------------------------------- own folders


def test_runs_and_caches_are_no_classes_wherever_they_lie(pets, tmp_path):
    create(pets / "runs", "pretrain", PretrainConfig())
    create(pets / "elsewhere/deep", "pretrain", PretrainConfig())
    (pets / "elsewhere/deep").rename(pets / "deep")
    (pets / "elsewhere").rmdir()
    (pets / "indexed").mkdir()
    (pets / "indexed/history.json").write_text("{}")
    create(pets, "pretrain", PretrainConfig())  # a run beside the classes
    load_folder(plant(tmp_path / "other", "a.png"), pets / "downloads", NullSink())
    found = load(pets, tmp_path)
    assert found.class_names == ("cat", "dog")
    assert "5 folders of runs or caches" in found.left_out
    assert len(sample(str(pets), tmp_path, 4)) == 4


def test_a_configured_folder_is_no_class_while_it_is_still_empty(pets, tmp_path):
    (pets / "runs").mkdir()
    with pytest.raises(DataError, match="class runs"):
        load(pets, tmp_path)
    assert load(pets, tmp_path, pets / "runs").class_names == ("cat", "dog")
    (pets / "linked").symlink_to(tmp_path)  # the folder of this data set's own cache
    assert load_folder(pets, tmp_path, NullSink(), (pets / "runs", tmp_path)).class_names == (
        "cat",
        "dog",
    )


def test_a_class_may_be_called_runs_or_cache(tmp_path):
    root = plant(tmp_path / "images", "runs/1.png", "cache/1.png", "history/1.png")
    assert load(root, tmp_path).class_names == ("cache", "history", "runs")


# ----------------------------------------------------------------------- bad entries


def test_one_bad_entry_is_named_once_and_condemns_nothing(pets, tmp_path):
    (pets / "cat/loop.png").symlink_to("loop.png")
    (pets / "loop").symlink_to("loop")
    os.mkfifo(pets / "dog/pipe.png")
    found = load(pets, tmp_path)
    assert len(found.train[0]) == 4
    assert (
        "3 unreadable entries (first: pets/loop: it is a link that leads back to itself"
        in found.left_out
    )
    assert len(sample(str(pets), tmp_path, 4)) == 4


@pytest.mark.parametrize("number", [13, 5])
def test_an_entry_that_the_system_refuses_is_passed_over(pets, tmp_path, monkeypatch, number):
    class Refused:
        def __init__(self, entry):
            self.entry = entry

        def __getattr__(self, name):
            return getattr(self.entry, name)

        def is_dir(self, **_options):
            raise OSError(number, os.strerror(number))

    scan = os.scandir

    class Scanned:
        def __init__(self, path):
            self.entries = [Refused(e) if e.name == "2.png" else e for e in scan(path)]

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Scanned)
    found = load(pets, tmp_path)
    assert len(found.train[0]) == 2
    why = {13: "permission is denied", 5: "the disk reports an error"}[number]
    assert f"2 unreadable entries (first: cat/2.png: {why})" in found.left_out


# ----------------------------------------------------------------------- what is left out


def test_everything_that_is_left_out_is_counted_in_one_line(tmp_path):
    root = _tree(tmp_path)
    for _ in range(2):  # the second time from the cache
        found = load(root, tmp_path)
        assert [found.train[1].tolist().count(c) for c in (0, 1)] == [2, 5]
        assert found.test is not None
        assert found.left_out == (
            f"{root}: left out: 3 files that are no images (first: README.md), "
            "1 folder inside a class (cat/raw), 1 file beside train (LICENSE.md), "
            "2 folders beside train (first: val), 1 broken image (train/dog/6.jpg (not an image))"
        )
    assert "\n" not in found.left_out


def _tree(tmp_path):
    root = plant(tmp_path / "images", "train/cat/1.png", "train/cat/raw/1.png", "test/cat/1.png")
    plant(root, "train/cat/notes.txt", "train/README.md", "LICENSE.md", "val/cat/1.png")
    plant(root, "extra/1.png")
    for name in ("1.bmp", "2.gif", "3.ppm", "4.tif"):
        plant(root, f"train/dog/{name}")
    Image.new("L", (32, 32)).save(root / "train/dog/5", format="PNG")
    Image.new("L", (32, 32)).save(root / "train/cat/by-content.txt", format="BMP")
    (root / "train/dog/also-none").write_bytes(b"\0" * 100)
    (root / "train/dog/6.jpg").write_bytes(b"<html>")
    return root


def test_nothing_is_said_of_a_folder_that_is_used_whole(tmp_path):
    root = plant(tmp_path / "i", "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png")
    assert load(root, tmp_path).left_out == ""
    assert load(plant(tmp_path / "flat", "1.png", "2.png"), tmp_path).left_out == ""


def test_a_folder_of_texts_is_no_data_set(tmp_path):
    root = plant(tmp_path / "texts", "a.txt", "b.md")
    with pytest.raises(DataError, match="There is no image in"):
        load(root, tmp_path)
    root = plant(tmp_path / "half", "a/1.png", "b/1.txt")
    with pytest.raises(DataError, match=r"The class b in .* has no training image"):
        load(root, tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_serves_as_the_test_set_where_there_is_no_other(tmp_path, name):
    root = plant(tmp_path / "i", "train/a/1.png", "train/b/1.png", f"{name}/b/1.png")
    found = load(root, tmp_path)
    assert found.test is not None
    assert found.test[1].tolist() == [1]
    assert found.left_out == f"{root}: {name} serves as the test set"
    # as ImageNet has it: a test set without labels beside it
    plant(root, "test/1.png", "test/2.png")
    found = load(root, tmp_path)
    assert found.test is not None
    assert found.test[1].tolist() == [1]
    assert "test holds 2 files and no folders of classes: without labels" in found.left_out
    assert f"{name} serves as the test set" in found.left_out
    # test with classes wins
    plant(root, "test/a/1.png")
    found = load(root, tmp_path)
    assert found.test is not None
    assert found.test[1].tolist() == [0]
    assert f"1 folder beside train ({name})" in found.left_out


def test_a_missing_test_set_is_said_when_the_images_are_read(tmp_path):
    root = plant(tmp_path / "i", "train/a/1.png", "train/b/1.png", "test/1.png")
    found = load(root, tmp_path)
    assert found.test is None
    assert "without labels they are no test set" in found.left_out
    assert "there is no test set, which a probe will need" in found.left_out


def test_flat_images_may_have_notes_beside_them_but_no_folder_of_images(tmp_path):
    root = plant(tmp_path / "i", "1.png", "2.png", "notes/read.txt")
    found = load(root, tmp_path)
    assert found.class_names == ()
    assert len(found.train[0]) == 2
    assert "1 folder without images (notes)" in found.left_out


# ----------------------------------------------------------------------- names

E_ACUTE = unicodedata.normalize("NFC", "caf\u00e9"), unicodedata.normalize("NFD", "caf\u00e9")


@pytest.mark.parametrize(("train", "test"), [E_ACUTE, E_ACUTE[::-1]])
def test_names_match_whatever_their_unicode_normal_form(tmp_path, train, test):
    root = plant(tmp_path / "i", f"train/{train}/1.png", "train/bar/1.png", f"test/{test}/1.png")
    found = load(root, tmp_path)
    assert found.class_names == ("bar", E_ACUTE[0])
    assert found.test is not None
    assert found.test[1].tolist() == [1]


def test_two_folders_of_one_name_are_refused_with_what_tells_them_apart(tmp_path):
    root = plant(tmp_path / "i", f"{E_ACUTE[0]}/1.png", f"{E_ACUTE[1]}/1.png")
    with pytest.raises(DataError) as caught:
        load(root, tmp_path)
    assert r"('cafe\u0301' and 'caf\xe9')" in str(caught.value)
    assert "rename one" in str(caught.value)


# ----------------------------------------------------------------------- cost


def test_a_listing_opens_no_file_but_those_beside_the_classes(tmp_path, monkeypatch):
    root = plant(tmp_path / "i", *(f"{c}/{i}.png" for c in "ab" for i in range(9)), "README.md")
    opened = []

    def counting(path):
        opened.append(Path(path).name)
        return image_decoder.is_image(path)

    def forbidden(path):
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(folder_listing, "is_image", counting)
    monkeypatch.setattr(image_folder, "decode", forbidden)
    assert len(list_folder(root).train) == 18
    assert opened == ["README.md"]
    plant(tmp_path / "flat", *(f"{i}.png" for i in range(9)))
    assert len(list_folder(tmp_path / "flat").train) == 9
    assert opened == ["README.md"]


# ------------------------------------------------------------------------- without labels


@pytest.mark.parametrize("name", ["unlabeled", "unlabelled"])
@pytest.mark.parametrize("top", ["", "train/"])
def test_a_folder_of_images_without_labels_is_no_class(tmp_path, name, top):
    names = [f"{top}cat/1.png", f"{top}cat/2.png", f"{top}dog/1.png"]
    plant(tmp_path, *names, f"{top}{name}/1.png", f"{top}{name}/2.png")
    listing = list_folder(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert listing.train == [
        *zip(names, (0, 0, 1), strict=True),
        (f"{top}{name}/1.png", -1),
        (f"{top}{name}/2.png", -1),
    ]
    assert listing.left_out.sentence(tmp_path) == ""


def test_both_spellings_may_stand_there_and_their_names_change_the_key(tmp_path):
    plant(tmp_path, "cat/1.png", "dog/1.png", "unlabeled/1.png", "unlabelled/1.png")
    listing = list_folder(tmp_path)
    assert [label for _, label in listing.train] == [0, 1, -1, -1]
    # a cache of these files was made while such a folder was a class
    digest = hashlib.blake2b(digest_size=16)
    for path, _ in listing.train:
        facts = (tmp_path / path).stat()
        digest.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    assert listing.key != digest.hexdigest()


def test_without_classes_such_a_folder_holds_images_alone(tmp_path):
    plant(tmp_path, "unlabeled/1.png", "unlabeled/2.png")
    listing = list_folder(tmp_path)
    assert listing.classes == ()
    assert [label for _, label in listing.train] == [-1, -1]


def test_test_images_without_labels_are_left_out_and_named(tmp_path):
    plant(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/unlabeled/1.png")
    listing = list_folder(tmp_path)
    assert listing.test == [("test/cat/1.png", 0)]
    assert "1 folder of test images without labels (test/unlabeled)" in listing.left_out.sentence(
        tmp_path
    )
