"""Exports a pretraining in every format, and has each file loaded by the library that it is for.

    python tests/benchmarks/exports.py RUN [--images 512] [--data SOURCE] [--json OUT/exports.json]

The table says by how much the features that the other library gives differ at most from those of
this program (float32, on the CPU), beside the largest of these, and how large each file is. Weights
and graph get the first ``--images`` training images, normalised; the files of features are compared
in every row. ``--json`` writes the same as a result of ``report.py``.

The nets are torchvision's where it has the encoder; the weights of a ConvNet are loaded into a bare
backbone of this program, since no other has one.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.augment.augmenter import normalise, to_float
from engine.config.data import absolute_source
from engine.data.dataset import Dataset, load_dataset
from engine.errors import UserError
from engine.evaluate.features import extract
from engine.exchange.encoder_export import ExportPlace, export_encoder
from engine.jobs.trained_encoder import TrainedEncoder, load_encoder
from engine.machine.cpu_count import available_cpus
from engine.machine.processor import processor
from engine.models.encoder import build_encoder
from engine.runs import RunFolder, find, runs_root
from engine.runs.root import data_root
from tests.benchmarks.report import keep, table

Array = NDArray[np.float32]
CPU = torch.device("cpu")
FILES = {
    "torchvision": ("x.pt", "torchvision"),
    "safetensors": ("x.safetensors", "safetensors"),
    "onnx": ("x.onnx", "onnxruntime"),
    "features, .npz": ("x.npz", "numpy"),
    "features, .parquet": ("x.parquet", "pyarrow"),
    "features, .csv": ("x.csv", "csv"),
}
"""By format, the name of a file and the library that reads it."""
COLUMNS = [
    {"title": "format", "cell": "{format}"},
    {"title": "loaded by", "cell": "{library}"},
    {"title": "images", "cell": ["{images:,}", "{why}"]},
    {"title": "largest difference", "cell": "{difference:.2g}"},
    {"title": "largest feature", "cell": "{largest:.3g}"},
    {"title": "size, MiB", "cell": "{size:.2f}"},
]


def bare_net(trained: TrainedEncoder) -> nn.Module:
    """A net of the encoder's kind with other weights: torchvision's where there is one."""
    model = trained.config.model
    if not model.encoder.startswith("resnet"):
        return build_encoder(model, trained.config.data.size).backbone
    net: nn.Module = getattr(torchvision.models, model.encoder)()
    if model.stem == "cifar":
        net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
    net.fc = nn.Identity()
    return net


@torch.no_grad()
def of_net(net: nn.Module, state: Mapping[str, Tensor], x: Tensor) -> Array:
    """Features of normalised images by a net that takes every weight of a file."""
    net.load_state_dict(state, strict=True)
    net.eval()
    return np.concatenate([net(part).numpy() for part in x.split(256)])


def torchvision_features(path: Path, trained: TrainedEncoder, x: Tensor) -> Array:
    """By torchvision's net."""
    return of_net(bare_net(trained), torch.load(path, weights_only=True), x)


def safetensors_features(path: Path, trained: TrainedEncoder, x: Tensor) -> Array:
    """By the weights as safetensors reads them."""
    from safetensors.torch import load_file

    prefix = "backbone."
    state = {k.removeprefix(prefix): v for k, v in load_file(path).items() if k.startswith(prefix)}
    return of_net(bare_net(trained), state, x)


def onnx_features(path: Path, _trained: TrainedEncoder, x: Tensor) -> Array:
    """By the graph, in onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    parts = [session.run(["features"], {"images": part.numpy()})[0] for part in x.split(256)]
    return np.concatenate(parts)


def table_features(path: Path) -> Array:
    """The rows of a file of features, training images first."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            names = [f"{part}_features" for part in ("train", "test")]
            return np.concatenate([arrays[name] for name in names if name in arrays])
    if path.suffix == ".parquet":
        import pyarrow.parquet

        column = pyarrow.parquet.read_table(path)["features"].combine_chunks()
        flat = column.values.to_numpy(zero_copy_only=False)
        return np.asarray(flat.reshape(len(column), -1), dtype=np.float32)
    with path.open(newline="") as file:
        reader = csv.reader(file)
        first = next(reader).index("f0")
        return np.array([row[first:] for row in reader], dtype=np.float32)


