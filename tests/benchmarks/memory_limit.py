"""Trains on a set of twice the memory, under a limit that the system keeps.

    python tests/benchmarks/memory_limit.py [--size 96] [--json]

The set are the 12,000 shapes, resized. A process of its own takes a step and a kNN on a few images,
so that it has what it needs whatever the set; then it gets a limit (RLIMIT_DATA) of what it has and
half of the set, and trains three steps and measures a kNN of all images through ``load_dataset``.
It does so twice: as it is, which leaves the images in a file, and with images that are kept in
memory whatever they take, which has to fail. The encoder is a small one of its own: the memory of a
batch is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor, nn

WAYS = ("mapped", "memory")
_SETTINGS: dict[str, Any] = {
    "data.source": "shapes",
    "model.encoder": "tests.benchmarks.memory_limit:SmallNet",
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 16,
    "optim.batch_size": 8,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}


class SmallNet(nn.Module):
    """A convolution of four pixels, and the mean over the places: images to eight features."""

    def __init__(self, _config: object = None) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to ``(N, 8)``."""
        features: Tensor = self.norm(self.convolution(x)).relu().mean((2, 3))
        return features


def trained(way: str, size: int, folder: Path) -> dict[str, Any]:
    """What became of one way; to be called in a process of its own.

    Returns:
        ``set``, ``limit`` and ``peak`` in bytes, the last two beyond what the process had before;
        ``error``, a sentence, or ``losses`` and ``knn``.
    """
    import resource

    from engine.config import own_code
    from engine.config.resolve import build
    from engine.config.schema import PretrainConfig
    from engine.data import image_store
    from engine.data.dataset import Dataset, Split, load_dataset
    from engine.data.shapes import TEST_IMAGES, TRAIN_IMAGES
    from engine.errors import UserError
    from engine.evaluate.knn_monitor import measure_knn
    from engine.machine.data_limit import data_used
    from engine.pretrain.pretraining import Pretraining
    from engine.runtime.device import apply_runtime, resolve_runtime
    from engine.sink import NullSink

    own_code.name_paths([_SETTINGS["model.encoder"]])
    config = build(PretrainConfig, {**_SETTINGS, "data.image_size": size})
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=False)

    def train(dataset: Dataset) -> dict[str, Any]:
        training = Pretraining(config, dataset.train.images, runtime)
        losses = [float(training.advance()) for _ in range(3)]
        state = training.state
        knn = measure_knn(
            state.model.encoder_q,
            dataset,
            config,
            mean=state.mean,
            std=state.std,
            device=runtime.device,
            untrained=False,
            sink=NullSink(),
            kernels=runtime.kernels,
        )
        training.close()
        return {"losses": losses, "knn": knn["knn/top1"]}

    few = torch.zeros(512, 3, size, size, dtype=torch.uint8)
    names = tuple(map(str, range(10)))
    train(Dataset("few", Split(few, torch.arange(512) % 10), None, names))
    load_dataset(build(PretrainConfig, {"data.source": "shapes"}).data, data_dir=folder)
    del few
    whole = (TRAIN_IMAGES + TEST_IMAGES) * 3 * size * size
    before = data_used()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (before + whole // 2, hard))
    if way == "memory":
        vars(image_store)["fits_into_memory"] = lambda _amount: True
    most, done = before, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, data_used())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        found = train(load_dataset(config.data, data_dir=folder))
    except UserError as error:
        found = {"error": str(error)}
    done.set()
    watcher.join()
    return {"set": whole, "limit": whole // 2, "peak": most - before, **found}


def measured(size: int) -> dict[str, dict[str, Any]]:
    """Both ways, each in a process and a folder of its own."""
    found = {}
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, __file__, "--way", way, "--size", str(size), "--folder", folder],
                capture_output=True, text=True, check=False, timeout=280,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{way}: {done.stderr[-2000:]}")
        found[way] = json.loads(done.stdout)
    return found


def lines(found: dict[str, dict[str, Any]]) -> list[str]:
    """The figures for people."""
    said = []
    for way, facts in found.items():
        mib = {name: f"{facts[name] / 2**20:,.0f} MiB" for name in ("set", "limit", "peak")}
        became = facts.get("error") or f"trained, kNN {facts['knn']:.1f} %"
        said.append(
            f"{way}: a set of {mib['set']}, a limit of {mib['limit']} and at most {mib['peak']} "
            f"taken, beyond what the process had; {became}"
        )
    return said


def main() -> None:
    """Measures both ways, or is one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=96, help="height and width, in pixels")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(trained(given.way, given.size, given.folder)))
        return
    began = time.monotonic()
    found = measured(given.size)
    print(json.dumps(found) if given.json else "\n".join(lines(found)))
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
