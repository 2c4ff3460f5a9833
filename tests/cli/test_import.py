"""Encoders in and out on the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
import torchvision

from .conftest import Call, trained


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


def test_an_encoder_comes_in_is_shown_and_goes_out_again(
    call: Call, weights: Path, tmp_path: Path
) -> None:
    made = call("import", str(weights), "--encoder", "resnet18", "--name", "theirs")
    assert (made.code, made.out) == (0, "")
    assert "layout of torchvision or timm; 2 keys were left out: fc (2)" in made.err
    shown = call("show", "theirs").out
    assert "imported weights.pt sha256" in shown
    assert "mean and std of the data that is probed" in shown
    assert "theirs" in call("runs").out
    assert call("show", "theirs", "--model").code == 0
    resumed = call("resume", "theirs")
    assert (resumed.code, resumed.err.count("\n")) == (2, 1)
    assert "there is nothing to resume" in resumed.err
    target = str(tmp_path / "out.pt")
    written = call("export", "theirs", "--format", "torchvision", "--out", target)
    assert (written.code, written.out) == (0, "")
    again = call("export", "theirs", "--format", "torchvision", "--out", target)
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "--force" in again.err
    assert call("export", "theirs", "--format", "torchvision", "--out", target, "--force").code == 0


def test_a_comparison_says_which_files_two_imports_are_of(
    call: Call, weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pt"
    torch.save(torchvision.models.resnet18().state_dict(), other)
    for path, name in ((weights, "theirs"), (other, "others")):
        assert call("import", str(path), "--encoder", "resnet18", "--name", name).code == 0
    shown = call("show", "theirs").out
    assert "not recorded" not in shown
    assert "program      moco-tui " in shown
    assert "packages     python " in shown
    found = json.loads(call("compare", "theirs", "others", "--json").out)["provenance"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (weights, other)]
    assert found["origin"] == [
        f"imported {path.name} sha256 {digest}"
        for path, digest in zip((weights, other), digests, strict=True)
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("import", "gone.pt", "--encoder", "resnet18"),
        ("import", "weights.pt", "--encoder", "vit"),
        ("import", "weights.pt", "--encoder", "resnet34"),
        ("import", "weights.pt", "--encoder", "resnet18", "--mean", "1,2"),
        ("import", "weights.pt", "--encoder", "resnet18", "--data", "folder:~no-such-user/x"),
        ("import", "weights.pt", "--encoder", "resnet18", "--name", "latest"),
        ("export", "RUN", "--format", "torchvision"),  # it has no checkpoint
        ("export", "RUN", "--format", "onnx", "--out", "-"),
        ("export", "RUN", "--format", "csv", "--data", "shapes"),
        ("export", "RUN", "--format", "features", "--out", "x.xls"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    call: Call, root: Path, weights: Path, words: tuple[str, ...]
) -> None:
    run = trained(root)
    called = call(*(run.id if word == "RUN" else word for word in words))
    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1), called.err


def test_nothing_is_imported_under_read_only(call: Call, weights: Path, root: Path) -> None:
    called = call("--read-only", "import", str(weights), "--encoder", "resnet18")
    assert called.code == 2
    assert list(root.iterdir()) == []