BY_NET: Mapping[str, Callable[[Path, TrainedEncoder, Tensor], Array]] = {
    "torchvision": torchvision_features,
    "safetensors": safetensors_features,
    "onnx": onnx_features,
}


def own_features(trained: TrainedEncoder, images: Tensor) -> Array:
    """Those of this program."""
    found = extract(
        trained.encoder, images, mean=trained.mean, std=trained.std, device=CPU, what="backbone"
    )
    return found.numpy()


def measured(folder: RunFolder, data_dir: Path, data: str, count: int) -> Iterator[dict[str, Any]]:
    """A row of the table for each format, in a folder that goes away."""
    trained = load_encoder(folder)
    config = trained.config.data
    if data:
        config = msgspec.structs.replace(
            config, source=absolute_source(data), image_size=config.size, limit=0
        )
    dataset: Dataset = load_dataset(config, data_dir=data_dir, own_folders=(folder.path.parent,))
    trained = trained.on(dataset.train.images)
    some = dataset.train.images[:count]
    x = normalise(to_float(some), trained.mean, trained.std)
    parts = [dataset.train.images, *([] if dataset.test is None else [dataset.test.images])]
    of_some = own_features(trained, some)
    of_all = np.concatenate([own_features(trained, images) for images in parts if len(images)])
    with tempfile.TemporaryDirectory() as place:
        for title, (name, library) in FILES.items():
            target, format_ = Path(place) / name, title.partition(",")[0]
            row: dict[str, Any] = {"format": title, "library": library_name(library)}
            try:
                export_encoder(
                    folder, format_, ExportPlace(target, False, data_dir, data, device="cpu")
                )
            except UserError as error:  # torchvision has no ConvNet; an extra is missing
                yield {**row, "why": str(error).partition(";")[0]}
                continue
            loads = BY_NET.get(format_)
            own = of_some if loads else of_all
            theirs = loads(target, trained, x) if loads else table_features(target)
            if theirs.shape != own.shape:
                raise SystemExit(f"{title}: {theirs.shape} in place of {own.shape}")
            yield {
                **row,
                "images": len(own),
                "difference": float(np.abs(theirs.astype(np.float64) - own).max()),
                "largest": float(np.abs(own).max()),
                "size": target.stat().st_size / 2**20,
            }


def library_name(library: str) -> str:
    """With its version; that of Python itself has none of its own."""
    return library if library == "csv" else f"{library} {version(library)}"


def result(rows: list[dict[str, Any]], words: str, count: int, facts: str) -> dict[str, Any]:
    """As ``report.py`` takes it.

    Args:
        rows: see ``measured``.
        words: what was typed behind the name of this script, as a person would type it again.
        count: images that weights and graph got.
        facts: of the encoder.
    """
    return {
        "command": [f"python tests/benchmarks/exports.py {words}"],
        "hardware": f"{available_cpus()} cores, {processor()[0]}",
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "repeats": f"once; {facts}; weights and graph by {count:,} images, features in every row",
        "columns": COLUMNS,
        "values": rows,
    }


def main() -> int:
    """Measures, prints the table, and keeps it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", help="id, name or beginning of either, or latest")
    parser.add_argument("--runs-dir")
    parser.add_argument("--data-dir")
    parser.add_argument("--data", default="", help="whose features; that of the pretraining")
    parser.add_argument("--images", type=int, default=512, help="that weights and graph get")
    parser.add_argument("--json", type=Path, metavar="OUT", help="a result for report.py")
    given = parser.parse_args()
    try:
        folder = find(runs_root(given.runs_dir), given.run)
        rows = list(measured(folder, data_root(given.data_dir), given.data, given.images))
    except UserError as error:
        print(f"exports: {error}", file=sys.stderr)
        return 2
    model = load_encoder(folder).config.model
    words = given.run + (f" --data {given.data}" if given.data else "")
    made = result(rows, words, given.images, f"{model.encoder}, stem {model.stem}")
    print(table(made))
    if given.json:
        print(keep(given.json.stem, made, given.json.parent), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
