"""A data set of the user's own: what it has to give, and what becomes of it."""

from pathlib import Path

import pytest
import torch

from engine.config import own_code
from engine.config.resolve import build, resolve
from engine.config.schema import PretrainConfig
from engine.data.dataset import load_dataset
from engine.errors import ConfigError, DataError
from engine.pretrain.loop import Pretraining

from ..tiny import RUNTIME, TINY

OWN = """
import numpy as np
import torch

def part(n):
    images = torch.arange(n * 3 * 32 * 32).remainder(251).to(torch.uint8).view(n, 3, 32, 32)
    return images, torch.arange(n) % 3

def named(data_dir):
    assert data_dir.name == "data"
    return part(24), part(6), ["ant", "bee", "cow"]
def arrays(data_dir):
    images, labels = part(24)
    return (images.numpy(), labels.numpy().astype(np.int8)), None

not_callable = 3
def nothing(data_dir):
    return None
def no_pair(data_dir):
    return part(24)[0], part(6)
def small(data_dir):
    return (part(24)[0][..., :28, :28], part(24)[1]), None
def floats(data_dir):
    return (part(24)[0] / 255, part(24)[1]), None
def short(data_dir):
    return (part(24)[0], part(23)[1]), None
def negative(data_dir):
    return (part(24)[0], part(24)[1] - 2), None
def empty(data_dir):
    return part(24), part(0)
def few_names(data_dir):
    return part(24), part(6), ["ant", "bee"]
def texts(data_dir):
    return (["a"], ["b"]), None
def breaks(data_dir):
    raise RuntimeError("not today")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_code, "_named", set())
    return name


def config_of(source: str) -> PretrainConfig:
    return resolve(PretrainConfig, sets=[f"data.source={source}"], extra=dict(TINY))


def test_its_images_are_pretrained_on(module: str, tmp_path: Path) -> None:
    config = config_of(f"{module}:named")
    dataset = load_dataset(config.data, data_dir=tmp_path / "data")
    assert dataset.name == f"{module}:named"
    assert dataset.class_names == ("ant", "bee", "cow")
    assert (len(dataset.train), len(dataset.test or ())) == (24, 6)
    training = Pretraining(config, dataset.train.images, RUNTIME)
    assert all(float(training.advance()) > 0 for _ in range(2))
    training.close()


def test_numpy_arrays_without_names_and_without_a_test_set_do(module: str, tmp_path: Path) -> None:
    dataset = load_dataset(config_of(f"{module}:arrays").data, data_dir=tmp_path)
    assert dataset.test is None
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.labels.dtype == torch.int64
    assert torch.equal(dataset.train.labels, torch.arange(24) % 3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("not_callable", "it must be a function"),
        ("nothing", "it must give train, test"),
        ("no_pair", "its train must be a pair of images and labels"),
        ("small", "uint8 (24, 3, 28, 28); they must be uint8 (N, 3, 32, 32)"),
        ("floats", "float32 (24, 3, 32, 32); they must be uint8"),
        ("short", "must be 24 whole numbers from 0 on"),
        ("negative", "must be 24 whole numbers from 0 on, one an image, or -1 without a label"),
        ("empty", "its test holds no image"),
        ("few_names", "its largest label is 2 and it names 2 classes"),
        ("texts", "its train holds what is no array"),
        ("breaks", "it fails (RuntimeError: not today)"),
    ],
)
def test_what_does_not_fit_gets_one_sentence(
    module: str, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(config_of(f"{module}:{name}").data, data_dir=tmp_path)
    assert said in str(caught.value)
    assert f"data.source is {module}:{name}, but" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_nobody_named_is_not_imported(module: str, tmp_path: Path) -> None:
    config = build(PretrainConfig, {"data.source": f"{module}:named"})
    with pytest.raises(ConfigError, match=f"--allow-code {module}:named"):
        load_dataset(config.data, data_dir=tmp_path)
