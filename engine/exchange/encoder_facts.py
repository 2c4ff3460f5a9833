"""What a file with an encoder says of it, as texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.config.data import DATA_SETS
from engine.config.schema import DataConfig
from engine.data.folder_listing import list_folder
from engine.errors import UserError
from engine.jobs.trained_encoder import TrainedEncoder
from engine.machine.installation import installed_commit, program_version
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
        ``fingerprint`` the SHA-256 of the weights,
        ``image_size`` in pixels, ``feature_dim``, ``embedding_dim`` (0: no head), ``classes``.
    """
    config, encoder = trained.config, trained.encoder
    identity = last_identity(record.data)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "run": record.id,
        "encoder": config.model.encoder,
        "stem": config.model.stem,
        "mlp_head": config.model.mlp_head,
        "feature_dim": encoder.feature_dim,
        "embedding_dim": encoder.dim if encoder.has_head else 0,
        "image_size": config.data.size,
        "data": config.data.source,
        "train_images": 0 if identity is None else identity.train,
        "classes": list(class_names(config.data)),
        "step": trained.at.step,
        "schedule_steps": trained.at.schedule,
        "epoch": record.epoch if trained.at.epoch is None else trained.at.epoch,
        "fingerprint": trained.at.fingerprint,
        **program(),
    }
    if not trained.takes_statistics:
        facts |= {"mean": numbers(trained.mean), "std": numbers(trained.std)}
    if trained.at.checkpoint:
        facts["checkpoint"] = trained.at.checkpoint
    if record.began_from is not None:
        facts["began_from"] = branch_words(record.began_from)
    if record.origin:
        facts["origin"] = record.origin
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in facts.items()}


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
    """The version of this program, and its commit where pip installed it from a repository."""
    facts = {"version": f"moco-tui {program_version()}".strip(), "commit": installed_commit()}
    return {name: text for name, text in facts.items() if text}
