"""Whether a probe of a run could do anything, and why not; its settings as they are recorded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from engine.config.data import absolute_source
from engine.config.missing_settings import read_config
from engine.config.probe_data import without_own_data
from engine.config.schema import AnyConfig, PretrainConfig, ProbeConfig
from engine.errors import UserError
from engine.runs import Record, RunFolder
from engine.runs.checkpoint_ref import split_checkpoint, with_checkpoint
from engine.runs.kept_checkpoints import kept_checkpoints
from moco_tui.present import fmt
from moco_tui.present.run_rows import RunRow


def why_no_probe(record: Record) -> str:
    """Why a probe of this pretraining would fail, as a sentence; empty when none is known.

    Args:
        record: of the pretraining; before it has read its images, their classes are not known.
    """
    if record.kind == "pretrain" and record.facts.get("classes") == 0:
        return (
            f"The images of run {fmt.clean(record.id)} have no classes, and a probe needs labels; "
            "a folder with one folder for each class has them."
        )
    return ""


def why_no_probe_of(folder: RunFolder) -> str:
    """``why_no_probe`` of a run folder; empty where its record cannot be read."""
    try:
        return why_no_probe(folder.record())
    except UserError:
        return ""


def to_record(config: AnyConfig, parent: RunFolder) -> AnyConfig:
    """The settings of a new run as they are recorded; of a probe with the place of its images.

    A path among them is made absolute, and the very data set of the pretraining is not named.

    Args:
        config: of any kind of run.
        parent: the pretraining of a probe.
    """
    if not isinstance(config, ProbeConfig) or not config.data.source:
        return config
    try:
        source = absolute_source(config.data.source)
    except RuntimeError:  # ~ of an unknown user; loading the data reports it in a sentence
        return config
    config = replace(config, data=replace(config.data, source=source))
    try:
        record = parent.record()
        pretraining = read_config(record.kind, record.config, f"The record of run {record.id}")
    except UserError:  # said where the probe is prepared
        return config
    if not isinstance(pretraining, PretrainConfig):
        return config
    return without_own_data(config, pretraining)


def probe_choices(rows: Iterable[RunRow], root: Path, chosen: str) -> list[tuple[str, str]]:
    """The encoders that a probe can be about, newest first: what each is called, and its title.

    Args:
        rows: all runs.
        root: folder of the run folders.
        chosen: id of a pretraining whose kept checkpoints are offered too, with one of these behind
            it or not; empty for none.
    """
    chosen = split_checkpoint(chosen)[0]
    choices = [
        (row.id, f"{row.title} ({row.id})" if row.name else row.id)
        for row in sorted(rows, key=lambda row: -row.entry.place)
        if row.kind == "pretrain"
    ]
    # The list of runs may not be read yet, or not hold it any more.
    if chosen and chosen not in dict(choices):
        choices.insert(0, (chosen, chosen))
    if chosen:
        title = dict(choices)[chosen]
        kept = kept_checkpoints(root / chosen)
        at = [choice for choice, _ in choices].index(chosen) + 1
        choices[at:at] = [
            (with_checkpoint(chosen, one.name), f"@{one.name} of {title}") for one in kept
        ]
    return choices
