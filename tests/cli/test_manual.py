"""The manual in a terminal and in a pipe."""

from __future__ import annotations

import re
import subprocess
import sys

from moco_tui.present.manual_pages import PAGES, manual_page

from ..environment import with_packages
from ..pseudo_terminal import Terminal, environment
from .conftest import Call


def test_without_a_page_all_are_listed_with_a_line_each(call: Call) -> None:
    said = call("manual")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(PAGES)
    assert all(manual_page(name).summary in said.out for name in PAGES)


def test_a_page_is_plain_markdown_in_a_pipe(call: Call) -> None:
    for words in ("studies", "studies.md", "studies.md#axes"):
        said = call("manual", words)
        assert (said.code, said.out) == (0, manual_page("studies").text)


def test_an_unknown_page_is_one_sentence(call: Call) -> None:
    said = call("manual", "monitro")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        "moco-tui: The manual has no page 'monitro'; did you mean monitor?"
    ]


def test_pages_are_completed() -> None:
    asked = {"COMP_WORDS": "moco-tui manual st", "COMP_CWORD": "2"}
    variables = with_packages(_MOCO_TUI_COMPLETE="bash_complete", **asked)
    code = "from moco_tui.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["plain,studies"]


def test_in_a_terminal_a_page_is_drawn_and_goes_through_the_pager() -> None:
    terminal = Terminal(
        [sys.executable, "-m", "moco_tui", "manual", "runs"],
        environment(PAGER="cat -n", NO_COLOR=""),
        (100, 400),
    )
    try:
        shown = terminal.until(lambda text: "moco-tui trash --empty" in text)
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert "1\t" in shown or re.search(r"^ +1 ", shown, flags=re.M), "it went around the pager"
    assert "The list of runs" in shown
    assert "moco-tui runs --filter" in shown
    assert "```" not in shown
    assert "## Filters" not in shown, "that is Markdown as it is written"
