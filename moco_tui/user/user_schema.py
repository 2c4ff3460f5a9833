"""What a user's own configuration may hold: types, ranges and one line on each setting.

It changes what a person sees and is told, never what a run computes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct

Event = Literal["finished", "failed", "lost", "warning"]
EVENTS: tuple[Event, ...] = get_args(Event)
TerminalWay = Literal["auto", "osc9", "osc777", "bell", "off"]
# fmt: off
ListColumn = Literal[
    "state", "name", "kind", "data", "K", "labels", "task", "augment",
    "loss", "curve", "best", "gain", "vs base", "done", "size", "age", "tags",
]
# fmt: on


class NotifySettings(Struct, frozen=True, kw_only=True):
    """How a person is told that a run has ended or needs a look."""

    on: Annotated[
        tuple[Event, ...],
        Meta(description="what is told of a run; warning: a diagnosis holds of a pretraining"),
    ] = EVENTS
    toast: Annotated[bool, Meta(description="a few lines in the app")] = True
    terminal: Annotated[
        TerminalWay,
        Meta(
            description="the terminal's own notification: OSC 9, OSC 777 or the bell; "
            "auto: the one that the terminal is known to show, else the bell"
        ),
    ] = "auto"
    command: Annotated[
        tuple[str, ...],
        Meta(
            description="a program and its arguments, started without a shell; it finds the run "
            "in MOCO_TUI_RUN_ID, _RUN_NAME, _RUN_STATE, _RUN_KIND, MOCO_TUI_ACCURACY, _MESSAGE"
        ),
    ] = ()
    apprise: Annotated[
        tuple[str, ...],
        Meta(description="addresses of Apprise, such as mailto://...; needs moco-tui[notify]"),
    ] = ()
    seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=60,
            description="how long the command, and Apprise, may take",
            extra={"unit": "s"},
        ),
    ] = 10


class ColumnSettings(Struct, frozen=True, kw_only=True):
    """Which columns tables have."""

    runs: Annotated[
        tuple[str, ...],
        Meta(
            description="columns of the list of runs: its own, as name or best, settings, as "
            "moco.queue_size, and metrics, as knn/top1 or best.knn/top1; none: those that suit"
        ),
    ] = ()


class FormDefaults(Struct, frozen=True, kw_only=True):
    """Settings that the form for a new run begins with, over its preset."""

    pretrain: Annotated[
        dict[str, Any],
        Meta(
            description="what the form for a pretraining begins with, over its preset, as "
            '{"moco.queue_size" = 16384}'
        ),
    ] = {}
    probe: Annotated[
        dict[str, Any],
        Meta(description='what the form for a probe begins with, as {"label_fraction" = 0.2}'),
    ] = {}
    study: Annotated[
        dict[str, Any],
        Meta(description='what the form for a study begins with, as {"seeds" = [0, 1]}'),
    ] = {}


class UserConfig(Struct, frozen=True, kw_only=True):
    """A user's own configuration."""

    theme: Annotated[
        str, Meta(description="theme of the app by its name; empty: Textual's own choice")
    ] = ""
    ask_before_stop: Annotated[
        bool, Meta(description="ask before a run is stopped from the app")
    ] = True
    keys: Annotated[
        dict[str, str],
        Meta(description='other keys, as {"runs.new" = "n,ctrl+n"}; moco-tui config keys has all'),
    ] = {}
    form: FormDefaults = FormDefaults()
    columns: ColumnSettings = ColumnSettings()
    notify: NotifySettings = NotifySettings()
