"""Times the augmentations, in images a second, beside torchvision's transforms on PIL images.

    python tests/benchmarks/augment.py [--images N] [--repeats N] [--cpu] [--json]

One process, one thread. Both go from the same uint8 images to one float32 batch with the same
operations, strengths and probabilities: ours in one call, the peer image by image as a data set
with transforms does. The repeats of the two alternate, so that a busy machine slows both; every
figure is a median with its smallest and largest value. ``--cpu`` counts processor time in place
of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms as T

from engine.augment.augmenter import Augmenter
from engine.config.resolve import resolve
from engine.config.schema import AugmentConfig, PretrainConfig
from engine.data.shapes import generate

PRESETS = ("notebook", "notebook-small-angle", "resnet18-moco")


def pil_pipeline(config: AugmentConfig) -> T.Compose:
    """The same augmentations as torchvision's transforms of one PIL image."""
    crop, color = config.crop, config.color_jitter
    steps = {
        "crop": T.RandomResizedCrop(
            32, (crop.scale_min, crop.scale_max), (crop.ratio_min, crop.ratio_max)
        ),
        "rotation": T.RandomRotation(config.rotation.degrees, T.InterpolationMode.BILINEAR),
        "flip": T.RandomHorizontalFlip(config.flip.p),
        "blur": T.GaussianBlur(
            config.blur.kernel_size, (config.blur.sigma_min, config.blur.sigma_max)
        ),
        "color_jitter": T.ColorJitter(
            color.brightness, color.contrast, color.saturation, color.hue
        ),
        "grayscale": T.RandomGrayscale(config.grayscale.p),
    }
    chosen: list[Callable[..., object]] = []
    for name in config.order:
        part = getattr(config, name)
        if part.enabled:
            # RandomHorizontalFlip and RandomGrayscale draw their probability themselves.
            always = part.p == 1.0 or name in ("flip", "grayscale")
            chosen.append(steps[name] if always else T.RandomApply([steps[name]], part.p))
    return T.Compose([*chosen, T.ToTensor()])


def rates(
    preset: str, images: Tensor, repeats: int, clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Images a second of ours and of the peer, one value a repeat."""
    config = resolve(PretrainConfig, preset_name=preset).augment
    augmenter, generator = Augmenter(config), torch.Generator().manual_seed(0)
    pipeline = pil_pipeline(config)
    arrays = list(images.permute(0, 2, 3, 1).contiguous().numpy())  # N of (H, W, 3), as PIL has it
    ours: list[float] = []
    theirs: list[float] = []
    for repeat in range(repeats + 1):
        start = clock()
        batch = augmenter(images, generator)
        middle = clock()
        peer = torch.stack([pipeline(Image.fromarray(array)) for array in arrays])
        end = clock()
        if batch.shape != peer.shape or batch.dtype != peer.dtype:
            raise RuntimeError("the two do not give the same kind of batch")
        if repeat:  # the first one warms up
            ours.append(len(images) / (middle - start))
            theirs.append(len(images) / (end - middle))
    return ours, theirs


def show(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1024, help="images in a call")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="processor time in place of wall time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.process_time if args.cpu else time.perf_counter
    images = generate(args.images, seed=0)[0]
    rows = {preset: rates(preset, images, args.repeats, clock) for preset in PRESETS}
    if args.json:
        facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
        print(json.dumps(facts | {"images_per_second": rows}))
        return
    print(
        f"{platform.processor() or platform.machine()}, one thread of {os.cpu_count()} (load "
        f"{os.getloadavg()[0]:.1f}), torch {torch.__version__}, {date.today().isoformat()}; "
        f"{args.images} images, {'processor' if args.cpu else 'wall'} time, "
        f"median (smallest-largest) of {args.repeats}"
    )
    print("| preset | ours, images/s | torchvision on PIL, images/s | ratio |\n|---|---|---|---|")
    for preset, (ours, theirs) in rows.items():
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"| {preset} | {show(ours)} | {show(theirs)} | {ratio:.1f}x |")


if __name__ == "__main__":
    main()
