"""What the user's own configuration does in the app, and what is said of mistakes in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from textual.app import App

from engine.text import one_line
from moco_tui.screens.messages import Say, Severity
from moco_tui.session import Session
from moco_tui.terminal.themed_app import ThemedApp
from moco_tui.user.remembered import charts_of, remember_charts, remember_theme, theme_of
from moco_tui.user.user_file import UserFile

_MOST_SAID = 4  # sentences; more would cover the screen, and moco-tui config prints them all


def use_theme(app: App[Any], session: Session) -> None:
    """Begin with the theme that the person wants, if there is one of that name."""
    theme, _ = theme_of(session.user)
    if theme in app.available_themes:
        app.theme = theme


class UserThemedApp(ThemedApp):
    """Has the theme that a person has chosen, and keeps one that is chosen in it."""

    session: Session

    def suit_terminal(self) -> None:
        """See ``ThemedApp``; a theme that a person has chosen holds on any terminal."""
        super().suit_terminal()
        use_theme(self, self.session)

    def watch_theme(self, before: str, theme: str) -> None:
        """Keep a theme that was chosen, which can only be while the app runs."""
        if self.is_running and theme != before:
            keep_theme(self.session, theme, partial(_say, self))


def _say(app: App[Any], text: str, *, severity: Severity) -> None:
    app.post_message(Say(text, severity=severity))


def keep_theme(session: Session, theme: str, say: Callable[..., None]) -> None:
    """Remember a theme that was chosen in the app."""
    if not session.remembers or theme == theme_of(session.user)[0]:
        return
    if problem := remember_theme(session.user, theme):
        say(problem, severity="warning")


def wanted_charts(session: Session, kind: str) -> list[str]:
    """Keys of the charts that the person wants of runs of a kind; empty: those of the app."""
    if kind not in session.charts:
        session.charts[kind] = charts_of(session.user, kind) if session.remembers else []
    return session.charts[kind]


def keep_charts(session: Session, kind: str, keys: list[str], say: Callable[..., None]) -> None:
    """Remember the charts that were chosen for runs of a kind."""
    if keys == wanted_charts(session, kind):
        return
    session.charts[kind] = list(keys)
    if session.remembers and (problem := remember_charts(session.user, kind, keys)):
        say(problem, severity="warning")


def say_problems(session: Session, say: Callable[..., None]) -> None:
    """Say what in the user's configuration is left out; the app goes on without it."""
    problems = problems_of(session.user)
    for problem in problems[:_MOST_SAID]:
        say(problem, severity="warning")
    if len(problems) > _MOST_SAID:
        say(f"{len(problems) - _MOST_SAID} more: moco-tui config names them.", severity="warning")


def problems_of(user: UserFile) -> list[str]:
    """A sentence on each thing in the user's configuration that is left out."""
    problems = list(user.problems)
    theme, _ = theme_of(user)
    if theme:
        problems += [problem] if (problem := theme_problem(theme)) else []
    if user.config.keys:  # then only, since it imports every screen
        from moco_tui.screens.key_table import key_problems

        problems += key_problems(user.config.keys)
    return problems


def theme_problem(theme: str) -> str:
    """What is wrong with the name of a theme, as a sentence; empty when there is one."""
    from moco_tui.terminal.themes import theme_names

    names = theme_names()
    if theme in names:
        return ""
    return one_line(f"theme is {theme}; it must be one of {', '.join(names)}.")
