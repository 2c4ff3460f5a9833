"""The configuration in the record of a run, and whether the code that it names may be run."""

from __future__ import annotations

from msgspec.structs import replace

from engine.config import own_code
from engine.config.missing_settings import read_config
from engine.config.resolve import paths_by_key, paths_of
from engine.config.schema import AnyConfig, StudyConfig
from engine.runs import Record, RunFolder


def config_of(record: Record) -> AnyConfig:
    """The configuration in a record, for reading only; code that it names is not imported.

    Raises:
        RunError: when it does not fit this version.
    """
    return read_config(record.kind, record.config, f"The record of run {record.id}")


def placed(config: AnyConfig, device: str) -> AnyConfig:
    """A run that was begun on one of several cards, on the card of the worker that goes on with it.

    Args:
        config: of the run, a pretraining or a probe; one that names another kind of device stays.
        device: ``runtime.device`` of the worker; empty: not known.
    """
    if isinstance(config, StudyConfig):
        return config
    if config.runtime.device != "auto" and not config.runtime.device.startswith("cuda:"):
        return config
    if device not in ("auto", "cuda") and not device.startswith("cuda:"):
        return config
    return replace(config, runtime=replace(config.runtime, device=device))


def runnable_config(folder: RunFolder) -> AnyConfig:
    """The configuration of a run that is about to be computed with.

    Code of the user's own that it names counts as named where the run belongs to the user of this
    process (see ``engine.config.own_code``). Call it before the run is taken over: the owner of a
    run replaces the record, and with that becomes the owner of the file.

    Raises:
        ConfigError: when it names code, the run belongs to another user, and this user has not
            named that code.
        RunError: when the record cannot be read or does not fit this version.
    """
    config = config_of(folder.record())
    own_code.name_if_own(paths_of(config), folder.record_path)
    for key, path in paths_by_key(config):
        own_code.check_named(path, key)
    return config
