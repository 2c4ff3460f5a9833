"""A run of an encoder that was trained elsewhere: recorded, and never trained here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from engine.config.data import own_size
from engine.config.models import ENCODERS
from engine.config.pretraining_key import model_facts
from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.errors import ConfigError
from engine.exchange.foreign_file import read_foreign
from engine.exchange.foreign_layouts import FoundEncoder, find_encoder
from engine.history.index import note_change
from engine.jobs.provenance_notes import noted_provenance
from engine.jobs.trained_encoder import IMPORTED_KIND
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create
from engine.runs.note_limits import checked_name
from engine.runs.root import check_place
from engine.runs.takeover import own
from engine.runs.unstarted import taken_back_unless_begun
from engine.sink import Plan
from engine.text import one_line

Channels = tuple[float, float, float]


def import_encoder(
    root: Path,
    path: Path,
    encoder: str,
    *,
    name: str = "",
    data: str = "",
    mean: Channels | None = None,
    std: Channels | None = None,
) -> RunFolder:
    """Makes a finished pretraining of the weights in a file.

    Args:
        root: folder of the runs.
        path: the file.
        encoder: the net that it holds: ``convnet``, ``resnet18``, ``resnet34`` or ``resnet50``.
        name: of the run, for people.
        data: the data set that probes use; empty: the default.
        mean: of the channels in [0, 1], by which images are normalised; None: that of the file
            where this program wrote it, else that of the data that are probed.
        std: likewise.

    Raises:
        ConfigError: when an argument cannot be used.
        RunError: when the file does not hold such an encoder, or the run cannot be made.
    """
    if encoder not in ENCODERS:
        raise ConfigError(
            f"--encoder {one_line(encoder)}: it must be one of {', '.join(ENCODERS)}.", "encoder"
        )
    statistics = checked_statistics(mean, std, "--")
    check_place(root)
    checked_name(name)
    file = read_foreign(path)
    found = find_encoder(file, encoder, one_line(str(path)))
    statistics = statistics or _recorded(file.metadata)
    source = data or PretrainConfig().data.source
    size = 0 if found.image_size in (0, own_size(source)) else found.image_size
    config = build(
        PretrainConfig,
        {
            **{f"model.{key}": value for key, value in msgspec.to_builtins(found.model).items()},
            **({"data.source": data} if data else {}),
            **({"data.image_size": size} if size else {}),
        },
    )
    state = {
        "kind": IMPORTED_KIND,
        "model_config": model_facts(config.model),
        "step": 0,
        "steps_per_epoch": 0,
        "model": {f"encoder_q.{key}": value for key, value in found.weights.items()},
        "mean": None if statistics is None else torch.tensor(statistics[0]),
        "std": None if statistics is None else torch.tensor(statistics[1]),
    }
    origin = f"imported {one_line(path.name)} sha256 {file.sha256}"
    folder = create(root, "pretrain", config, name=name)
    with taken_back_unless_begun(folder), own(folder, on_change=note_change) as owner:
        checkpoints.save(folder.checkpoint_path, state)
        owner.transition("running", origin=origin)
        # Of the import: what trained the weights is known to whoever did.
        with noted_provenance(owner, config, torch.device("cpu"), 0):
            # No steps, no images: nothing was trained here.
            owner.plan(Plan(total_steps=0, facts=_facts(found, statistics)))
            owner.checkpointed(0)
            owner.log(f"{origin}; {_left_out(found)}")
        owner.transition("finished")
    return folder


def _facts(found: FoundEncoder, statistics: tuple[Channels, Channels] | None) -> dict[str, Any]:
    """What the record says of the encoder."""
    if statistics is None:
        normalisation = "mean and std of the data that is probed"
    else:
        normalisation = f"mean {list(statistics[0])}, std {list(statistics[1])}"
    return {
        "layout": found.layout,
        "normalisation": normalisation,
        "left out": _left_out(found),
    }


def _left_out(found: FoundEncoder) -> str:
    """What of a file is not in the run, in a line: how many keys of which beginnings."""
    if not found.left_out:
        return "nothing was left out" if found.has_head else "there was no projection head"
    starts = Counter(key.removeprefix("module.").partition(".")[0] for key in found.left_out)
    named = [f"{one_line(start)[:60]} ({count})" for start, count in starts.most_common(6)]
    rest = [f"{len(starts) - 6} more"] if len(starts) > 6 else []
    return f"{len(found.left_out)} keys were left out: {', '.join(named + rest)}"


def checked_statistics(
    mean: Sequence[float] | None, std: Sequence[float] | None, dashes: str = ""
) -> tuple[Channels, Channels] | None:
    """Mean and standard deviation of the channels in [0, 1], or neither.

    Args:
        mean: three numbers, in [0, 1].
        std: three numbers, above 0 and at most 1.
        dashes: before the two names in a message, as they were typed.

    Raises:
        ConfigError: when one of the two is missing, or a value is out of range.
    """
    names = f"{dashes}mean and {dashes}std"
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise ConfigError(f"{names} belong together; one of them is missing.")
    try:
        means, deviations = (msgspec.convert([float(v) for v in x], Channels) for x in (mean, std))
    except (TypeError, ValueError, msgspec.ValidationError):
        raise ConfigError(f"{names} must be three numbers each, one a channel.") from None
    # Channels are in 0 to 1: 0.48 for photographs, and never 125.
    if not all(0 <= value <= 1 for value in means) or not all(0 < v <= 1 for v in deviations):
        raise ConfigError(
            f"{names} are of channels in 0 to 1: each mean must be from 0 to 1, each "
            "standard deviation above 0 and at most 1."
        )
    return means, deviations


def _recorded(metadata: Any) -> tuple[Channels, Channels] | None:
    """The statistics that this program wrote into a file; None where there are none."""
    try:
        mean = msgspec.json.decode(metadata["mean"], type=Channels)
        std = msgspec.json.decode(metadata["std"], type=Channels)
        return checked_statistics(mean, std)
    except (KeyError, msgspec.DecodeError, ConfigError):
        return None


def channels(text: str | None, option: str) -> Channels | None:
    """Three numbers that a person typed, as ``0.49,0.48,0.45``.

    Args:
        text: None where the option was not given.
        option: its name.

    Raises:
        ConfigError: when they are not three numbers.
    """
    if text is None:
        return None
    try:
        values: Sequence[float] = [float(part) for part in text.strip("[]() ").split(",")]
        red, green, blue = values
    except ValueError:
        raise ConfigError(
            f"{option} {one_line(text)[:60]}: it must be three numbers, as 0.49,0.48,0.45."
        ) from None
    return red, green, blue
