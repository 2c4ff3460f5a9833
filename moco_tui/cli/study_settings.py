"""The configuration of a study: from the options, or from a study that was begun."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from engine.config import own_code
from engine.config.axis_keys import QUEUE
from engine.config.fields import fields
from engine.config.resolve import paths_of
from engine.config.schema import GRID_KEYS, StudyConfig, names_axes
from engine.errors import ConfigError, DataError, RunError
from engine.history.entry import Entry
from engine.runs import RunFolder, by_id
from engine.runs.data_identity import DataIdentity
from engine.study.grid import pretrain_config, reference
from engine.study.result_keys import knn_key, plain, pretraining_key
from moco_tui.cli.config_options import ConfigSource
from moco_tui.cli.options import Settings
from moco_tui.cli.output import clean, say
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.run_here import check_own_code
from moco_tui.cli.study_axes import NOTHING_VARIED, AxisOptions, with_absolute_sources
from moco_tui.cli.study_report import config_of_study

_QUEUE = f"pretrain.{QUEUE}"
# Settings of a probe that change no number that the study reports.
_FREE_OF_PROBES = ("runtime.device", "runtime.threads")


def configure(
    settings: Settings, source: ConfigSource, varied: AxisOptions = NOTHING_VARIED
) -> StudyConfig:
    """The configuration that the options make.

    Raises:
        ConfigError: one sentence on the first thing that is wrong.
    """
    extra: dict[str, Any] = varied.values()
    if settings.device:
        extra |= dict.fromkeys(("pretrain.runtime.device", "probe.runtime.device"), settings.device)
    typed = [text.partition("=")[0].strip() for text in source.sets]
    try:
        config = source.resolve(StudyConfig, extra, data_key="pretrain.data.source")
    except ConfigError:
        # A key that the grid varies may have been the reason, which is said better here; that of
        # the queue size is not meant where something else is varied.
        maybe = varied.names_axes or source.preset is not None or source.toml is not None
        _refuse_grid_keys(typed, {_QUEUE} if maybe else set())
        raise
    _refuse_grid_keys(typed, {_QUEUE} if names_axes(config) else set())
    return with_absolute_sources(config)


def _refuse_grid_keys(keys: Sequence[str], free: Collection[str]) -> None:
    """Refuses settings of a single run that the study's grid varies; see ``_refuse_grid_key``."""
    for key in keys:
        _refuse_grid_key(key, free)


def _refuse_grid_key(key: str, free: Collection[str]) -> None:
    """Refuses a setting of a single run that the study's grid varies, and names the grid's key.

    Args:
        key: as it was typed: a dotted key or the end of one.
        free: settings that this study's grid does not vary.

    Raises:
        ConfigError: when the key stands for such settings alone.
    """
    known = fields(StudyConfig)
    meant = [name for name in known if name == key or name.endswith("." + key)]
    settable = key in known and key not in GRID_KEYS
    if settable or not meant or not GRID_KEYS.keys() - set(free) >= set(meant):
        return
    if meant == ["probe.task.name"]:  # names a task whose groups of classes the user defines
        return
    grid_key = GRID_KEYS[meant[0]]
    default = ",".join(str(item) for item in known[grid_key].default)
    raise ConfigError(
        f"{key} cannot be set for a study: its grid does, as in --set {grid_key}={default}.", key
    )


def begun_study(folder: RunFolder) -> StudyConfig:
    """The configuration of a study that was begun; its own code may run if the record is ours.

    Raises:
        RunError: when it is no study, or of a version that cannot be read.
    """
    config = config_of_study(folder.record())
    own_code.name_if_own(paths_of(config), folder.record_path)
    return config


def study_key(config: StudyConfig) -> tuple[Any, ...]:
    """Equal for studies that differ in nothing that changes a number."""
    probe = {k: v for k, v in plain(config.probe).items() if k not in _FREE_OF_PROBES}
    free = ("pretrain.", "probe.", "workers", "devices")
    grid = {k: v for k, v in plain(config).items() if not k.startswith(free)}
    judged = knn_key(plain(config.pretrain)) if config.judge == "knn" else ""
    return pretraining_key(plain(config.pretrain)) + judged, probe, grid


def present_data(settings: Settings, config: StudyConfig) -> DataIdentity | None:
    """The images and labels that the study would be computed with now.

    None, with a line that says so, where they cannot be read: what is done can be printed still.
    """
    from engine.data.dataset import load_dataset  # imports torch

    check_own_code(config)
    # Read with a bar, since a large folder takes minutes the first time.
    with terminal_sink("study") as sink:
        try:
            dataset = load_dataset(
                pretrain_config(config, reference(config), config.seeds[0]).data,
                data_dir=settings.data,
                sink=sink,
                own_folders=(settings.root,),
            )
        except DataError as error:
            say(f"{clean(str(error))} So it is not known whether what is done is of these images.")
            return None
    return dataset.identity


def recorded_data(
    settings: Settings, config: StudyConfig, entries: Sequence[Entry], run: str | None
) -> Sequence[Mapping[str, Any]]:
    """What the record of a study says of its data; empty where none was begun.

    Args:
        settings: where its record is.
        config: the study.
        entries: the runs.
        run: the study, where one is named; else the newest of the same configuration.
    """
    if run is not None:
        return settings.find(run).record().data
    key = study_key(config)
    for entry in sorted(entries, key=lambda e: e.place, reverse=True):
        if entry.kind == "study":
            try:
                record = settings.find(entry.id).record()
                if study_key(config_of_study(record)) == key:
                    return record.data
            except RunError:  # of another version, or damaged
                continue
    return ()


def unfinished_study(
    settings: Settings, config: StudyConfig, entries: Sequence[Entry]
) -> RunFolder | None:
    """The newest study of the same configuration that is not finished; None for none.

    Another process may be computing it (``study_join.is_computed``).
    """
    key = study_key(config)
    for entry in sorted(entries, key=lambda e: e.place, reverse=True):
        if entry.kind != "study" or entry.status == "finished":
            continue
        folder = by_id(settings.root, entry.id)
        try:
            same = study_key(config_of_study(folder.record())) == key
        except RunError:  # of another version, or damaged: it cannot be continued
            continue
        if same:
            return folder
    return None
