"""What is looked at is what the encoder makes of the images that a person asked for."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import NearestNeighbors

from engine.errors import ConfigError, DataError, RunError, UserError
from engine.jobs.look_at import look_at
from engine.jobs.trained_encoder import load_encoder
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.training_state import TrainingState
from engine.runs import RunFolder, create
from engine.runs.encoder_look import Look, LookRequest
from engine.sink import Interrupted, NullSink, Request

from ..tiny import RUNTIME, config_with

MakeRun = Callable[..., RunFolder]
COLOURS = {"blue": (40, 40, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three classes of noisy colours: 8 images of each to train on, 5 to test on."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 5)):
        for name, colour in COLOURS.items():
            place = tmp_path / "images" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.array(colour) + generator.normal(0, 60, (32, 32, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def make_run(tmp_path: Path, images: Path) -> MakeRun:
    def make(**values: Any) -> RunFolder:
        config = config_with(**{"data__source": f"folder:{images}", **values})
        folder = create(tmp_path / "runs", "pretrain", config, name="a run")
        torch.manual_seed(3)
        size = config.data.size
        noise = torch.randint(0, 256, (16, 3, size, size), dtype=torch.uint8)
        state = TrainingState(config, noise, RUNTIME, static=False)
        with torch.no_grad():
            state.model.encoder_q(torch.randn(8, 3, size, size))
        checkpoints.save(folder.checkpoint_path, state.state_dict())
        return folder

    return make


def look(*runs: RunFolder, **options: Any) -> Look:
    root = runs[0].path.parent
    sink = options.pop("sink", None)
    which = options.pop("which", "")
    request = LookRequest(encoders=tuple((run.id, which) for run in runs), device="cpu", **options)
    return look_at(request, root=root, data_dir=root.parent / "data", sink=sink)


def read(images: Path, part: str) -> tuple[np.ndarray[Any, Any], list[int]]:
    """The images of a part as their files hold them, in the order of their paths."""
    files = sorted((images / part).rglob("*.png"))
    labels = [sorted(COLOURS).index(file.parent.name) for file in files]
    return np.stack([np.asarray(Image.open(file)) for file in files]), labels


def test_neighbours_and_confusions_are_those_of_the_backbone(
    make_run: MakeRun, images: Path
) -> None:
    run = make_run()
    found = look(run)
    assert (found.part, found.whole, found.rows) == ("test", 15, list(range(15)))
    pixels, labels = read(images, "test")
    assert found.labels == labels
    assert found.pictures == [one.tobytes() for one in pixels]
    trained = load_encoder(run)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    batch = (batch - trained.mean[:, None, None]) / trained.std[:, None, None]
    with torch.no_grad():
        features = trained.encoder.backbone(batch).double().numpy()
    model = NearestNeighbors(n_neighbors=14, metric="cosine", algorithm="brute").fit(features)
    distance, index = model.kneighbors()
    view = found.encoders[0]
    np.testing.assert_allclose(view.similarity, 1 - distance, atol=1e-4)
    assert [row[0] for row in view.neighbours] == index[:, 0].tolist()
    nearest = [labels[other] == labels[image] for image, other in enumerate(index[:, 0])]
    assert view.shares[1] == pytest.approx(sum(nearest) / 15)
    assert 100 not in view.shares  # of 14 others
    expected = confusion_matrix(labels, view.predicted, labels=range(3))
    assert view.confusion == expected.tolist()
    assert view.accuracy == pytest.approx(np.trace(expected) / 15)


def test_images_are_chosen_evenly_by_class_and_always_the_same(make_run: MakeRun) -> None:
    run = make_run()
    few = look(run, limit=6)
    assert Counter(few.labels) == {0: 2, 1: 2, 2: 2}
    assert look(run, limit=6).rows == few.rows
    assert set(few.rows) < set(look(run, limit=9).rows)


def test_withheld_images_are_training_images_outside_the_bank(
    make_run: MakeRun, images: Path
) -> None:
    run = make_run(data__holdout=0.5)
    found = look(run, part="withheld")
    pixels, labels = read(images, "train")
    assert Counter(found.labels) == {0: 4, 1: 4, 2: 4}
    assert found.pictures == [pixels[row].tobytes() for row in found.rows]
    assert found.labels == [labels[row] for row in found.rows]
    shutil.rmtree(images / "test")
    assert look(run, limit=12).part == "withheld"  # without test images it is these
    with pytest.raises(DataError, match="no test images; --images withheld"):
        look(run, part="test")


def test_the_untrained_twin_stands_beside_its_run_and_sees_otherwise(make_run: MakeRun) -> None:
    run = make_run()
    before = torch.get_rng_state()
    found = look(run, untrained=True)
    assert torch.equal(torch.get_rng_state(), before)
    trained, untrained = found.encoders
    assert untrained.label == f"{trained.label} untrained"
    assert untrained.epoch == 0
    assert untrained.similarity != trained.similarity
    assert look(make_run(), untrained=True).encoders[1].similarity == untrained.similarity


def test_several_runs_are_shown_the_same_images(make_run: MakeRun) -> None:
    first, second = make_run(), make_run(model__dim=16)
    found = look(first, second)
    assert [view.label for view in found.encoders] == [first.id, second.id]
    assert len(found.rows) == 15


def test_large_images_become_pictures_of_64_pixels(make_run: MakeRun) -> None:
    found = look(make_run(data__image_size=80))
    assert found.size == 64
    assert {len(picture) for picture in found.pictures} == {3 * 64 * 64}
    red = np.frombuffer(found.pictures[found.labels.index(2)], np.uint8).reshape(64, 64, 3)
    assert np.abs(red.mean((0, 1)) - COLOURS["red"]).max() < 25


def plain_images(place: Path) -> None:
    for number in range(6):
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number, 9, 9)).save(place / f"{number}.png")


def test_what_cannot_be_looked_at_is_one_sentence(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    plain_images(tmp_path / "plain")
    without = make_run()
    without.checkpoint_path.unlink()
    refused: list[tuple[type[UserError], str, Callable[[], object]]] = [
        (ConfigError, "--limit is 2001", lambda: look(run, limit=2001)),
        (ConfigError, "--limit is 2;", lambda: look(run, limit=2)),
        (RunError, "has no checkpoint yet", lambda: look(without)),
        (RunError, "has kept no checkpoint of epoch 99", lambda: look(run, which="99")),
        (DataError, "have no classes", lambda: look(run, data=f"folder:{tmp_path / 'plain'}")),
        (DataError, "gone", lambda: look(run, data=f"folder:{tmp_path / 'gone'}")),
        (RunError, "images of different sizes", lambda: look(run, make_run(data__image_size=48))),
        (RunError, "trained on different", lambda: look(run, make_run(data__source="cifar10"))),
    ]
    for kind, words, ask in refused:
        with pytest.raises(kind, match=words) as error:
            ask()
        assert "\n" not in str(error.value)


def test_images_that_vanished_are_one_sentence(make_run: MakeRun, images: Path) -> None:
    run = make_run()
    look(run)
    shutil.rmtree(images)
    with pytest.raises(DataError, match=str(images)):
        look(run)


def test_a_stop_is_heard(make_run: MakeRun) -> None:
    class Stopping(NullSink):
        def request(self) -> Request | None:
            return "stop"

    with pytest.raises(Interrupted):
        look(make_run(), sink=Stopping())
