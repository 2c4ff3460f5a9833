"""Every export of a tiny run, loaded by the others, stands in a table that the report takes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.training_state import TrainingState
from engine.runs import RunFolder, create

from ..engine.tiny import RUNTIME, config_with
from . import exports
from .report import load, table


def tiny_run(root: Path, encoder: str) -> RunFolder:
    """Of a folder of five images of two classes and one test image of each."""
    generator = np.random.default_rng(0)
    pictures = root.parent / "pictures"
    for part, name, count in (
        ("train", "a", 3), ("train", "b", 2), ("test", "a", 1), ("test", "b", 1)
    ):  # fmt: skip
        (pictures / part / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / part / name / f"{number}.png")
    config = config_with(data__source=f"folder:{pictures}", model__encoder=encoder)
    folder = create(root, "pretrain", config, name="tiny")
    torch.manual_seed(3)
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    state = TrainingState(config, images, RUNTIME, static=False)
    with torch.no_grad():
        state.model.encoder_q(torch.randn(8, 3, 32, 32))
    checkpoints.save(folder.checkpoint_path, state.state_dict())
    return folder


@pytest.mark.parametrize("encoder", ["convnet", "resnet18"])
def test_the_table_has_each_format_and_what_it_differs_by(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    encoder: str,
) -> None:
    for package in ("safetensors", "onnx", "onnxscript", "onnxruntime", "pyarrow"):
        pytest.importorskip(package)
    root = tmp_path / "runs"
    tiny_run(root, encoder)
    words = ["tiny", "--runs-dir", str(root), "--data-dir", str(tmp_path / "data"), "--images", "4"]
    kept = tmp_path / "out" / "exports.json"
    kept.parent.mkdir()
    monkeypatch.setattr(sys, "argv", ["exports.py", *words, "--json", str(kept)])
    assert exports.main() == 0
    made = load(kept.parent)["exports"]
    assert table(made) in capsys.readouterr().out
    assert made["command"] == ["python tests/benchmarks/exports.py tiny"]
    rows = {row["format"]: row for row in made["values"]}
    assert list(rows) == list(exports.FILES)
    if encoder == "convnet":
        assert rows.pop("torchvision")["why"] == "torchvision has no net like the encoder convnet"
    for name, row in rows.items():
        assert row["images"] == (7 if name.startswith("features") else 4)
        assert row["difference"] <= 1e-4 * row["largest"], name
        assert row["size"] > 0
    # A number of nine digits is read back as it was.
    assert rows["features, .csv"]["difference"] == rows["features, .npz"]["difference"]


def test_another_nets_weights_show_as_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_run(tmp_path / "runs", "resnet18")
    monkeypatch.setattr(exports, "FILES", {"torchvision": ("x.pt", "torchvision")})
    real = exports.of_net

    def halved(net: torch.nn.Module, state: dict[str, torch.Tensor], x: torch.Tensor) -> object:
        return real(net, {**state, "conv1.weight": state["conv1.weight"] / 2}, x)

    monkeypatch.setattr(exports, "of_net", halved)
    (row,) = exports.measured(folder, tmp_path / "data", "", 4)
    assert row["difference"] > 0.01 * row["largest"]


def test_a_run_that_is_not_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["exports.py", "none", "--runs-dir", str(tmp_path)])
    assert exports.main() == 2
    assert capsys.readouterr().err.startswith("exports: There are no runs in ")
