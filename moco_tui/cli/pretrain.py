"""The command that pretrains an encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from engine.config.schema import PretrainConfig
from moco_tui.cli.config_options import CONFIG_SOURCE, ConfigSource
from moco_tui.cli.options import DETACH, NAME, OUTCOME_JSON, Settings, shared_options
from moco_tui.cli.ranks import RANKS, RankOptions, over_ranks
from moco_tui.cli.run_here import NewRun, start
from moco_tui.cli.submit_options import SUBMIT, submit_new, wanted

if TYPE_CHECKING:
    from engine.runtime.process_group import Ranks


@click.command()
@CONFIG_SOURCE
@NAME
@DETACH
@RANKS
@SUBMIT
@OUTCOME_JSON
@shared_options
@click.pass_obj
def pretrain(
    settings: Settings,
    source: ConfigSource,
    name: str,
    detach: bool,
    ranks: RankOptions,
    submit: str | None,
    as_json: bool,
) -> int:
    """Pretrain an encoder with MoCo.

    With --devices LIST --parallel, or started by torchrun, several processes share each step.
    """
    settings.writable()
    asked = wanted(submit, source.sets, {"--detach": detach} | ranks.asked())
    source = replace(source, sets=asked.sets)
    extra = {"runtime.device": settings.device} if settings.device else ranks.device_setting()
    config = source.resolve(PretrainConfig, extra, data_key="data.source")
    run = NewRun("pretrain", config, name=name, preset=source.preset or "notebook")
    if asked.options is not None:
        return submit_new(settings, run, options=asked.options, as_json=as_json)

    def work(joined: Ranks | None) -> int:
        devices = ranks.typed
        return start(settings, run, detach=detach, as_json=as_json, ranks=joined, devices=devices)

    return over_ranks(settings, ranks, config, work, detach=detach)
