"""The kNN monitor of a pretraining: what its features are worth before any probe."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from engine.config.run_schema import MonitorConfig
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset, ImageRows, holdout_split
from engine.evaluate.features import extract
from engine.evaluate.knn import knn_predict
from engine.evaluate.random_init import calibrate_bn
from engine.models.encoder import Encoder
from engine.native.library import OFF
from engine.sink import Sink


def measure_knn(
    encoder: Encoder,
    dataset: Dataset,
    config: PretrainConfig,
    *,
    mean: Tensor,
    std: Tensor,
    device: torch.device,
    untrained: bool,
    sink: Sink,
    kernels: str = OFF,
) -> dict[str, float]:
    """Weighted kNN on the training images whose labels are withheld from the bank.

    Args:
        encoder: the query encoder, on ``device``; left as it is.
        dataset: with labels.
        config: the pretraining's; ``monitor``, ``data.holdout`` and the seed count.
        mean: float32 (3,), of the channels in [0, 1].
        std: float32 (3,).
        device: where to compute.
        untrained: first give a copy of the encoder BatchNorm statistics that fit the images. With
            the initial ones its kNN is 4 points lower, which would make every rise look larger.
        sink: receives the progress, and is asked once a batch whether to stop.
        kernels: level of the kernels in C of the run, see ``extract``.

    Returns:
        ``knn/top1`` in percent, and ``knn/test_top1`` where the configuration wants it (for
        reference, against all training labels, never to choose by). Empty when no label can be
        withheld: every class has a single image.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    train = dataset.train
    bank, held = holdout_split(train.labels, config.data.holdout, config.runtime.seed)
    if not len(held):
        return {}
    if untrained:
        encoder = copy.deepcopy(encoder)
        calibrate_bn(encoder, train.images, mean=mean, std=std, sink=sink, kernels=kernels)

    def features(images: Tensor | ImageRows) -> Tensor:
        return extract(
            encoder,
            images,
            mean=mean,
            std=std,
            device=device,
            what=config.monitor.knn_features,
            sink=sink,
            kernels=kernels,
        )

    # Of images without a label nothing is known to compare: the others alone pass.
    known = train.labelled_rows
    everyone = len(known) == len(train)
    everything = features(train.images if everyone else ImageRows(train.images, known))
    places = torch.empty(len(train), dtype=torch.int64)
    places[known] = torch.arange(len(known))  # of the images among those that pass
    classes = len(dataset.class_names)
    values = {
        "knn/top1": _top1(
            everything[places[held].to(device)],
            train.labels[held],
            everything[places[bank].to(device)],
            train.labels[bank],
            classes,
            config.monitor,
            sink,
        )
    }
    if config.monitor.knn_test and dataset.test is not None:
        test = dataset.test
        values["knn/test_top1"] = _top1(
            features(test.images),
            test.labels,
            everything,
            train.labels[known],
            classes,
            config.monitor,
            sink,
        )
    return values


def _top1(
    queries: Tensor,
    truth: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    classes: int,
    monitor: MonitorConfig,
    sink: Sink,
) -> float:
    predicted = knn_predict(
        queries,
        bank,
        bank_labels.to(bank.device),
        classes=classes,
        k=monitor.knn_k,
        temperature=monitor.knn_temperature,
        sink=sink,
    )
    return 100.0 * float((predicted.cpu() == truth).double().mean())
