"""The app from its start to its end: terminal, signals, what is handed over, the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import UserError
from moco_tui.app import MocoApp
from moco_tui.present import fmt
from moco_tui.screens.messages import OpenMessage
from moco_tui.session import Session
from moco_tui.terminal.abilities import cannot_draw
from moco_tui.terminal.picture_protocol import chosen_pictures
from moco_tui.training.runner import Runner
from moco_tui.user.user_file import read_user_file


def run(
    root: Path,
    *,
    data_dir: Path,
    device: str | None = None,
    read_only: bool = False,
    demo: bool = False,
    opens: OpenMessage | None = None,
    served: bool = False,
) -> int:
    """Run the app until it is left; returns the exit code.

    Args:
        root: the runs folder.
        data_dir: where data sets and their caches live.
        device: device for new runs.
        read_only: look only.
        demo: open on the demonstration.
        opens: what is shown over the runs at the start.
        served: the page of a browser takes the place of the terminal, and has told its size.

    Returns:
        0 when a person has left it; 1 when an error has ended it, after the hand-over of its runs.

    Raises:
        UserError: when the terminal cannot show it, or not as ``MOCO_TUI_PICTURES`` says.
    """
    from moco_tui.terminal.descriptors import Display
    from moco_tui.training.signals import Guard

    if reason := cannot_draw():
        raise UserError(reason)
    chosen_pictures()  # its sentence, before the terminal is taken
    # A shell may export the size of the window in which it was started. Textual and its libraries
    # prefer that to the size of the terminal, which changes with the window.
    for name in () if served else ("COLUMNS", "LINES"):
        os.environ.pop(name, None)

    # Before the app: Textual opens its driver on the stream that Display has put in place, and
    # Guard blocks signals in this thread for every thread that is started from here on.
    display = Display()
    runner = Runner(data_dir)
    runner.redirect_stderr = display.redirect_stderr

    def hand_over() -> str:  # called from the thread of the guard when a signal has come
        runner.hand_over(leaving=True)
        return _handed_over(runner)

    guard = Guard(display, hand_over)
    user = read_user_file()
    session = Session(
        root, data_dir=data_dir, device=device, read_only=read_only, runner=runner, user=user
    )
    if not read_only:
        runner.notified = _notifying
    display.farewell = session.pictures.farewell
    app = MocoApp(session, demo=demo)
    app.suit_terminal()
    app.offers_lost = not (read_only or demo or opens)
    app.opens = opens
    details = app.keep_errors()
    code, error = None, ""
    try:
        code = app.run()
    except Exception:
        error = traceback.format_exc()
    finally:
        guard.wait_if_leaving()  # it may be writing a checkpoint: it ends this process when done
        if runner.busy:  # an error of the screen never ends the training
            runner.hand_over()
        display.restore()
    if served and code is None and not details.getvalue() + error:
        code = 0  # its page was closed, which ends it without an answer
    # Textual returns None for an app that an error ended.
    sentences = [] if code is not None else [_ended_by_error(app, details.getvalue() + error)]
    sentences += [text for severity, text in runner.messages if severity == "error"]
    sentences.append(_handed_over(runner))
    for sentence in filter(None, sentences):
        print(f"moco-tui: {fmt.clean(sentence)}", file=sys.stderr, flush=True)
    return 1 if code is None else code


def _notifying(execute: Callable[..., Any]) -> Callable[..., Any]:
    """A function that trains as ``execute`` does and tells outside how the run ends.

    In the app and on its terminal, ``RunNotices`` shows it.
    """
    from moco_tui.notify.notified import notified  # the first screen trains nothing
    from moco_tui.notify.notifier import Notifier

    return notified(execute, Notifier(), waits=False)


def _ended_by_error(app: MocoApp, details: str) -> str:
    """What is said of an error that ended the app; its details go into a file."""
    # Here: the first screen does not wait for what an error needs.
    from moco_tui.terminal.crash_report import write_report

    failure = app._exception  # None where the error was in a thread of Textual's
    kind = type(failure).__name__ if failure is not None else "see there"
    # Textual's own text is cut to the width of the terminal; it has values beside the lines.
    lines = traceback.format_exception(failure) if failure is not None else []
    path = write_report("".join([details, *lines]))
    place = f"its details are in {path}" if path is not None else "its details could not be written"
    return f"An error of the app has ended it ({kind}); {place}."


def _handed_over(runner: Runner) -> str:
    """Which runs go on in the background after the app; empty when none does."""
    left = runner.going_on()
    if not left:
        return ""
    names = ", ".join(folder.id for folder in left)
    verb, what = ("goes", "it") if len(left) == 1 else ("go", "them")
    return f"{names} {verb} on in the background; moco-tui shows {what}."
