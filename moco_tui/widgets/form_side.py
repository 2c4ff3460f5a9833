"""What stands beside the form: the augmentations on images, the size and cost, the command."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from engine.config.resolve import to_toml
from moco_tui.present import form_fields
from moco_tui.present import study_form as studyform
from moco_tui.present.augment_preview import Previewer
from moco_tui.present.form import FormState
from moco_tui.widgets.estimate_panel import EstimatePanel
from moco_tui.widgets.panel import Frame, ScrollFrame
from moco_tui.widgets.preview_panel import PreviewPanel
from moco_tui.widgets.shown_text import show_text


class FormSide(Vertical):
    """The panels beside the form, which a narrow screen shows in its place.

    Args:
        data_dir: where data sets and their caches live.
        root: the runs folder.
    """

    def __init__(self, data_dir: Path, root: Path) -> None:
        super().__init__(id="side")
        self._data_dir, self._root = data_dir, root

    def compose(self) -> ComposeResult:
        """Preview, size, estimate and text."""
        yield PreviewPanel(Previewer(self._data_dir), id="preview").add_class("side-part")
        with ScrollFrame("as a command", id="text", classes="side-part"):
            yield Static("", id="text-body", markup=False)
        with Frame("size", id="size", classes="side-part"):
            yield Static("", id="size-text", markup=False)
        yield EstimatePanel(self._data_dir, id="estimate", classes="side-part")

    @property
    def preview(self) -> PreviewPanel:
        """The augmentations on images."""
        return self.query_one(PreviewPanel)

    @property
    def estimate(self) -> EstimatePanel:
        """What the run costs."""
        return self.query_one(EstimatePanel)

    def show_size(self, size: studyform.StudySize | None) -> None:
        """Show how large a study is."""
        show_text(self.query_one("#size-text", Static), "\n".join(studyform.size_lines(size)))

    def show_preview(self, state: FormState, found: dict[str, str]) -> None:
        """Show the augmentations; while one of them is wrong, the last pictures stay."""
        if state.kind == "probe":
            self.preview.say("a probe sees the images as its head needs them")
            return
        settings = state.preview(found)
        if settings is not None:
            self.preview.show(*settings)

    def show_text(self, command: str, toml: str) -> None:
        """Show the run as a command and as TOML, where that is in sight."""
        if not self.query_one("#text").display:
            return
        text = Text(overflow="fold")
        text.append("The same run from the command line (F7 copies it):\n\n", style="bold")
        text.append(command + "\n\n")
        text.append("Its configuration as TOML (F8 copies it):\n\n", style="bold")
        text.append(toml or "something has to be put right first")
        show_text(self.query_one("#text-body", Static), text)

    def measure(self, state: FormState, found: dict[str, str], beside: str) -> None:
        """Measure a few steps in a process of its own; ``beside`` says what slows that."""
        if found:
            key = next(iter(found))
            self.estimate.say(f"First put {form_fields.label(key)} right: {found[key]}.")
        elif state.kind == "probe":
            self.estimate.say("An estimate is made for pretrainings; a probe takes minutes.")
        else:
            self.estimate.measure(to_toml(state.config()), state.kind, self._root, beside)
