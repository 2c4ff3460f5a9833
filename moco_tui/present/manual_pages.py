"""The manual: Markdown pages inside the package, for the command and the screen alike."""

from __future__ import annotations

import difflib
import functools
import re
from importlib import resources

from msgspec import Struct

from engine.config.phrases import listed
from engine.errors import UserError

PAGES = (
    "first-run",
    "form",
    "settings",
    "presets",
    "runs",
    "monitor",
    "metrics",
    "probes",
    "studies",
    "look",
    "machines",
    "exchange",
    "python",
    "config",
    "remote",
    "trouble",
    "method",
    "commands",
    "keys",
)
"""The names of the pages, in the order in which they are listed."""
FIRST = PAGES[0]

_COMMENT = re.compile(r"^<!--.*?-->\n+", re.MULTILINE | re.DOTALL)
_WORDS = re.compile(r"[^\w\s-]")


class ManualPage(Struct, frozen=True):
    """A page of the manual.

    Attributes:
        name: what ``moco-tui manual`` takes.
        title: its heading.
        summary: the sentence under the heading.
        text: all of it, as Markdown.
    """

    name: str
    title: str
    summary: str
    text: str


@functools.cache
def manual_page(name: str) -> ManualPage:
    """A page by its name.

    Raises:
        UserError: when there is none; with the nearest names.
    """
    if name not in PAGES:
        raise UserError(f"The manual has no page {name!r}; {_hint(name)}")
    file = resources.files("moco_tui").joinpath("manual", f"{name}.md")
    # The comments mark what is made from the code: they are for whoever changes a page.
    text = _COMMENT.sub("", file.read_text(encoding="utf-8") + "\n").rstrip("\n") + "\n"
    heading, _, rest = text.partition("\n")
    summary = " ".join(rest.strip().partition("\n\n")[0].split())
    return ManualPage(name, heading.removeprefix("# "), summary, text)


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, PAGES, n=3, cutoff=0.5)
    if near:
        return f"did you mean {listed(near, 'or')}?"
    return "moco-tui manual lists the pages."


def anchors(text: str) -> dict[str, str]:
    """What a link to a part of a page may name behind its ``#``, and the heading of each.

    Made as GitHub makes them, so that a link works there, too.

    Args:
        text: of a page.
    """
    fenced = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", fenced, flags=re.MULTILINE)
    plain = [heading.replace("`", "").strip() for heading in headings]
    return {_WORDS.sub("", found.lower()).replace(" ", "-"): found for found in plain}


def split_link(href: str, page: str) -> tuple[str, str] | None:
    """The page and the anchor that a link means; None for one that leads out of the manual.

    Args:
        href: as it stands in a page: ``runs.md``, ``runs.md#filters`` or ``#filters``.
        page: where it stands.
    """
    place, _, anchor = href.partition("#")
    name = place.removesuffix(".md") if place else page
    return (name, anchor) if name in PAGES and place in ("", f"{name}.md") else None
