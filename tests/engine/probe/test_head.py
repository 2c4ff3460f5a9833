"""A head of one's own: by a line in the registry, or by its path."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from engine.config.data import cifar10
from engine.config.resolve import resolve
from engine.config.schema import ModelConfig, ProbeConfig, StudyConfig
from engine.data.dataset import Dataset, Split
from engine.errors import ConfigError, TrainingError
from engine.models.encoder import build_encoder
from engine.probe.head import load_head
from engine.probe.probe_run import run_probe
from engine.study.grid import cells
from engine.study.protocol import protocol
from engine.study.result_keys import row_key

from ...environment import with_packages

NEAREST = """
import torch

class Means:
    def __init__(self, means, power):
        self.means, self.chosen = means, {"power": power}

    def predict(self, features):
        return torch.cdist(features, self.means).argmin(1)

class Nearest:
    def __init__(self, settings=None):
        self.power = settings.power if settings else 1

    def reports(self, fit, validate):
        return 1

    def fit(self, data):
        means = [data.features[data.targets == c].mean(0) for c in range(data.classes)]
        data.report({"loss": 0.5})
        return Means(torch.stack(means), self.power)

class Half:
    def fit(self, data):
        return None

class Wanting(Nearest):
    def __init__(self, wanted):
        self.wanted = wanted

class Beyond(Nearest):
    def fit(self, data):
        return Means(data.features[:20], 1)

nearest_object = Nearest()
"""
SETTINGS = """
from typing import Annotated
from msgspec import Meta
from engine.config.heads.head_config import HeadConfig
from engine.config.registry import Part

class NearestConfig(HeadConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    power: Annotated[int, Meta(ge=1, le=5, description="of the distance")] = 2

    def method(self, chosen):
        return f"nearest mean (power {self.power})"

    def sentence(self):
        return f"Nearest head: power {self.power}."

NEAREST = Part("nearest", "the nearest mean", "nearest_work:Nearest", NearestConfig)
"""
REGISTERED = """
import json, sys
import engine.config.heads
from engine.config.registry import Registry
from nearest_settings import NEAREST

# the one line of a registered head
engine.config.heads.HEADS = Registry("head", (*engine.config.heads.HEADS.values(), NEAREST))

from engine.config.fields import fields
from engine.config.resolve import resolve
from engine.config.schema import ProbeConfig, StudyConfig
from engine.study.protocol import protocol
from engine.study.result_keys import row_key
from tests.engine.probe.test_head import noise_probe
from moco_tui.present.form_fields import SECTIONS

study = resolve(StudyConfig, sets=["heads=nearest,logistic", "probe.nearest.power=4"])
result = noise_probe(resolve(ProbeConfig, sets=["head=nearest", "power=3", "baselines=pixels"]))
print(json.dumps({
    "result": result,
    "choices": fields(ProbeConfig)["head"].choices,
    "help": fields(ProbeConfig)["head"].help,
    "power": [fields(ProbeConfig)["nearest.power"].ge, fields(StudyConfig)["heads"].choices],
    "protocol": protocol(study),
    "sections": SECTIONS["probe"],
}))
"""


def noise_probe(config: ProbeConfig) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(60) % 10)
    model = ModelConfig(dim=8)
    return run_probe(
        config,
        dataset=Dataset("noise", split, split, cifar10.CLASSES),
        pretrained=build_encoder(model).eval(),
        model=model,
        mean=torch.full((3,), 0.5),
        std=torch.full((3,), 0.25),
        device=torch.device("cpu"),
    )


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nearest_work.py").write_text(NEAREST)
    (tmp_path / "nearest_settings.py").write_text(SETTINGS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nearest_work", raising=False)
    return tmp_path


def test_a_line_in_the_registry_and_two_modules_make_a_head(own_code: Path) -> None:
    got = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REGISTERED)],
        env=with_packages(own_code, OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert got.returncode == 0, got.stderr
    heard = json.loads(got.stdout)
    assert heard["result"]["head"] == "nearest"
    assert [row["source"] for row in heard["result"]["rows"]] == ["pretrained", "pixels"]
    assert [row["chosen"] for row in heard["result"]["rows"]] == [{"power": 3}] * 2
    assert "nearest mean (power 3)" in heard["result"]["protocol"]
    assert heard["result"]["step"] == 4
    assert heard["choices"] == ["linear", "logistic", "finetune", "nearest"]
    assert heard["help"].endswith("; nearest: the nearest mean")
    assert heard["power"] == [1, ["linear", "logistic", "finetune", "nearest"]]
    assert "Nearest head: power 4." in heard["protocol"]
    assert ["Nearest head", "nearest"] in heard["sections"]


@pytest.mark.parametrize("name", ["Nearest", "nearest_object"])
def test_a_head_named_by_its_path_makes_the_rows(own_code: Path, name: str) -> None:
    path = f"nearest_work:{name}"
    config = resolve(ProbeConfig, sets=[f"head={path}", "baselines=pixels", "label_fraction=0.5"])
    result = noise_probe(config)
    assert result["head"] == path
    rows = result["rows"]
    assert isinstance(rows, list)
    assert [row["chosen"] for row in rows] == [{"power": 1}] * 2
    assert f"the head {path}" in str(result["protocol"])


def test_a_study_knows_a_head_by_its_path(own_code: Path) -> None:
    path = "nearest_work:Nearest"
    config = resolve(StudyConfig, sets=[f"heads=logistic,{path}", "baselines=pixels"])
    assert {cell.head for cell in cells(config)} == {"logistic", path}
    assert f"Head {path}: code of the user's own." in protocol(config)
    flat = {"head": path, "label_fraction": 0.1, "subset_seed": 0, "validation": 0.2}
    # nothing is known of what it draws: another seed is another number
    assert row_key({**flat, "runtime.seed": 0}, "moco") != row_key(
        {**flat, "runtime.seed": 1}, "moco"
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Half", r"head is nearest_work:Half, which has no reports; it must have the methods"),
        ("Wanting", r"cannot be made without arguments \(TypeError: .*wanted"),
        ("Nobody", r"head is nearest_work:Nobody, but nearest_work has no Nobody\."),
    ],
)
def test_what_is_no_head_is_refused_in_a_sentence(own_code: Path, name: str, sentence: str) -> None:
    config = resolve(ProbeConfig, sets=[f"head=nearest_work:{name}"])
    with pytest.raises(ConfigError, match=sentence) as error:
        load_head(config)
    assert error.value.key == "head"


def test_a_head_that_predicts_no_classes_fails_with_what_it_must_predict(own_code: Path) -> None:
    config = resolve(
        ProbeConfig, sets=["head=nearest_work:Beyond", "baselines=[]", "label_fraction=1"]
    )
    with pytest.raises(TrainingError, match=r"must be int64 \(60,\), each from 0 to 9"):
        noise_probe(config)


def test_a_name_that_is_no_head_says_which_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"must be one of linear, logistic, finetune, or your own"
    ):
        resolve(ProbeConfig, sets=["head=quadratic"])
