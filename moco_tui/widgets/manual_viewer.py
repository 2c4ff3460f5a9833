"""A page of the manual with its table of contents, in Textual's viewer of Markdown."""

from __future__ import annotations

from pathlib import PurePath

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.widgets import Markdown, MarkdownViewer, Tree
from textual.widgets.markdown import MarkdownTableOfContents, TableOfContentsType

from moco_tui.widgets.after_layout import after_layout
from moco_tui.widgets.named_keys import NamedKeys


class ManualContents(MarkdownTableOfContents):
    """The headings below the title, indented by their level."""

    def rebuild_table_of_contents(self, table_of_contents: TableOfContentsType) -> None:
        """Show the headings of another page."""
        tree = self.query_one(Tree)
        tree.show_guides = False
        tree.clear()
        for level, heading, block_id in table_of_contents:
            if level > 1 and block_id is not None:
                label = Text("  " * (level - 2) + heading, no_wrap=True)
                tree.root.add_leaf(label, {"block_id": block_id})


class ManualViewer(NamedKeys, MarkdownViewer):
    """Shows a page; of a link that is followed it says what it leads to, and opens nothing."""

    BINDINGS = [
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("up,k", "scroll_up", "Up", show=False),
    ]

    class Followed(Message):
        """A link was followed.

        Attributes:
            href: as it stands in the page.
        """

        def __init__(self, href: str) -> None:
            super().__init__()
            self.href = href

    class HeadingChosen(Message):
        """A heading was chosen, and the page is scrolled to it."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, open_links=False)

    def compose(self) -> ComposeResult:
        """The page, which the keys scroll, and its headings."""
        page = Markdown(open_links=False)
        page.can_focus = True
        yield page
        yield ManualContents(page)

    async def go(self, location: str | PurePath) -> None:
        """Called for a link: the screen decides what becomes of it."""
        self.post_message(self.Followed(str(location)))

    @on(Markdown.TableOfContentsSelected)
    def _heading_chosen(self) -> None:
        self.post_message(self.HeadingChosen())  # the viewer stops the other one

    async def show_page(self, text: str, anchor: str = "", at: float = 0) -> None:
        """Show a page.

        Args:
            text: Markdown.
            anchor: of the heading that stands at the top then; empty for none.
            at: line that stands at the top where there is no anchor.
        """
        await self.document.update(text)

        def scroll() -> None:
            if not (anchor and self.document.goto_anchor(anchor)):
                self.scroll_to(y=at, animate=False)

        after_layout(self, scroll)
