"""Looking at encoders without the app: tables, files, and what cannot be looked at."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.training_state import TrainingState
from engine.runs import RunFolder, create
from engine.runs.encoder_look import Look
from engine.runtime.device import Runtime
from moco_tui.training.look_process import LookProcess

from .conftest import Call

TINY = {"model.dim": 8, "model.bn_splits": 2, "moco.queue_size": 16, "optim.batch_size": 8}
RUNTIME = Runtime(torch.device("cpu"), "cpu", bfloat16=False, threads=1)
ODD = "<b>&"  # a class whose name is markup


@pytest.fixture
def images(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 4)):
        for base, name in ((60, "=cat"), (180, ODD)):
            place = tmp_path / "images" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = (base + generator.normal(0, 30, (32, 32, 3))).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def run(root: Path, images: Path) -> RunFolder:
    config = build(PretrainConfig, {**TINY, "data.source": f"folder:{images}"})
    folder = create(root, "pretrain", config, name="a run")
    torch.manual_seed(3)
    noise = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    state = TrainingState(config, noise, RUNTIME, static=False)
    with torch.no_grad():
        state.model.encoder_q(torch.randn(8, 3, 32, 32))
    checkpoints.save(folder.checkpoint_path, state.state_dict())
    return folder


def test_tables_without_a_terminal_and_no_file(
    call: Call, root: Path, run: RunFolder, tmp_path: Path
) -> None:
    before = set(tmp_path.iterdir()) | {tmp_path / "data"}  # the cache of the images
    called = call("look", "latest", "--untrained", "--device", "cpu")
    assert called.code == 0
    assert "8 test images of folder:" in called.out
    assert f"{run.id} untrained" in called.out
    assert "same class at 1" in called.out
    assert "hardest to tell apart" in called.out
    assert set(tmp_path.iterdir()) == before


def test_json_has_what_the_tables_say(call: Call, run: RunFolder) -> None:
    facts = json.loads(call("look", run.id, "--json", "--limit", "6", "--device", "cpu").out)
    assert (facts["count"], facts["of"], facts["images"]) == (6, 8, "test")
    encoder = facts["encoders"][0]
    assert sum(map(sum, encoder["confusion"])) == 6
    right = sum(encoder["confusion"][i][i] for i in range(2))
    assert encoder["knn_top1"] == pytest.approx(100 * right / 6)
    assert encoder["same_class"]["10"] is None  # of five others
    assert facts["classes"] == sorted(["=cat", ODD])


def test_files_hold_maps_neighbours_and_confusions(
    call: Call, run: RunFolder, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "look"
    called = call("look", run.id, "--out", str(out), "--device", "cpu")
    assert called.code == 0, called.err
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [
            "tables.txt",
            f"confusion-{run.id}.csv",
            f"neighbours-{run.id}.csv",
            *(f"map-{kind}-{run.id}.{end}" for kind in ("pca", "tsne") for end in ("csv", "svg")),
        ]
    )
    assert (out / "tables.txt").read_text() == called.out
    neighbours = list(csv.DictReader(io.StringIO((out / f"neighbours-{run.id}.csv").read_text())))
    assert len(neighbours) == 8 * 7
    for row in neighbours:
        assert row["image"] != row["neighbour"]
        assert row["same_class"] == str(int(row["class"] == row["neighbour_class"]))
    assert {row["class"] for row in neighbours} == {"'=cat", ODD}  # no formula
    points = list(csv.DictReader(io.StringIO((out / f"map-pca-{run.id}.csv").read_text())))
    assert Counter(row["class"] for row in points) == {"'=cat": 4, ODD: 4}
    confusion = list(csv.reader(io.StringIO((out / f"confusion-{run.id}.csv").read_text())))
    assert sum(int(cell) for row in confusion[1:] for cell in row[1:]) == 8


def test_the_map_is_an_svg_with_title_axes_and_legend(
    call: Call, run: RunFolder, tmp_path: Path
) -> None:
    call("look", run.id, "--out", str(tmp_path / "out"), "--device", "cpu")
    tree = ElementTree.parse(tmp_path / "out" / f"map-pca-{run.id}.svg")
    texts = [node.text or "" for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert ODD in texts  # escaped, and so whole
    assert any("PCA of a run" in text for text in texts)
    assert sum("of the variance" in text for text in texts) == 2
    assert "8 test images of folder:" in " ".join(texts)
    marks = [
        node
        for node in tree.iter()
        if node.tag.rpartition("}")[2] in ("circle", "path") and node.get("stroke") != "black"
    ]
    assert len(marks) == 8 + 2  # the images, and the classes of the legend


def test_a_folder_with_files_is_left_alone(call: Call, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for target in ("mine", "file", "file/below"):
        called = call("look", run.id, "--out", str(tmp_path / target))
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert (tmp_path / "file").read_text() == (tmp_path / "mine" / "notes").read_text() == "mine"


def test_without_scikit_learn_the_map_of_the_components_stays(
    call: Call, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == "sklearn" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    called = call("look", run.id, "--out", str(tmp_path / "out"), "--device", "cpu")
    assert called.code == 0
    assert called.err.count("pip install 'moco-tui[look]'") == 1
    maps = sorted(path.name for path in (tmp_path / "out").glob("map-*"))
    assert maps == [f"map-pca-{run.id}.csv", f"map-pca-{run.id}.svg"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}@99"], "has kept no checkpoint of epoch 99"),
        (["{run}", "{run}"], "Give each encoder once"),
        (["nobody"], "nobody"),
        (["{run}", "--limit", "0"], "--limit is 0"),
        (["{run}", "--limit", "many"], "'many'"),
        (["{run}", "--images", "all"], "'all'"),
        (["{run}", "--data", "folder:/nowhere/at/all"], "/nowhere/at/all"),
        ([], "RUN"),
    ],
)
def test_mistakes_are_one_sentence(call: Call, run: RunFolder, words: list[str], said: str) -> None:
    called = call("look", *(word.format(run=run.id) for word in words), "--device", "cpu")
    assert (called.code, called.out) == (2, "")
    assert called.err.count("\n") == 1
    assert said in called.err


@pytest.mark.parametrize("gone", ["images", "checkpoint", "test images"])
def test_what_has_vanished_is_one_sentence(
    call: Call, run: RunFolder, images: Path, gone: str
) -> None:
    words = []
    if gone == "images":
        shutil.rmtree(images)
    elif gone == "checkpoint":
        run.checkpoint_path.unlink()
    else:
        shutil.rmtree(images / "test")
        words = ["--images", "test"]
    called = call("look", run.id, *words, "--device", "cpu")
    assert (called.code, called.out) == (2, "")
    assert called.err.count("\n") == 1
    assert "Traceback" not in called.err


def test_the_process_of_the_app_answers_what_the_command_finds(
    call: Call, root: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``_look`` reads a request from stdin and writes the look; here in this process."""
    asked = b'{"encoders": [["%s", ""]], "limit": 6, "device": "cpu"}' % run.id.encode()

    class Stream:
        def __init__(self, data: bytes = b"") -> None:
            self.buffer = io.BytesIO(data)

        def flush(self) -> None: ...

    out = Stream()
    facts = json.loads(call("look", run.id, "--json", "--limit", "6", "--device", "cpu").out)
    from moco_tui.cli import _look

    monkeypatch.setattr(sys, "stdin", Stream(asked))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # of this process
    _look._look.main(["--runs-dir", str(root)], standalone_mode=False, obj=_settings(root))
    found = msgspec.msgpack.decode(out.buffer.getvalue(), type=Look)
    assert found.encoders[0].confusion == facts["encoders"][0]["confusion"]
    assert len(found.pictures) == 6


def _settings(root: Path) -> Any:
    from moco_tui.cli.options import Settings

    return Settings(runs_dir=str(root))


def test_a_process_tells_its_progress_and_can_be_ended(
    root: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.errors import UserError
    from engine.runs.encoder_look import LookRequest
    from moco_tui.training.look_process import LookCancelled

    told: list[tuple[str, int, int]] = []
    process = LookProcess(root, root.parent / "data")

    def ending(*progress: Any) -> None:
        told.append(progress)
        process.cancel()

    with pytest.raises(LookCancelled):
        process.look(LookRequest(encoders=((run.id, ""),), device="cpu"), ending)
    assert told[0] == ("loading", 0, 1)
    with pytest.raises(LookCancelled):  # nor is another begun
        process.tsne(b"", 3, lambda *_: None)
    shown: Callable[..., None] = lambda *_: None  # noqa: E731
    with pytest.raises(UserError, match=r"There is no run|no run"):
        LookProcess(root, root).look(LookRequest(encoders=(("zzzzzz", ""),)), shown)
