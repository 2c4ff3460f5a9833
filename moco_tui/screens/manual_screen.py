"""The manual in the app: the page of the screen below, and from there every other one."""

from __future__ import annotations

from typing import NamedTuple

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from moco_tui.present.manual_pages import FIRST, PAGES, manual_page, split_link
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.screen_registry import page_of
from moco_tui.screens.steady_screen import SteadyList
from moco_tui.session import Session
from moco_tui.widgets.manual_viewer import ManualViewer
from moco_tui.widgets.panel import Frame

PANELS = ("page", "pages", "contents")


class _Place(NamedTuple):
    """A page, and the line of it that stood at the top."""

    name: str
    line: float


class ManualScreen(BaseScreen):
    """A page of the manual, its headings, and the list of all pages."""

    TITLE_TEXT = "Manual"
    HELP = """The page on the screen that you came from, which Up and Down scroll. The list of pages
and the headings of this one lie beside it; where the terminal is narrow their keys show them in its
place, and what is chosen there is shown. Escape goes back to the page before, and from the first
one to the screen. A click follows a link to another page; one that leads out of the manual is shown
and not opened."""
    BINDINGS = [
        Binding("1", "panel('page')", "The page"),
        Binding("2", "panel('pages')", "All pages"),
        Binding("3", "panel('contents')", "Headings of the page"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._page = ""
        self._before: list[_Place] = []

    def content(self) -> ComposeResult:
        """The list of pages beside the page."""
        with Horizontal(id="body"):
            with Frame("pages", key="2", id="pages-frame"):
                yield SteadyList(
                    *(Option(Text(manual_page(name).title, no_wrap=True)) for name in PAGES),
                    id="pages",
                )
            with Frame(key="1", id="page-frame"):
                yield ManualViewer(id="page")

    async def on_mount(self) -> None:
        """Show the page of the screen below."""
        stack = self.app.screen_stack
        below = stack[stack.index(self) - 1]
        name, _, anchor = (page_of(below) or FIRST).partition("#")
        self.action_panel("page")
        await self._show(name, anchor)

    @property
    def viewer(self) -> ManualViewer:
        """The page that is shown."""
        return self.query_one(ManualViewer)

    async def _show(self, name: str, anchor: str = "", line: float = 0) -> None:
        page = manual_page(name)
        self._page = name
        self.top.set(page.title, note=f"moco-tui manual {name}")
        self.query_one("#page-frame", Frame).title = page.title
        self.query_one("#pages", OptionList).highlighted = PAGES.index(name)
        await self.viewer.show_page(page.text, anchor, line)

    async def _go(self, name: str, anchor: str = "") -> None:
        """Show another page, or another part of this one; Escape comes back."""
        if name != self._page or anchor:
            self._before.append(_Place(self._page, self.viewer.scroll_y))
            await self._show(name, anchor)
        self.action_panel("page")

    # ---------------------------------------------------------------------------- what is chosen

    @on(OptionList.OptionSelected, "#pages")
    async def _page_chosen(self, chosen: OptionList.OptionSelected) -> None:
        await self._go(PAGES[chosen.option_index])

    @on(ManualViewer.HeadingChosen)
    def _heading_chosen(self) -> None:
        self.action_panel("page")

    @on(ManualViewer.Followed)
    async def _followed(self, link: ManualViewer.Followed) -> None:
        inside = split_link(link.href, self._page)
        if inside is None:
            self.say(f"{link.href} leads out of the manual; it is not opened.")
        else:
            await self._go(*inside)

    # ---------------------------------------------------------------------------- keys

    def action_panel(self, name: str) -> None:
        """Give the focus to a panel; a narrow screen shows it in place of the page."""
        for panel in PANELS:
            self.set_class(panel == name, f"-at-{panel}")
        focused = {"page": "Markdown", "pages": "#pages", "contents": "Tree"}[name]
        self.query_one(focused).focus(scroll_visible=False)

    async def action_back(self) -> None:  # type: ignore[override] # Textual awaits what it calls
        """Go back: to the page, to the page before, to the screen below."""
        if not self.has_class("-at-page"):
            self.action_panel("page")
        elif self._before:
            place = self._before.pop()
            await self._show(place.name, line=place.line)
        else:
            self.dismiss()
