import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from engine.config.data.shapes import CLASSES, PART
from engine.data.shapes import TEST_IMAGES, TRAIN_IMAGES, generate
from engine.sink import Interrupted, NullSink


class Listener(NullSink):
    def __init__(self, stop_after=None):
        self.stages, self.asked, self.stop_after = [], 0, stop_after

    def progress(self, stage, done, total):
        self.stages.append((stage, done, total))

    def request(self):
        self.asked += 1
        return "stop" if self.stop_after is not None and self.asked > self.stop_after else None


def checksum(images, labels):
    digest = hashlib.sha256(images.numpy().tobytes())
    digest.update(labels.numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def test_the_same_bytes_everywhere():
    """A change of this sum means other images: runs of before and after do not compare."""
    images, labels = generate(300, seed=1)
    assert images.dtype == torch.uint8
    assert images.shape == (300, 3, 32, 32)
    assert images.is_contiguous()
    assert labels.dtype == torch.int64
    assert (
        checksum(images, labels)
        == "7bd5d7c00186fa626548440460d2fb3afae9d6a4c65821e40489e420c8a5d8af"
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_nothing(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert (
            checksum(*generate(120, seed=5))
            == checksum(*generate(120, seed=5))
            == "f3040488449dfde5edbde1d65e392e0b4705bf747aeef70127028b03647311de"
        )
    finally:
        torch.set_num_threads(before)


def test_other_seeds_and_no_image_twice():
    images = torch.cat([generate(400, seed=seed)[0] for seed in (1, 2)])
    assert len({image.numpy().tobytes() for image in images}) == 800


def test_the_process_generators_are_left_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
    generate(60, seed=1)
    assert torch.equal(torch.get_rng_state(), torch_state)
    now = np.random.get_state(legacy=False)
    assert (now["state"]["key"] == numpy_state["state"]["key"]).all()
    assert now["state"]["pos"] == numpy_state["state"]["pos"]


@pytest.mark.parametrize("n", [0, 1, 10, 57, 300])
def test_classes_share_the_images_equally(n):
    images, labels = generate(n, seed=3)
    assert len(images) == len(labels) == n
    counts = labels.bincount(minlength=10)
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1
    if n == 300:
        assert (labels[:-1] == labels[1:]).sum() < 60  # in random order


def test_classes_and_sizes():
    assert len(CLASSES) == 10
    assert TRAIN_IMAGES % 10 == TEST_IMAGES % 10 == 0
    members = sorted(name for group in PART.tasks["binary"].values() for name in group)
    assert members == sorted(CLASSES)


def test_progress_and_stop():
    sink = Listener()
    generate(1200, seed=1, sink=sink)
    done = [done for _, done, _ in sink.stages]
    assert done == sorted(set(done))
    assert sink.stages[-1][1:] == (1200, 1200)
    with pytest.raises(Interrupted):
        generate(1200, seed=1, sink=Listener(stop_after=1))


def standardised(n, seed):
    images, labels = generate(n, seed=seed)
    images = images.float() / 255
    return (images - 0.5) / 0.25, labels


def test_colours_and_places_tell_nothing_of_the_class():
    """Mean and deviation of each channel, and the mean image, are alike for all classes."""
    images, labels = standardised(4000, seed=8)
    rough = F.adaptive_avg_pool2d(images, 4).flatten(1)
    facts = torch.cat([rough, images.std(dim=(2, 3))], dim=1)
    overall = facts.mean(0)
    for label in range(10):
        part = facts[labels == label]
        z = (part.mean(0) - overall) / (part.std(0) / len(part) ** 0.5)
        # shapes do differ in how much they cover: a little is allowed for the deviations
        assert z[:48].abs().max() < 4.5
        assert (part.mean(0) - overall)[48:].abs().max() < 0.15


def test_a_linear_probe_on_the_pixels_stays_low():
    images, labels = standardised(2000, seed=10)
    test_images, test_labels = standardised(1000, seed=11)
    x, test_x = images.flatten(1), test_images.flatten(1)
    weight = torch.zeros(3072, 10, requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=25, line_search_fn="strong_wolfe")

    def loss():
        solver.zero_grad()
        # of the strengths from 1e-3 to 1 none scores higher (10 to 13 % of 10,000 images)
        value = F.cross_entropy(x @ weight, labels) + 0.1 * weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    with torch.no_grad():
        accuracy = ((test_x @ weight).argmax(1) == test_labels).float().mean().item()
    assert accuracy < 0.35


def test_a_small_network_learns_the_shapes():
    """Far more than the pixels give, in seconds; engine/data/shapes.py has the figures in full."""
    images, labels = standardised(2400, seed=12)
    test_images, test_labels = standardised(1000, seed=13)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU()]
        for inputs, outputs in ((16, 32), (32, 64)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10))
        epochs, batch = 6, 50
        steps = epochs * len(images) // batch
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(batch):
                loss = F.cross_entropy(network(images[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    network.eval()
    with torch.no_grad():
        accuracy = (network(test_images).argmax(1) == test_labels).float().mean().item()
    assert accuracy > 0.4
