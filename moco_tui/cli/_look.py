"""The command that looks at encoders for the app, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import sys

import click
import msgspec

from engine.runs.encoder_look import LookRequest
from engine.sink import NullSink
from moco_tui.cli.options import Settings, shared_options
from moco_tui.training import detached
from moco_tui.training.look_process import PROGRESS

_NICENESS = 10  # a run that trains beside it goes first


class _Lines(NullSink):
    """Tells the progress in lines that ``LookProcess`` reads."""

    def progress(self, stage: str, done: int, total: int) -> None:
        print(f"{PROGRESS}{done}\t{total}\t{stage}", file=sys.stderr, flush=True)


@click.command(hidden=True)
@click.option("--map", "count", type=int, help="A t-SNE of so many points on stdin.")
@shared_options
@click.pass_obj
def _look(settings: Settings, count: int | None) -> None:
    """Looks at the encoders named on stdin, for the app.

    Reads a request as JSON, or components as bytes, and writes the result as MessagePack.
    """
    detached.accept_signals()  # the app, which starts this, blocks them
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    asked = sys.stdin.buffer.read()
    _Lines().progress("loading", 0, 1)
    result: object
    if count is not None:
        from engine.evaluate.plane_maps import tsne_plane

        result = tsne_plane(asked, count)
    else:
        request = msgspec.json.decode(asked, type=LookRequest)
        from engine.jobs.look_at import look_at  # imports torch

        result = look_at(request, root=settings.root, data_dir=settings.data, sink=_Lines())
    sys.stdout.buffer.write(msgspec.msgpack.encode(result))
    sys.stdout.buffer.flush()
