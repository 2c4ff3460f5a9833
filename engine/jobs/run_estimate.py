"""The dry run of a whole pretraining: steps, kNN and checkpoints, in time and on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from engine.config.schedule import trained_epochs
from engine.config.schema import PretrainConfig
from engine.data.dataset import holdout_split
from engine.evaluate.features import extract
from engine.evaluate.knn import knn_predict
from engine.jobs.estimate import estimate, knn_passes, seconds_of
from engine.jobs.job import Job
from engine.pretrain.checkpoint import save
from engine.pretrain.loop import Pretraining
from engine.runs.kept_checkpoints import checkpoints_at_end

METRIC_BYTES = 130
"""About, of a step in the metric log."""

_KNN_IMAGES = 1024  # images whose features are timed
_KNN_QUERIES, _KNN_BANK = 256, 16_384  # of what the vote is timed with


def run_estimate(config: PretrainConfig, *, data_dir: Path, steps: int = 4) -> dict[str, Any]:
    """Times a few steps, a part of one kNN and one checkpoint, and scales them to the run.

    Call it in a process of its own, as ``estimate``. The measures are left out: they take less
    than one per cent.

    Args:
        config: the pretraining to estimate.
        data_dir: where data sets and their caches live; the checkpoint is timed there.
        steps: timed steps, at least 1.

    Returns:
        the facts of ``estimate``; ``seconds_knn`` and ``knn_passes``, ``seconds_checkpoint`` and
        ``checkpoints``, each the time of one and how many there will be; ``seconds_run``, of all
        together; ``disk_bytes``, what the finished run takes.

    Raises:
        UserError: what ``prepare`` refuses.
    """

    def beside(prepared: Job, training: Pretraining) -> dict[str, Any]:
        return _knn(config, prepared, training) | _checkpoint(config, training, data_dir)

    facts = estimate(config, data_dir=data_dir, steps=steps, beside=beside)
    seconds = facts["seconds_total"] + facts["knn_passes"] * facts["seconds_knn"]
    # By time, and wherever one is kept.
    made = int(seconds // config.log.checkpoint_seconds)
    if config.log.checkpoint_epochs:
        made += trained_epochs(config.optim) // config.log.checkpoint_epochs
    made += checkpoints_at_end(config, trained_epochs(config.optim))
    facts["checkpoints"] = made
    facts["seconds_run"] = seconds + made * facts["seconds_checkpoint"]
    return facts


def _knn(config: PretrainConfig, prepared: Job, training: Pretraining) -> dict[str, Any]:
    """How often kNN is taken, and what one takes."""
    train, state = prepared.dataset.train, training.state
    held = None
    if config.monitor.knn_every and train.labelled:
        _, held = holdout_split(train.labels, config.data.holdout, config.runtime.seed)
    if held is None or not len(held):
        return {"seconds_knn": 0.0, "knn_passes": 0}
    runtime, encoder = prepared.runtime, state.model.encoder_q
    some = train.images[:_KNN_IMAGES]

    def features() -> torch.Tensor:
        return extract(
            encoder,
            some,
            mean=state.mean,
            std=state.std,
            device=runtime.device,
            what=config.monitor.knn_features,
            kernels=runtime.kernels,
        )

    found = features()  # warms up
    of_image = min(seconds_of(features, runtime.device) for _ in range(2)) / len(some)
    images = len(train.labelled_rows)
    bank = min(images, _KNN_BANK)
    rows = torch.arange(bank, device=found.device) % len(found)
    classes = len(prepared.dataset.class_names)

    def vote() -> torch.Tensor:
        return knn_predict(
            found[:_KNN_QUERIES],
            found[rows],
            rows % classes,
            classes=classes,
            k=config.monitor.knn_k,
            temperature=config.monitor.knn_temperature,
        )

    vote()
    of_pair = seconds_of(vote, runtime.device) / (min(len(found), _KNN_QUERIES) * bank)
    passed, compared = images, len(held) * (images - len(held))
    if config.monitor.knn_test and prepared.dataset.test is not None:
        passed += len(prepared.dataset.test)
        compared += len(prepared.dataset.test) * images
    return {
        "seconds_knn": passed * of_image + compared * of_pair,
        "knn_passes": knn_passes(config),
    }


def _checkpoint(config: PretrainConfig, training: Pretraining, data_dir: Path) -> dict[str, Any]:
    """What writing a checkpoint takes, and what the finished run will take on the disk."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".estimate-") as place:
        file = Path(place, "checkpoint.pt")

        def write() -> None:
            save(file, training.state_dict())

        seconds, size = seconds_of(write, training.state.images.device), file.stat().st_size
    epochs = trained_epochs(config.optim)
    kept = size * checkpoints_at_end(config, epochs)
    return {
        "seconds_checkpoint": seconds,
        "disk_bytes": kept + METRIC_BYTES * training.steps_per_epoch * epochs,
    }
