"""The user's configuration in the app: theme, keys, defaults of the form, and its mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moco_tui.app import MocoApp
from moco_tui.screens.help_screen import help_text
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.screens.user_choices import problems_of
from moco_tui.terminal import themes
from moco_tui.user.remembered import state_path
from moco_tui.user.user_file import read_user_file

from ..conftest import on_screen, some_runs, until

MakeApp = Callable[..., MocoApp]


def said(app: MocoApp) -> list[str]:
    return [notification.message for notification in app._notifications]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


async def test_a_chosen_theme_is_there_at_the_next_start(make_app: MakeApp, path: Path) -> None:
    path.write_text('theme = "nord"  # mine\n')
    app = make_app(user=read_user_file(path))
    async with app.run_test() as pilot:
        await pilot.pause()
        assert app.theme == "nord"
        assert not state_path(app.session.user).exists(), "nothing was chosen"
        app.theme = "gruvbox"
        await pilot.pause()
    assert make_app(user=read_user_file(path)).theme == "gruvbox"
    assert path.read_text() == 'theme = "nord"  # mine\n'
    path.write_text('theme = "dracula"\n')
    assert make_app(user=read_user_file(path)).theme == "dracula"


async def test_a_read_only_app_remembers_nothing(make_app: MakeApp, path: Path) -> None:
    app = make_app(user=read_user_file(path), read_only=True)
    async with app.run_test() as pilot:
        app.theme = "gruvbox"
        await pilot.pause()
    assert list(path.parent.glob("*.toml")) == []


async def test_a_chosen_key_acts_and_help_says_so(
    make_app: MakeApp, root: Path, path: Path
) -> None:
    some_runs(root)
    path.write_text('[keys]\nruns.new = "z"\n"app.leave" = "Q"\n')
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.session.runs.rows)
        text = str(help_text(app.screen))
        assert "  z                     New\n" in text
        assert "  Q                     Quit\n" in text
        await pilot.press("n")
        await pilot.pause()
        assert isinstance(app.screen, RunsScreen), "the key has moved"
        await pilot.press("z")
        await until(pilot, lambda: on_screen(app, NewRunScreen).body)


async def test_the_form_begins_with_the_defaults_of_its_kind(make_app: MakeApp, path: Path) -> None:
    path.write_text(
        "[form.pretrain]\nqueue_size = 16384\noptim.epochs = 7\n"
        "[form.probe]\nlabel_fraction = 0.2\n"
    )
    app = make_app(user=read_user_file(path), device="cpu")
    async with app.run_test(size=(120, 40)) as pilot:
        app.open_form()
        await until(pilot, lambda: on_screen(app, NewRunScreen).state)
        state = on_screen(app, NewRunScreen).state
        assert (state.values["moco.queue_size"], state.values["optim.epochs"]) == (16384, 7)
        assert "--set moco.queue_size=16384" in state.command(), "the command says it too"
        assert state.values["runtime.device"] == "cpu", "the option of the start wins"
    assert app.session.new_form("probe").values["label_fraction"] == 0.2
    assert app.session.new_form("study").changed() == {}


async def test_mistakes_are_said_and_the_app_goes_on(
    make_app: MakeApp, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moco_tui.app.START_SECONDS", 0.01)
    path.write_text('theme = "nordd"\nthme = 1\n[keys]\n"runs.nwe" = "z"\n')
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: len(said(app)) >= 3)
        assert isinstance(app.screen, RunsScreen)
        assert any("did you mean theme?" in text for text in said(app))
        assert any("theme is nordd; it must be one of" in text for text in said(app))
        assert any("there is no binding runs.nwe" in text for text in said(app))
        assert app.theme != "nordd"


@pytest.mark.parametrize("name", ["nord", "high-contrast"])
def test_a_chosen_theme_holds_on_a_terminal_of_16_colours(
    make_app: MakeApp, path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first = themes.first_theme
    monkeypatch.setattr(themes, "first_theme", lambda found: first("standard"))
    app = make_app()
    app.suit_terminal()
    assert app.theme == themes.SIXTEEN
    app = make_app(user=read_user_file(path))
    app.suit_terminal()
    assert not state_path(app.session.user).exists(), "nobody has chosen it"
    path.write_text(f'theme = "{name}"')
    app = make_app(user=read_user_file(path))
    app.suit_terminal()
    assert app.theme == name
    assert not problems_of(app.session.user)
