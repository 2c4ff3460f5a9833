"""The features of the images of a data set as a table: NumPy archive, Parquet or CSV."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.config.schema import DataConfig
from engine.data.dataset import Dataset
from engine.data.file_names import file_names
from engine.errors import RunError
from engine.evaluate.features import extract
from engine.jobs.trained_encoder import TrainedEncoder
from engine.runtime.device import Runtime
from engine.sink import Sink
from engine.text import csv_cell

_ROWS = 1024  # lines of CSV made at a time


@dataclass(frozen=True)
class FeaturePart:
    """The training images, or the test images.

    Attributes:
        split: ``train`` or ``test``.
        features: float32 (N, feature_dim), before the projection.
        labels: int64 (N,), indices into the names of the classes; -1 without classes.
        files: of the images, relative to their folder; empty for data that are no files.
    """

    split: str
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    files: tuple[str, ...]


@dataclass(frozen=True)
class FeatureTable:
    """Features of a data set by an encoder.

    Attributes:
        parts: of the training images and, where there are any, of the test images.
        class_names: see ``Dataset``.
        facts: see ``encoder_facts``.
    """

    parts: tuple[FeaturePart, ...]
    class_names: tuple[str, ...]
    facts: Mapping[str, str]

    def encoded(self, suffix: str) -> list[bytes]:
        """The bytes of the file, in parts.

        Args:
            suffix: ``.npz``, ``.parquet`` or ``.csv``.
        """
        if suffix == ".npz":
            return [self._npz()]
        return [self._parquet()] if suffix == ".parquet" else list(self._csv())

    def _npz(self) -> bytes:
        """Arrays ``train_features``, ``train_labels``, ``train_files``, ``class_names`` ..."""
        arrays: dict[str, NDArray[Any]] = {"class_names": np.array(self.class_names, dtype=np.str_)}
        for part in self.parts:
            arrays[f"{part.split}_features"] = part.features
            arrays[f"{part.split}_labels"] = part.labels
            if part.files:
                arrays[f"{part.split}_files"] = np.array(part.files, dtype=np.str_)
        arrays |= {f"about_{name}": np.array(text) for name, text in self.facts.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    def _parquet(self) -> bytes:
        """Columns split, file, label, class, features (a list of fixed length)."""
        arrow = importlib.import_module("pyarrow")  # an extra
        parquet = importlib.import_module("pyarrow.parquet")
        tables = []
        for part in self.parts:
            flat = arrow.array(part.features.reshape(-1))
            columns = {
                "split": arrow.array([part.split] * len(part.labels), arrow.string()),
                "file": arrow.array(list(self._files(part)), arrow.string()),
                "label": arrow.array(part.labels),
                "class": arrow.array(list(self._classes(part)), arrow.string()),
                "features": arrow.FixedSizeListArray.from_arrays(flat, part.features.shape[1]),
            }
            tables.append(arrow.table(columns))
        whole = arrow.concat_tables(tables).replace_schema_metadata(dict(self.facts))
        buffer = io.BytesIO()
        parquet.write_table(whole, buffer)
        return buffer.getvalue()

    def _csv(self) -> Iterator[bytes]:
        """Columns split, file, label, class, f0, f1 ...; numbers have 9 digits at most."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")

        def taken() -> bytes:
            text = buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
            return text.encode()

        width = self.parts[0].features.shape[1]
        writer.writerow(["split", "file", "label", "class", *(f"f{n}" for n in range(width))])
        for part in self.parts:
            columns = self._files(part), part.labels, self._classes(part), part.features
            rows = zip(*columns, strict=True)
            for number, (file, label, name, values) in enumerate(rows):
                # 9 digits are every float32 (IEEE 754, section 5.12.2)
                cells = [f"{value:.9g}" for value in values.tolist()]
                writer.writerow([part.split, csv_cell(file), int(label), csv_cell(name), *cells])
                if number % _ROWS == _ROWS - 1:
                    yield taken()
        yield taken()

    def _classes(self, part: FeaturePart) -> Iterator[str]:
        names = self.class_names
        return (names[label] if 0 <= label < len(names) else "" for label in part.labels.tolist())

    def _files(self, part: FeaturePart) -> Iterator[str]:
        return iter(part.files or ("",) * len(part.labels))


def feature_table(
    trained: TrainedEncoder,
    dataset: Dataset,
    *,
    data: DataConfig,
    facts: Mapping[str, str],
    runtime: Runtime,
    sink: Sink,
    data_dir: Path,
    own_folders: tuple[Path, ...] = (),
) -> FeatureTable:
    """The features of all images of a data set, un-augmented, before the projection.

    Args:
        trained: the encoder, with a normalisation.
        dataset: any, of images of the encoder's size.
        data: what it was loaded by.
        facts: see ``encoder_facts`` and ``feature_facts``.
        runtime: where to compute; already applied to the process.
        sink: receives the progress, and may ask to stop.
        data_dir: see ``file_names``.
        own_folders: see ``file_names``.

    Raises:
        DataError: when the images changed meanwhile.
        RunError: when a feature is no finite number.
        Interrupted: when the sink asked to stop.
    """
    files = file_names(data, dataset, data_dir, own_folders)
    encoder = trained.encoder.to(runtime.device)
    parts = []
    for split, images, names in zip(
        ("train", "test"), (dataset.train, dataset.test), files, strict=True
    ):
        if images is None or not len(images):
            continue
        features = extract(
            encoder,
            images.images,
            mean=trained.mean,
            std=trained.std,
            device=runtime.device,
            what="backbone",
            sink=sink,
            stage=f"{split} features",
        )
        if not bool(features.isfinite().all()):
            raise RunError("The encoder gives features that are no finite numbers.")
        parts.append(FeaturePart(split, features.cpu().numpy(), images.labels.numpy(), names))
    return FeatureTable(tuple(parts), dataset.class_names, facts)
