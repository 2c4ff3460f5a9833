"""The command that pretrains an encoder."""

from __future__ import annotations

import click

from engine.config.schema import PretrainConfig
from moco_tui.cli.config_options import CONFIG_SOURCE, ConfigSource
from moco_tui.cli.options import DETACH, NAME, OUTCOME_JSON, Settings, shared_options
from moco_tui.cli.run_here import NewRun, start


@click.command()
@CONFIG_SOURCE
@NAME
@DETACH
@OUTCOME_JSON
@shared_options
@click.pass_obj
def pretrain(
    settings: Settings, source: ConfigSource, name: str, detach: bool, as_json: bool
) -> int:
    """Pretrain an encoder with MoCo."""
    settings.writable()
    extra = {"runtime.device": settings.device} if settings.device else {}
    config = source.resolve(PretrainConfig, extra, data_key="data.source")
    run = NewRun("pretrain", config, name=name, preset=source.preset or "notebook")
    return start(settings, run, detach=detach, as_json=as_json)
