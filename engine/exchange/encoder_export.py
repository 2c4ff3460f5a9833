"""Writing the encoder of a run for other programs, with a card beside it."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from engine.config.data import absolute_source
from engine.config.run_schema import RuntimeConfig
from engine.data.dataset import load_dataset
from engine.errors import RunError
from engine.exchange.encoder_facts import encoder_facts, feature_facts
from engine.exchange.encoder_formats import (
    ENCODER_FORMATS,
    EncoderFormat,
    check_suffix,
    default_target,
    require_packages,
)
from engine.exchange.feature_table import feature_table
from engine.exchange.model_card import model_card
from engine.exchange.onnx_graph import onnx_graph
from engine.exchange.safetensors_file import safetensors_file
from engine.exchange.torchvision_state import torchvision_state
from engine.files import is_folder, is_gone, replace_file, unwritable
from engine.jobs.trained_encoder import TrainedEncoder, load_encoder
from engine.runs import Record, RunFolder, by_id, folders
from engine.runs.checkpoint_ref import with_checkpoint
from engine.runs.encoder_step import EncoderStep, proven_step
from engine.runtime.device import apply_runtime, resolve_runtime
from engine.sink import NullSink, Sink


@dataclass(frozen=True)
class ExportPlace:
    """Where an export finds what it needs, and where it writes.

    Attributes:
        target: the file; None: one in the working directory that is named after the run.
        force: replace a file that is there.
        data_dir: where data sets and their caches live.
        data: the data set whose features are written; empty: that of the pretraining.
        device: that computes them.
        command: what the person typed, for the card.
        checkpoint: which one of the run, see ``kept_checkpoints.checkpoint_file``.
    """

    target: Path | None
    force: bool
    data_dir: Path
    data: str = ""
    device: str = "auto"
    command: str = ""
    checkpoint: str = ""


def export_encoder(
    folder: RunFolder, format_: str, place: ExportPlace, sink: Sink | None = None
) -> tuple[Path, Path]:
    """Writes the query encoder of a pretraining, or the features that it makes, and a card.

    The card has the name of the file with ``.md`` behind it. Each is written whole or not at all.

    Args:
        folder: a pretraining, or a probe, which stands for its pretraining.
        format_: a key of ``ENCODER_FORMATS``.
        place: see there.
        sink: receives the progress of reading images and of the features, and may ask to stop.

    Returns:
        The file and the card.

    Raises:
        RunError: when the format is none, the run has no encoder, a package is missing, a file is
            there already, or it cannot be written.
        DataError: when the images cannot be read.
        Interrupted: when the sink asked to stop.
    """
    chosen = ENCODER_FORMATS.get(format_)
    if chosen is None:
        known = ", ".join(ENCODER_FORMATS)
        raise RunError(f"{format_} is no format of an encoder; it must be one of {known}.")
    record = folder.record()
    if record.kind == "probe":  # its encoder is that of the pretraining
        place = replace(place, checkpoint=place.checkpoint or record.checkpoint)
        folder = by_id(folder.path.parent, record.parent)
        record = folder.record()
    if record.kind != "pretrain":
        raise RunError(f"Run {record.id} is a {record.kind}; it has no encoder of its own.")
    name = with_checkpoint(record.id, place.checkpoint)
    target = place.target or default_target(chosen, name)
    card = target.with_name(target.name + ".md")
    suffix = check_suffix(chosen, target)
    require_packages(chosen, suffix)
    for path in (target, card):
        _check_free(path, force=place.force)
    trained = load_encoder(folder, place.checkpoint)
    parts, facts = _encoded(chosen, folder, record, trained, place, suffix, sink or NullSink())
    text = model_card(
        record,
        facts,
        title=folder.title(),
        format_=format_,
        file=target.name,
        suffix=suffix,
        command=place.command,
        probes=_probes(folder, record, trained.at.step),
        knn=_knn(folder, record, trained.at),
    )
    _write(target, parts)
    _write(card, [text.encode()])
    return target, card


def _encoded(
    chosen: EncoderFormat,
    folder: RunFolder,
    record: Record,
    trained: TrainedEncoder,
    place: ExportPlace,
    suffix: str,
    sink: Sink,
) -> tuple[list[bytes], dict[str, str]]:
    """The bytes of the file, and what it says of them."""
    facts = encoder_facts(trained, record)
    if chosen.name == "torchvision":
        return [torchvision_state(trained)], facts
    if chosen.name == "safetensors":
        return [safetensors_file(trained, facts)], facts
    if chosen.name == "onnx":
        return [onnx_graph(trained, facts)], facts
    data = trained.config.data
    if place.data:
        data = msgspec.structs.replace(
            data,
            source=absolute_source(place.data),
            image_size=data.size,  # of the encoder, whatever the set's own is
            limit=0,
        )
    runtime = resolve_runtime(RuntimeConfig(device=place.device))
    apply_runtime(runtime, deterministic=False)
    own_folders = (folder.path.parent,)
    dataset = load_dataset(data, data_dir=place.data_dir, sink=sink, own_folders=own_folders)
    made_by = trained.on(dataset.train.images)
    facts = encoder_facts(made_by, record) | feature_facts(data, dataset)
    if trained.takes_statistics:
        facts["normalised_for"] = data.source
    table = feature_table(
        made_by,
        dataset,
        data=data,
        facts=facts,
        runtime=runtime,
        sink=sink,
        data_dir=place.data_dir,
        own_folders=own_folders,
    )
    return table.encoded(suffix), facts


def _knn(folder: RunFolder, record: Record, at: EncoderStep) -> float | None:
    """The kNN accuracy of an encoder in percent, the newest of the last; None: not measured."""
    if not at.checkpoint:
        return record.last.get("knn/top1")
    log = folder.metrics()
    with contextlib.suppress(RunError):
        log.poll()
    return dict(zip(*log.series("knn/top1"), strict=True)).get(at.step)


def _probes(folder: RunFolder, pretraining: Record, step: int) -> list[Record]:
    """The finished probes of the encoder of a step, the oldest first.

    Runs that cannot be read are none. A probe of version 0.1 names no step: it is one of the last
    encoder where it began after the pretraining had ended.
    """
    found = []
    for other in folders(folder.path.parent):
        try:
            record = other.record()
        except RunError:
            continue
        if record.kind == "probe" and record.parent == folder.id and record.status == "finished":
            at = proven_step(record, pretraining)
            if at is None or at.step == step:
                found.append(record)
    return sorted(found, key=lambda record: (record.created, record.id))


def _check_free(path: Path, *, force: bool) -> None:
    """Refuses a name that is taken.

    Raises:
        RunError: when it is, and may not be replaced.
    """
    if not force and not is_gone(path):
        raise RunError(f"{path} is there already; --force replaces it, --out names another file.")


def _write(path: Path, parts: list[bytes]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_folder(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        replace_file(path, *parts, follow_folder=True)
    except FileExistsError as error:  # a file stands where a folder should be
        raise unwritable(path, NotADirectoryError(errno.ENOTDIR, "")) from error
    except OSError as error:
        raise unwritable(path, error) from error
