"""Writes the manual pages in ``moco_tui/man``, one a command, from the commands' own help.

    python tests/cli/make_man_pages.py

After a change of a command, an option or the version. The text is click's; click-man puts it into
the form of man(7). What a page names is compared with the commands by ``test_man_pages.py``.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import click
from click_man.man import ManPage

from moco_tui import __version__
from moco_tui.cli import cli
from moco_tui.cli.command_table import COMMANDS, listed_commands, load_command

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "moco_tui" / "man"
PROGRAM = "moco-tui"


def pages() -> dict[str, str]:
    """The text of every page, by file name."""
    root = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    made = {f"{PROGRAM}.1": _page(root, "MoCo pretraining and probes in a terminal app")}
    for name in listed_commands():
        made |= _pages_of(name, load_command(name), root)
    return made


def _pages_of(name: str, command: click.Command, parent: click.Context) -> dict[str, str]:
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    title = _text(command.help or "").partition("\n")[0].partition(". ")[0].rstrip(".")
    made = {context.command_path.replace(" ", "-") + ".1": _page(context, title)}
    for below, part in _parts(command).items():
        made |= _pages_of(below, part, context)
    return made


def _parts(command: click.Command) -> dict[str, click.Command]:
    """The commands below a command, such as ``config set``."""
    found = command.commands if isinstance(command, click.Group) and command is not cli else {}
    return {name: part for name, part in found.items() if not part.hidden}


def made_with() -> str:
    """The comment in the first line of a page: the wording of options is that of one click."""
    return f'.\\" Made by tests/cli/make_man_pages.py with click {version("click")}.\n'


def _page(context: click.Context, title: str) -> str:
    command = context.command
    page = ManPage(context.command_path)
    page.version, page.date = f"{PROGRAM} {__version__}", _released()
    page.short_help = title
    page.synopsis = " ".join(command.collect_usage_pieces(context))
    page.description = _text(command.help or "")
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    records = filter(None, (option.get_help_record(context) for option in options))
    page.options = [(names, _text(said)) for names, said in records]
    page.commands = [
        (name, _text(part.help or "").partition("\n")[0]) for name, part in _parts(command).items()
    ]
    if command is cli:
        page.commands = [(name, _text(COMMANDS[name].help)) for name in listed_commands()]
    else:
        page.description += f"\n\nThe options before the command are those of {PROGRAM}(1)."
    return made_with() + str(page)


def _text(words: str) -> str:
    """A text of paragraphs as man reads it: nothing in it is a request or an escape."""
    paragraphs = re.split(r"\n\s*\n", words.strip())
    lines = (" ".join(paragraph.split()) for paragraph in paragraphs)
    plain = (line.replace("\\", "\\e").replace("--", "\\-\\-") for line in lines)
    return "\n\n".join("\\&" + line if line[:1] in (".", "'") else line for line in plain)


def _released() -> str:
    """The day of this version, by the change log."""
    log = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## \[{re.escape(__version__)}\] - (\d{{4}}-\d\d-\d\d)$", log, re.M)
    if found is None:
        raise SystemExit(f"CHANGELOG.md has no section with a day for {__version__}.")
    return found[1]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.1"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{len(made)} pages in {FOLDER}")


if __name__ == "__main__":
    main()
