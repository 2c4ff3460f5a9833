"""What a file with an encoder says of it, as texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.config.data import DATA_SETS
from engine.config.schema import DataConfig
from engine.data.dataset import Dataset
from engine.data.folder_listing import list_folder
from engine.errors import UserError
from engine.jobs.surroundings import program_state
from engine.jobs.trained_encoder import TrainedEncoder
from engine.runs import Record
from engine.runs.data_identity import last_identity
from engine.runs.record import branch_words

FORMAT = "moco-tui encoder"
"""``format`` in the metadata of a file that this program wrote."""


def encoder_facts(trained: TrainedEncoder, record: Record) -> dict[str, str]:
    """What identifies an encoder, and what is needed to use it.

    Args:
        trained: the encoder.
        record: of its run.

    Returns:
        Texts by name. Numbers and lists are JSON: ``mean`` and ``std`` of the channels in [0, 1]
        (absent where images are normalised by the statistics of their own data set),
        ``data`` and ``train_images`` what it was trained on (absent and 0 where it was trained
        elsewhere), ``commit`` of this program (absent where it is not known) and
        ``changed_files`` since, ``fingerprint`` the SHA-256 of the weights,
        ``image_size`` in pixels, ``feature_dim``, ``embedding_dim`` (0: no head), ``classes``.
    """
    config, encoder = trained.config, trained.encoder
    identity = trained.data or last_identity(record.data)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "run": record.id,
        "encoder": config.model.encoder,
        "stem": config.model.stem,
        "mlp_head": config.model.mlp_head,
        "feature_dim": encoder.feature_dim,
        "embedding_dim": encoder.dim if encoder.has_head else 0,
        "image_size": config.data.size,
        "train_images": 0 if identity is None else identity.train,
        "classes": [] if trained.imported else list(class_names(config.data)),
        "step": trained.at.step,
        "schedule_steps": trained.at.schedule,
        "epoch": record.epoch if trained.at.epoch is None else trained.at.epoch,
        "fingerprint": trained.at.fingerprint,
        **program(),
    }
    if not trained.takes_statistics:
        facts |= {"mean": numbers(trained.mean), "std": numbers(trained.std)}
    if trained.trained_on:
        facts["data"] = trained.trained_on
    if trained.at.checkpoint:
        facts["checkpoint"] = trained.at.checkpoint
    if record.began_from is not None:
        facts["began_from"] = branch_words(record.began_from)
    if record.origin:
        facts["origin"] = record.origin
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in facts.items()}


def feature_facts(data: DataConfig, dataset: Dataset) -> dict[str, str]:
    """What features were made of, as texts by name: the set, its images and its classes.

    Args:
        data: what ``dataset`` was loaded by.
        dataset: whose images went through the encoder.
    """
    return {
        "features_of": data.source,
        "features_train_images": str(len(dataset.train)),
        "features_test_images": str(0 if dataset.test is None else len(dataset.test)),
        "classes": json.dumps(list(dataset.class_names)),
    }


def numbers(values: Tensor) -> list[float]:
    """Float32 values with as many digits as tell them apart: 9 at most."""
    return [float(f"{value:.9g}") for value in values.tolist()]


def class_names(config: DataConfig) -> tuple[str, ...]:
    """Names of the classes of a data set, found without reading an image; empty where they are not.

    A folder of images is listed; it may have changed, or be gone.
    """
    part, argument = DATA_SETS.find(config.source)
    if part is None:
        return ()
    if not part.argument:
        return part.class_names
    try:
        return list_folder(Path(argument).expanduser()).classes
    except (UserError, OSError, RuntimeError):
        return ()


def program() -> Mapping[str, str]:
    """The version of this program that writes a file, its commit, and whether it was changed."""
    found = program_state()
    facts = {
        "version": f"moco-tui {found.get('program.version', '')}".strip(),
        "commit": found.get("program.commit", ""),
        "changed_files": str(found.get("program.changed") or ""),
    }
    return {name: text for name, text in facts.items() if text}
