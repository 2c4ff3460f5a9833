"""The configuration in the record of a run."""

from __future__ import annotations

import msgspec

from engine.config.schema import KINDS, AnyConfig
from engine.errors import RunError
from engine.runs import Record


def config_of(record: Record) -> AnyConfig:
    """The configuration in a record.

    Raises:
        RunError: when it does not fit this version.
    """
    try:
        return msgspec.convert(record.config, KINDS[record.kind], strict=False)
    except (KeyError, msgspec.ValidationError) as error:
        raise RunError(
            f"The record of run {record.id} holds a configuration that this version does not "
            f"know ({error})."
        ) from error
