"""Adding an augmentation touches two new files and one line; it was twelve places.

They were: the type of its settings, its field, the names of the order and the default order in
``schema``; its rules and the names of the order in ``presets``; its parameters, its columns, its
drawing, its place among the branches of applying and its work in ``augmenter``; the names in
``form``.
"""

import json
from pathlib import Path

import pytest

from engine.config.augment import AUGMENTATIONS, GEOMETRY, augment_problems, short_label
from engine.config.resolve import build
from engine.config.schema import AugmentConfig, PretrainConfig

from ..copied_packages import CopiedPackages

SETTINGS = '''"""Solarisation: its settings."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct

from engine.config.augment.augmentation import AugmentationPart, Probability, Problem, above


class SolarizeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Solarisation."""

    enabled: Annotated[bool, Meta(description="invert what is bright")] = False
    p: Probability = 0.5
    low: Annotated[float, Meta(ge=0.0, le=1.0, description="smallest threshold")] = 0.25
    high: Annotated[float, Meta(ge=0.0, le=1.0, description="largest threshold")] = 0.75


def _problems(config: SolarizeConfig) -> Iterable[Problem]:
    yield from above(config, "low", "high", "augment.solarize")


PART = AugmentationPart(
    name="solarize",
    summary="bright pixels inverted",
    work="engine.augment.solarize:Solarize",
    settings=SolarizeConfig,
    short_label=lambda settings: f"sol{settings['low']:g}",
    problems=_problems,
)
'''
WORK = '''"""Solarisation."""

import torch

from engine.augment.augmentation import between, chosen, column


class Solarize:
    """Inverts what is bright."""

    numbers = 2

    def __init__(self, config, size):
        self.config = config

    def params(self, uniform):
        """Thresholds; above 1 where nothing was drawn."""
        threshold = between(uniform[:, 1], self.config.low, self.config.high)
        return torch.where(chosen(uniform[:, 0], self.config), threshold, 2.0)

    def apply(self, images, params, *, dense):
        """The images."""
        return torch.where(images > column(params, 4), 1.0 - images, images)
'''
TINY = {
    "model.dim": 8, "model.bn_splits": 2, "moco.queue_size": 20, "optim.batch_size": 8,
    "optim.epochs": 4,
}  # fmt: skip
LOSSES = """
import json, sys, torch
from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.pretrain.pretraining import Pretraining
from engine.runtime.device import Runtime

images = torch.randint(0, 256, (28, 3, 32, 32), dtype=torch.uint8,
                       generator=torch.Generator().manual_seed(5))
runtime = Runtime(torch.device("cpu"), "cpu", bfloat16=False, threads=1)
losses = []
for values in json.loads(sys.argv[1]):
    training = Pretraining(build(PretrainConfig, values), images, runtime)
    losses.append([float(training.advance()) for _ in range(2)])
    training.close()
print(json.dumps(losses))
"""
FACES = """
import asyncio, json
from engine.config.augment import short_label
from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.errors import ConfigError
from moco_tui.present.form import FormState
from moco_tui.widgets.form_rows import FieldRow
from moco_tui.terminal.themed_app import ThemedApp
from moco_tui.widgets.run_form import RunForm

state = FormState("pretrain")
class Form(ThemedApp):
    def compose(self):
        yield RunForm(state, [])
async def shown():
    async with Form().run_test() as pilot:
        return [row.field.key for row in pilot.app.query(FieldRow)]
rows = asyncio.run(shown())
state.set("augment.solarize.high", "0.1")
def refused(values):
    try:
        build(PretrainConfig, values)
    except ConfigError as error:
        return str(error)
six = ["crop", "rotation", "flip", "blur", "color_jitter", "grayscale"]
print(json.dumps({
    "rows": rows,
    "help": state.known["augment.solarize.low"].help,
    "errors": state.errors(),
    "label": short_label("solarize", {"low": 0.5}),
    "default order": build(PretrainConfig, {}).augment.order,
    "recorded": refused({"augment.order": six}),
    "left out": refused({"augment.order": six, "augment.solarize.enabled": True}),
}))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> CopiedPackages:
    """Both packages with an augmentation more."""
    copied = CopiedPackages(tmp_path_factory.mktemp("packages"))
    copied.add_file("engine/config/augment/solarize.py", SETTINGS)
    copied.add_file("engine/augment/solarize.py", WORK)
    copied.add_line("engine/config/augment/__init__.py", '    "grayscale",', '    "solarize",')
    return copied


def test_three_places_are_touched(packages: CopiedPackages) -> None:
    assert len(packages.touched) == 3


def test_a_pretraining_applies_it_and_one_without_it_stays_as_it_was(
    packages: CopiedPackages, tmp_path: Path
) -> None:
    on = TINY | {"augment.solarize.enabled": True}
    without, with_it = json.loads(packages.run("-c", LOSSES, json.dumps([TINY, on])))
    unchanged = CopiedPackages(tmp_path)
    assert json.loads(unchanged.run("-c", LOSSES, json.dumps([TINY]))) == [without]
    assert with_it != without


def test_the_form_its_rules_and_the_tables_know_it(packages: CopiedPackages) -> None:
    faces = json.loads(packages.run("-c", FACES))
    assert {f"augment.solarize.{name}" for name in ("enabled", "low", "high")} <= {*faces["rows"]}
    assert faces["help"] == "smallest threshold"
    assert faces["errors"] == {
        "augment.solarize.low": "is 0.25, above augment.solarize.high (0.1); it must not be larger"
    }
    assert faces["label"] == "sol0.5"
    assert faces["default order"][-1] == "solarize"
    assert faces["recorded"] is None, "an order that was written before goes on being right"
    assert "grayscale, solarize once" in faces["left out"]


def test_the_list_of_settings_has_its(packages: CopiedPackages) -> None:
    listed = packages.run("-m", "moco_tui", "presets", "--settings")
    assert "augment.solarize.low" in listed
    assert "smallest threshold" in listed


# ------------------------------------------------------------------------- what there is today


def test_every_augmentation_has_its_settings_off_and_on_and_its_work() -> None:
    assert tuple(AugmentConfig.__struct_fields__) == ("order", *AUGMENTATIONS)
    assert AugmentConfig().order == tuple(AUGMENTATIONS)
    assert GEOMETRY == ("crop", "rotation", "flip")
    for name, part in AUGMENTATIONS.items():
        assert part.settings is type(getattr(AugmentConfig(), name))
        assert part.settings.__struct_fields__[0] == "enabled"
        assert callable(AUGMENTATIONS.load(name))


@pytest.mark.parametrize(
    ("name", "settings", "label"),
    [
        ("crop", {}, "crop"),
        ("rotation", {"degrees": 15.0}, "rot15"),
        ("rotation", {"degrees": 0.0}, "rotation"),
        ("rotation", {}, "rotation"),
        ("color_jitter", {}, "color"),
        ("grayscale", {}, "gray"),
        ("my.module:Clip", {}, "Clip"),
    ],
)
def test_tables_show_a_short_label(name: str, settings: dict[str, float], label: str) -> None:
    assert short_label(name, settings) == label


def test_one_that_is_on_must_stand_in_the_order_once() -> None:
    order = list(AUGMENTATIONS)
    build(PretrainConfig, {"augment.order": [n for n in order if n not in ("flip", "grayscale")]})
    for wrong in (order[1:], [*order, "blur"], []):
        found = augment_problems(AugmentConfig(order=tuple(wrong)))
        assert "must name each of crop, rotation" in found["augment.order"]
