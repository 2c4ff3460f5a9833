"""The app behind a page of ``moco-tui serve``, in a process of its own."""

from __future__ import annotations

import os

import click

from engine.errors import UserError
from moco_tui.cli.options import Settings, shared_options


@click.command(hidden=True)
@shared_options
@click.pass_obj
def _served(settings: Settings) -> int:
    """Draws the app on stdout in the packets of a web driver, for the server."""
    if "TEXTUAL_DRIVER" not in os.environ:
        raise UserError("moco-tui serve starts this; there is nothing else that it is for.")
    from moco_tui.app_life import run

    return run(
        settings.root,
        data_dir=settings.data,
        device=settings.device,
        read_only=settings.read_only,
        served=True,
    )
