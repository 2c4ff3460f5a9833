"""Looks at encoders: what each makes of the same images. Trains nothing and writes nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.augment.augmenter import to_float
from engine.config.data import absolute_source
from engine.config.run_schema import RuntimeConfig
from engine.config.schema import DataConfig
from engine.data.dataset import Dataset, ImageRows, Split, holdout_split, limited, load_dataset
from engine.errors import ConfigError, DataError, RunError
from engine.evaluate.features import extract
from engine.evaluate.neighbours import (
    confusion_counts,
    nearest_others,
    same_class_shares,
    voted_classes,
)
from engine.evaluate.plane_maps import principal_components
from engine.evaluate.random_init import random_encoder
from engine.files import is_gone
from engine.jobs.probe_job import check_takes
from engine.jobs.trained_encoder import TrainedEncoder, load_encoder
from engine.models.encoder import Encoder
from engine.runs import RunFolder, by_id
from engine.runs.checkpoint_ref import with_checkpoint
from engine.runs.encoder_look import (
    AT,
    FEWEST_IMAGES,
    MOST_IMAGES,
    EncoderView,
    Look,
    LookRequest,
    Part,
)
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime
from engine.seeds import stream_seed
from engine.sink import NullSink, Sink

VOTES = 20
"""Neighbours that vote for a class."""
TEMPERATURE = 0.1
"""Of their weights, as the kNN monitor has it by default; the same for every encoder."""
_PICTURE = 64  # pixels of a picture at most: a terminal shows no more


def look_at(request: LookRequest, *, root: Path, data_dir: Path, sink: Sink | None = None) -> Look:
    """What encoders make of the same images, by their features before the projection.

    Neighbours and votes are leave-one-out within the chosen images: what a cell of the confusion
    matrix counts can be seen in the neighbours that voted. The kNN monitor's accuracy has a larger
    bank and is another number.

    Sets the threads of the process and draws from torch's default generator while it builds an
    encoder: in a process that trains, call it before or after.

    Args:
        request: what to look at.
        root: folder of the run folders.
        data_dir: where data sets and their caches live.
        sink: receives the progress, and may ask to stop.

    Raises:
        ConfigError: when the device or the number of images cannot be.
        RunError: when a run has no encoder, it cannot be read, or two take different images.
        DataError: when the images cannot be read, have no labels, or do not suit an encoder.
        Interrupted: when the sink asked to stop.
    """
    sink = sink or NullSink()
    check_limit(request.limit)
    loaded = [_loaded(root, run, which) for run, which in request.encoders]
    config = _images_of([trained for _, trained in loaded], request.data)
    runtime = resolve_runtime(RuntimeConfig(device=request.device))
    apply_runtime(runtime, deterministic=False)
    dataset = load_dataset(config, data_dir=data_dir, sink=sink, own_folders=(root,))
    first = loaded[0][1]
    part, split, rows = _chosen_part(dataset, request.part, first)
    whole = len(rows)
    rows = rows[limited(split.labels[rows], min(request.limit, whole))]
    if len(rows) < FEWEST_IMAGES:
        raise DataError(
            f"There are {len(rows)} labelled {part} images of {dataset.name}; a look needs at "
            f"least {FEWEST_IMAGES}."
        )
    labels = split.labels[rows]
    views, notices = [], []
    for folder, trained in loaded:
        check_takes(trained, dataset)
        if trained.takes_statistics:
            notices.append(f"{folder.id}: images are normalised by the statistics of their set")
        trained = trained.on(dataset.train.images)
        compute = _Viewer(dataset, ImageRows(split.images, rows), labels, runtime, sink)
        label = with_checkpoint(folder.id, trained.at.checkpoint)
        title = folder.title()
        views.append(compute.view(trained.encoder, trained, label, title, trained.at.epoch))
        untrained = f"{folder.id} untrained"
        # Of several checkpoints of a run it is the same one.
        if request.untrained and all(view.label != untrained for view in views):
            other = compute.untrained(trained)
            views.append(compute.view(other, trained, untrained, title, 0.0))
    size, pictures = _pictures(split, rows)
    return Look(
        data=dataset.name,
        part=part,
        whole=whole,
        class_names=list(dataset.class_names),
        rows=rows.tolist(),
        labels=labels.tolist(),
        size=size,
        pictures=pictures,
        encoders=views,
        notices=list(filter(None, [*notices, runtime.notice, dataset.left_out])),
    )


def check_limit(limit: int) -> None:
    """Refuses a number of images that a look cannot take.

    Raises:
        ConfigError: one sentence.
    """
    if not FEWEST_IMAGES <= limit <= MOST_IMAGES:
        raise ConfigError(
            f"--limit is {limit}; it must be a whole number from {FEWEST_IMAGES} to {MOST_IMAGES}."
        )


def _loaded(root: Path, run: str, which: str) -> tuple[RunFolder, TrainedEncoder]:
    """A pretraining and its encoder; a probe stands for the pretraining that it is about."""
    folder = by_id(root, run)
    record = folder.record()
    if record.kind == "probe":
        which, folder = which or record.checkpoint, by_id(root, record.parent)
        record = folder.record()
    if record.kind != "pretrain":
        raise RunError(f"Run {record.id} is a {record.kind}; it has no encoder of its own.")
    if not which and is_gone(folder.checkpoint_path):
        raise RunError(f"Run {record.id} has no checkpoint yet, so there is no encoder to look at.")
    return folder, load_encoder(folder, which)


def _images_of(encoders: list[TrainedEncoder], data: str) -> DataConfig:
    """The images that all encoders are shown.

    Raises:
        RunError: when they were trained on different ones and nobody has said which.
    """
    first = encoders[0].config.data
    for trained in encoders[1:]:
        other = trained.config.data
        if other.size != first.size:
            raise RunError(
                f"The encoders take images of different sizes ({first.size} and {other.size} "
                "pixels); look at one of them at a time."
            )
        if not data and other.source != first.source:
            raise RunError(
                f"The encoders were trained on different images ({first.source} and "
                f"{other.source}); name those to look at with --data, or look at one at a time."
            )
    if not data:
        return first
    try:
        source = absolute_source(data)
    except RuntimeError as error:  # ~ of an unknown user
        raise ConfigError(f"--data {data}: there is no such home folder.") from error
    return msgspec.structs.replace(first, source=source, image_size=first.size, limit=0)


def _chosen_part(
    dataset: Dataset, part: str, trained: TrainedEncoder
) -> tuple[Part, Split, Tensor]:
    """The images to choose from: the name of the part, the part, and its labelled rows.

    Raises:
        DataError: when there is no such part, or it has no labels.
    """
    if not dataset.class_names:
        raise DataError(
            f"The images of {dataset.name} have no classes, and a look needs labels; a folder "
            "with one folder for each class has them."
        )
    test = dataset.test if dataset.test is not None and len(dataset.test) else None
    if part == "test" and test is None:
        raise DataError(
            f"{dataset.name} has no test images; --images withheld takes training images whose "
            "labels are withheld from the kNN monitor."
        )
    if test is not None and part != "withheld":
        return "test", test, test.labelled_rows
    config = trained.config
    _, held = holdout_split(dataset.train.labels, config.data.holdout, config.runtime.seed)
    return "withheld", dataset.train, held


class _Viewer:
    """Computes what encoders make of the same images."""

    def __init__(
        self, dataset: Dataset, images: ImageRows, labels: Tensor, runtime: Runtime, sink: Sink
    ) -> None:
        self._dataset, self._images, self._labels = dataset, images, labels
        self._runtime, self._sink = runtime, sink

    def untrained(self, trained: TrainedEncoder) -> Encoder:
        """The random weights that a probe of the seed of the pretraining compares with."""
        return random_encoder(
            trained.config.model,
            self._dataset.train.images,
            mean=trained.mean,
            std=trained.std,
            device=self._runtime.device,
            seed=stream_seed(trained.config.runtime.seed, "random-init"),
            sink=self._sink,
            kernels=self._runtime.kernels,
        )

    def view(
        self, encoder: Encoder, trained: TrainedEncoder, label: str, title: str, epoch: float | None
    ) -> EncoderView:
        """What an encoder makes of the images, with the normalisation of ``trained``."""
        features = extract(
            encoder.to(self._runtime.device),
            self._images,
            mean=trained.mean,
            std=trained.std,
            device=self._runtime.device,
            what="backbone",
            sink=self._sink,
            stage=f"features of {label}",
            kernels=self._runtime.kernels,
        ).cpu()
        if not bool(features.isfinite().all()):
            raise RunError(f"The encoder {label} gives features that are no finite numbers.")
        index, similarity = nearest_others(features, max(AT), sink=self._sink)
        classes = len(self._dataset.class_names)
        predicted = voted_classes(
            index, similarity, self._labels, classes=classes, k=VOTES, temperature=TEMPERATURE
        )
        self._sink.progress("principal components", 0, 1)
        main = principal_components(features)
        return EncoderView(
            label=label,
            title=title,
            epoch=epoch,
            neighbours=index.tolist(),
            similarity=similarity.tolist(),
            shares=same_class_shares(index, self._labels, AT),
            predicted=predicted.tolist(),
            confusion=confusion_counts(self._labels, predicted, classes).tolist(),
            pca=[(float(x), float(y)) for x, y in main.points[:, :2].tolist()],
            explained=(float(main.explained[0]), float(main.explained[1])),
            components=main.points.numpy().astype("<f4").tobytes(),
        )


def _pictures(split: Split, rows: Tensor) -> tuple[int, list[bytes]]:
    """The images as a terminal shows them: pixels of a side, and RGB of each."""
    size = min(split.images.shape[-1], _PICTURE)
    pictures = []
    for part in torch.split(rows, 256):
        images = split.images[part]
        if images.shape[-1] != size:
            small = F.interpolate(to_float(images), size=(size, size), mode="area")
            images = (small * 255 + 0.5).to(torch.uint8)
        pictures += [one.numpy().tobytes() for one in images.permute(0, 2, 3, 1).contiguous()]
    return size, pictures
