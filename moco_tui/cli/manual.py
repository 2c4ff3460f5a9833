"""The command that prints the manual."""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem

from moco_tui.cli.options import shared_options
from moco_tui.cli.output import print_text, table, terminal_width
from moco_tui.present.manual_pages import PAGES, ManualPage, manual_page

WIDEST = 100
"""Columns of a page in a terminal; longer lines are hard to read."""


def _complete(
    ctx: click.Context,  # noqa: ARG001 - as click calls it
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    pages = [manual_page(name) for name in PAGES if name.startswith(incomplete)]
    return [CompletionItem(page.name, help=page.summary) for page in pages]


@click.command()
@click.argument("page", required=False, shell_complete=_complete)
@shared_options
def manual(page: str | None) -> None:
    """Read the manual: the list of its pages, or a PAGE.

    In a terminal a page is shown by $PAGER; elsewhere it is printed as Markdown. In the app F1
    opens the page of the screen.
    """
    if page is None:
        rows = [[name, manual_page(name).summary] for name in PAGES]
        print_text(table(["page", "what it is about"], rows))
        return
    found = manual_page(page.partition("#")[0].removesuffix(".md"))
    if sys.stdout.isatty():
        click.echo_via_pager(_drawn(found))
    else:
        print_text(found.text.rstrip("\n"))


def _drawn(page: ManualPage) -> str:
    """A page as rich draws Markdown, with the codes of its colours."""
    # Slow to import, and only here.
    from rich.console import Console
    from rich.markdown import Markdown

    width = min(terminal_width() or WIDEST, WIDEST)
    console = Console(width=width, highlight=False)
    with console.capture() as drawn:
        # Links are written out: a pager opens none.
        console.print(Markdown(page.text, hyperlinks=False, code_theme="ansi_dark"))
    return drawn.get()
