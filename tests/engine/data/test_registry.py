"""Adding a data set touches two new files and one line; it was twelve places with its tasks.

They were: the pattern of the source and its help in ``schema``; its classes and the groups of its
binary task in ``class_names``; the branch and its loading in ``dataset``; its task groups and the
sentence about them in ``tasks``; the choices in ``form_rows``; the branch of the preview; the help
of ``pretrain --data`` and of ``study --data``.
"""

import json

import pytest

from engine.config.data import (
    DATA_SETS,
    absolute_source,
    source_path,
    sources_in_words,
    task_groups,
)

from ..copied_packages import CopiedPackages

NAMES = ["cifar10", "cifar100", "stl10", "svhn", "svhn-extra", "imagenette"]
PUBLISHED = ", ".join(NAMES)
FACTS = '''"""Stripes: their classes."""

from engine.config.data.data_set import DataSetPart

PART = DataSetPart(
    name="stripes",
    summary="stripes in four directions",
    work="engine.data.stripes:load",
    title="stripes",
    class_names=("across", "down", "fall", "rise"),
    tasks={"binary": {"straight": ("across", "down"), "slanted": ("fall", "rise")}},
)
'''
WORK = '''"""Stripes."""

import torch

from engine.config.data.stripes import PART
from engine.data.dataset import Dataset, Split


def load(argument, data_dir, sink):
    """64 images to train on, 8 to test."""
    labels = torch.arange(72) % 4
    images = (torch.arange(3 * 32 * 32).view(1, 3, 32, 32) * (1 + labels.view(-1, 1, 1, 1))) % 251
    images = images.to(torch.uint8)
    train, test = Split(images[:64], labels[:64]), Split(images[64:], labels[64:])
    return Dataset("stripes", train, test, PART.class_names)
'''
FACES = """
import asyncio, json
from textual.app import App
from pathlib import Path
from engine.config.schema import AugmentConfig, TaskConfig
from engine.config.fields import fields
from engine.config.schema import PretrainConfig
from engine.errors import DataError
from engine.evaluate.tasks import resolve_task
from moco_tui.present.augment_preview import Previewer, PreviewRequest
from moco_tui.present.form import FormState
from moco_tui.widgets.form_rows import FieldRow
from moco_tui.widgets.open_rows import field_row

state = FormState("pretrain")
class Form(App):
    def compose(self):
        yield field_row(state.known["data.source"], state)
async def choices():
    async with Form().run_test() as pilot:
        return [name for name, _ in pilot.app.query_one(FieldRow).editor.options]
offered = asyncio.run(choices())
state.set("data.source", "stripes")
field = fields(PretrainConfig)["data.source"]
names = ("across", "down", "fall", "rise")
try:
    resolve_task(TaskConfig(name="five"), names)
except DataError as error:
    sentence = str(error)
print(json.dumps({
    "offered": offered,
    "errors": state.errors(),
    "help": field.help,
    "expectation": field.expectation(),
    "binary": resolve_task(TaskConfig(name="binary"), names).members,
    "sentence": sentence,
    "preview": len(Previewer(Path("nowhere")).views(PreviewRequest("stripes", AugmentConfig(), 8))),
}))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> CopiedPackages:
    """Both packages with a data set more."""
    copied = CopiedPackages(tmp_path_factory.mktemp("packages"))
    copied.add_file("engine/config/data/stripes.py", FACTS)
    copied.add_file("engine/data/stripes.py", WORK)
    copied.add_line("engine/config/data/__init__.py", '    "shapes",', '    "stripes",')
    return copied


def test_three_places_are_touched(packages: CopiedPackages) -> None:
    assert len(packages.touched) == 3


def test_a_pretraining_takes_its_images(packages: CopiedPackages) -> None:
    settings = ("model.dim=8", "bn_splits=2", "queue_size=20", "batch_size=32", "optim.epochs=1")
    sets = [word for text in (*settings, "knn_every=0") for word in ("--set", text)]
    told = json.loads(
        packages.run(
            "-m", "moco_tui", "pretrain", "--data", "stripes", *sets, "--device", "cpu",
            "--runs-dir", "runs", "--data-dir", "data", "--json",
        )
    )  # fmt: skip
    assert told["status"] == "finished"
    assert told["step"] == 2


def test_the_form_the_tasks_and_the_preview_know_it(packages: CopiedPackages) -> None:
    faces = json.loads(packages.run("-c", FACES))
    assert faces["offered"] == [*NAMES, "shapes", "stripes", "folder", "own ..."]
    assert faces["errors"] == {}
    help_ = f"{PUBLISHED}, shapes (embedded, no download), stripes or folder:PATH"
    assert faces["help"] == help_
    assert f"{PUBLISHED}, shapes, stripes, folder:PATH" in faces["expectation"]
    assert faces["binary"] == [["across", "down"], ["fall", "rise"]]
    titles = "CIFAR-10, STL-10, SVHN, Imagenette, shapes and stripes"
    assert f"the classes of {titles}, or for just 5, and this data has 4" in faces["sentence"]
    assert faces["preview"] == 6


def test_the_commands_name_it(packages: CopiedPackages) -> None:
    assert f"{PUBLISHED}, shapes, stripes or folder:PATH" in " ".join(
        packages.run("-m", "moco_tui", "pretrain", "--help").split()
    )
    assert "stripes or folder:PATH" in packages.run("-m", "moco_tui", "presets", "--settings")


# ------------------------------------------------------------------------- what there is today


def test_what_a_source_may_be() -> None:
    assert sources_in_words() == f"{PUBLISHED}, shapes (embedded, no download) or folder:PATH"
    for right in ("cifar10", "shapes", "folder:/a b", "folder:pets", "my.sets:birds"):
        assert DATA_SETS.accepts(right)
    for wrong in ("imagenet", "folder", "folder:", "", None, 3, "my.sets:", ":birds"):
        assert not DATA_SETS.accepts(wrong)
    # what looks like a path of the user's own is a folder first
    assert not DATA_SETS.is_own("folder:pets")
    assert DATA_SETS.is_own("my.sets:birds")


def test_the_path_of_a_source() -> None:
    assert source_path("folder:/a:b") == "/a:b"
    assert source_path("shapes") is None
    assert source_path("my.sets:birds") is None
    assert absolute_source("shapes") == "shapes"
    assert absolute_source("folder:/a/b") == "folder:/a/b"
    assert absolute_source("folder:~").startswith("folder:/")


def test_every_data_set_has_its_work_and_groups_of_its_own_classes() -> None:
    for part in DATA_SETS.values():
        assert callable(DATA_SETS.load(f"{part.name}:/x" if part.argument else part.name))
        assert part.class_names == tuple(sorted(part.class_names))
        for task, groups in part.tasks.items():
            members = [name for group in groups.values() for name in group]
            assert set(members) <= set(part.class_names)
            assert len(set(members)) == len(members)
            assert task_groups(task, part.class_names[::-1]) == groups
    assert task_groups("binary", ("cat", "dog")) is None
