"""The manual pages say what the commands are today, in words that man can show."""

from __future__ import annotations

import re
import shutil
import subprocess

import click
import pytest

from moco_tui.cli import cli
from moco_tui.cli.command_table import COMMANDS, listed_commands, load_command

from .make_man_pages import FOLDER, PROGRAM, made_with, pages

RENEW = "python tests/cli/make_man_pages.py writes them anew"


def commands() -> dict[str, click.Command]:
    """All that people call, by the words behind the program's name."""
    found: dict[str, click.Command] = {"": cli}
    for name in listed_commands():
        found[name] = command = load_command(name)
        if isinstance(command, click.Group):
            found |= {f"{name} {below}": part for below, part in command.commands.items()}
    return found


def file_name(words: str) -> str:
    return "-".join([PROGRAM, *words.split()]) + ".1"


def test_each_command_has_a_page_and_each_page_a_command() -> None:
    wanted = set(map(file_name, commands()))
    assert {path.name for path in FOLDER.iterdir()} == wanted, RENEW
    assert file_name("config set") in wanted
    overview = (FOLDER / f"{PROGRAM}.1").read_text()
    for name in COMMANDS:
        assert (f"{PROGRAM}-{name}(1)" in overview) is (name in listed_commands()), RENEW


def options(command: click.Command) -> set[str]:
    shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    return {word for option in shown for word in (*option.opts, *option.secondary_opts)}


def test_a_page_names_the_options_of_its_command_and_no_others() -> None:
    for words, command in commands().items():
        text = (FOLDER / file_name(words)).read_text()
        for escape, meant in (("\\-", "-"), ("\\fB", ""), ("\\fP", "")):
            text = text.replace(escape, meant)
        heads = re.findall(r"\.TP\n(.*)\n", text)
        said = {word for head in heads for word in re.findall(r"(?<![\w-])--?[a-z][\w-]*", head)}
        asks = command.context_settings.get("help_option_names", ["-h", "--help"])
        assert said == options(command) | set(asks), f"{words}: {RENEW}"


def test_the_pages_are_those_that_the_commands_give_today() -> None:
    made = pages()
    found = {path.name: path.read_text() for path in FOLDER.iterdir()}
    if not found[f"{PROGRAM}.1"].startswith(made_with()):
        pytest.skip("made with another click, which words options differently")
    stale = sorted(name for name in made if found.get(name) != made[name])
    assert stale == [], RENEW


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_man_finds_nothing_wrong_with_them() -> None:
    files = sorted(str(path) for path in FOLDER.iterdir())
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z", *files],
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Lines that cannot be filled evenly are no fault of a page.
    wrong = [
        line for line in done.stderr.splitlines() if "adjust" not in line and "break" not in line
    ]
    assert (done.returncode, wrong) == (0, [])
