"""What encoders make of images: a map, an image and its neighbours, confusions, in words."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from engine.errors import UserError
from engine.runs.checkpoint_ref import with_checkpoint
from engine.runs.encoder_look import MOST_ENCODERS, EncoderView, Look, LookRequest
from moco_tui.present import fmt, look_text
from moco_tui.present.map_svg import PlaneMap, pca_map, tsne_map
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.look_questions import ask_and_export, ask_for_encoders
from moco_tui.screens.next_steps import compare, probe
from moco_tui.screens.shared_keys import EXPORT, STEPS
from moco_tui.session import Session
from moco_tui.training.look_process import LookCancelled, LookProcess
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.confusion_grid import ConfusionGrid
from moco_tui.widgets.look_map import LookMap
from moco_tui.widgets.look_pictures import cell_shelf, image_lines, neighbour_shelves
from moco_tui.widgets.picture_shelves import PictureShelves
from moco_tui.widgets.shown_text import show_text
from moco_tui.widgets.text_panel import TextPanel

PANELS = ("map", "pictures", "confusion", "words")
"""Ids of the panels, in the order of their keys, 1 to 4."""
PROGRESS_SECONDS = 0.25


class LookScreen(BaseScreen):
    """Looks at encoders.

    Args:
        session: what all screens share.
        request: which encoders, and at which images.
    """

    TITLE_TEXT = "Look"
    HELP = """What encoders make of the same images, each left out of its own neighbours. 1 to 4
lead to the map, the image at its cursor with the nearest others, the confusion matrix, and all of
it in words. J shows a t-SNE in place of the principal components, V the next encoder, Z each
encoder before its training; j and k lead through the images, ! to the next one that its neighbours
take for another class; @ asks for other encoders or checkpoints."""
    BINDINGS = [
        Binding("1", "panel('map')", "Map", show=False),
        Binding("2", "panel('pictures')", "Image and neighbours", show=False),
        Binding("3", "panel('confusion')", "Confusions", show=False),
        Binding("4", "panel('words')", "In words", show=False),
        Binding("J", "tsne", "t-SNE or PCA"),
        Binding("V", "encoder", "Next view"),
        Binding("Z", "untrained", "Untrained beside it"),
        Binding("j", "image(1)", "Next image", show=False),
        Binding("k", "image(-1)", "Image before", show=False),
        Binding("exclamation_mark", "wrong", "Next wrong image", key_display="!"),
        Binding("at", "others", "Other encoders", key_display="@"),
        Binding("I", "part", "Test or withheld images", show=False),
        EXPORT,
        *STEPS,
    ]

    def __init__(self, session: Session, request: LookRequest) -> None:
        super().__init__(session)
        self.request = request
        self.found: Look | None = None
        self.image = 0
        self.encoder = 0
        self._panel = "map"
        self._wants_tsne = False
        self._tsne: dict[str, PlaneMap] = {}
        self._process: LookProcess | None = None  # computes a look
        self._mapping: LookProcess | None = None  # computes a t-SNE
        self._progress = ("starting", 0, 0)
        self._began = 0.0
        self._timer: Timer | None = None

    def content(self) -> ComposeResult:
        """What is being done, or the panels."""
        yield Static("", id="state", markup=False)
        with Container(id="look"):
            with Container(id="left"):
                yield LookMap(id="map")
                yield ConfusionGrid(id="confusion")
            with Container(id="right"):
                yield PictureShelves(id="pictures")
                yield TextPanel("in words", id="words")

    def on_mount(self) -> None:
        """Begin to compute."""
        for panel in PANELS:
            self.query_one(f"#{panel}").add_class("panel-of-look")
        self.query_one("#look").display = False
        self._timer = self.set_interval(PROGRESS_SECONDS, self._show_progress)
        self._compute()

    def on_unmount(self) -> None:
        """No process outlives the screen."""
        self._cancel()

    def _cancel(self) -> None:
        for process in (self._process, self._mapping):
            if process is not None:
                process.cancel()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the keys that have nothing to act on."""
        if action in ("back", "others", "new", "compare"):
            return True
        return self.found is not None and (action != "encoder" or len(self.found.encoders) > 1)

    # ---------------------------------------------------------------------------- computing

    def _compute(self) -> None:
        """Compute the look that is asked for; one that is being computed is given up."""
        self._cancel()
        self._mapping = None
        self._process = LookProcess(self.session.root, self.session.data_dir)
        self._progress, self._began = ("starting", 0, 0), time.monotonic()
        self._show_progress()
        work_behind(self, partial(self._look, self._process), group="look")

    async def _look(self, process: LookProcess) -> None:
        # A run that trains in this app keeps its card: a look is small enough for the processor.
        busy = self.session.runner.busy
        device = "cpu" if busy else self.session.device or self.request.device
        request = replace(self.request, device=device)
        try:
            found = await asyncio.to_thread(process.look, request, self._note_progress)
        except LookCancelled:
            return
        except UserError as error:
            if self.is_open and process is self._process:
                self._process = None
                self._failed(str(error))
            return
        if self.is_open and process is self._process:
            self._process = None
            self._take(found)

    def _note_progress(self, stage: str, done: int, total: int) -> None:
        self._progress = stage, done, total  # of a thread; the timer shows it

    def _show_progress(self) -> None:
        working = "computing" if self._process else "t-SNE" if self._mapping else ""
        if not working:
            return
        stage, done, total = self._progress
        of = f" {fmt.count(done)}/{fmt.count(total)}" if total > 1 else ""
        seconds = fmt.duration(round(time.monotonic() - self._began))
        note = f"{fmt.clean(stage)}{of} · {seconds}"
        self.top.set(self._subject(), note)
        if self._process is not None and self.found is None:
            text = f"{note}\n\nEscape gives up."
            if self.session.runner.busy:
                text += (
                    "\n\nA run trains in this app: the look is a process of its own on the "
                    "processor, which goes behind it."
                )
            show_text(self.query_one("#state", Static), text)

    def _failed(self, text: str) -> None:
        """Say why there is nothing new; what was found before stays."""
        self.top.set(self._subject(), "")
        if self.found is not None:
            self.say(text, severity="error")
            return
        words = f"{fmt.clean(text)}\n\nEscape leads back, @ asks for other encoders."
        show_text(self.query_one("#state", Static), words)

    def _take(self, found: Look) -> None:
        """Show a look."""
        first = self.found is None
        other_images = first or self.found.rows != found.rows  # type: ignore[union-attr]
        self.found, self._tsne = found, {}
        self.encoder = min(self.encoder, len(found.encoders) - 1)
        self.image = 0 if other_images else self.image
        self.query_one("#state").display = False
        self.query_one("#look").display = True
        self._show_all()
        self.refresh_bindings()
        if first:
            self.action_panel("map")
        self._map()

    # ---------------------------------------------------------------------------- showing

    def _subject(self) -> str:
        if self.found is None:
            return ", ".join(with_checkpoint(*pair) for pair in self.request.encoders)
        return look_text.images_text(self.found)

    @property
    def view(self) -> EncoderView:
        """The encoder whose map and confusions are shown."""
        assert self.found is not None
        return self.found.encoders[self.encoder]

    def _plane(self) -> PlaneMap:
        if self._wants_tsne and self.view.label in self._tsne:
            return self._tsne[self.view.label]
        return pca_map(self.view)

    def _show_all(self) -> None:
        found = self.found
        if found is None:
            return
        count = len(found.encoders)
        which = f" ({self.encoder + 1} of {count}, V)" if count > 1 else ""
        name = look_text.view_text(self.view)
        self.top.set(self._subject(), name + which)
        plane = self._plane()
        share = f" {fmt.percent(sum(self.view.explained), 0)}" if plane.kind == "PCA" else ""
        title = f"1 map · {plane.kind}{share} · {name}{which}"
        self.query_one(LookMap).show(found, self.view, plane, title)
        names = [look_text.name_of(found, n) for n in range(len(found.class_names))]
        title = f"3 taken for, % · {name}{which}"
        self.query_one(ConfusionGrid).show(names, self.view.confusion, title)
        self.query_one("#words", TextPanel).show(look_text.word_lines(found), "4 in words")
        self._show_image()

    def _show_image(self) -> None:
        """The image at the cursor, with what each encoder takes for its neighbours."""
        found = self.found
        if found is None:
            return
        self.query_one(LookMap).select(self.image)
        label = look_text.name_of(found, found.labels[self.image])
        self.query_one(PictureShelves).show(
            found.pictures,
            found.size,
            f"2 image {fmt.count(found.rows[self.image])} · {label}",
            neighbour_shelves(found, self.image),
            head=self.image,
            lines=image_lines(found, self.image),
        )

    def action_panel(self, panel: str) -> None:
        """Show and focus a panel."""
        if self.found is None:
            return
        self._panel = panel
        left = panel if panel in ("map", "confusion") else None
        for name in PANELS:
            widget = self.query_one(f"#{name}")
            widget.set_class(name == panel, "-shown")
            if left is not None:
                widget.set_class(name == left, "-left")
            if name == panel:
                for side in ("left", "right"):
                    self.query_one(f"#{side}").set_class(_holds(widget, side), "-shown")
        # Not ``focus``, which comes later: a key typed right behind it is meant for the panel.
        self.set_focus(self.query_one(f"#{panel}"))

    # ---------------------------------------------------------------------------- moving

    @on(LookMap.Moved)
    def _moved(self, message: LookMap.Moved) -> None:
        self.image = message.image
        self._show_image()

    @on(PictureShelves.Chosen)
    def _chosen(self, message: PictureShelves.Chosen) -> None:
        self.image = message.image
        self._show_image()

    @on(ConfusionGrid.Opened)
    def _cell_opened(self, message: ConfusionGrid.Opened) -> None:
        """List the images of a cell as pictures."""
        if self.found is None:
            return
        shelf = cell_shelf(self.found, self.view, message.truth, message.taken)
        if not shelf.tiles:
            self.say("No image stands in this cell.")
            return
        title = f"2 {self.query_one(ConfusionGrid).cell_text()}"
        pictures = self.query_one(PictureShelves)
        pictures.show(self.found.pictures, self.found.size, title, [shelf])
        self.action_panel("pictures")

    def action_image(self, step: int) -> None:
        """The next image of the look, or the one before."""
        if self.found is not None:
            self.image = (self.image + step) % len(self.found.rows)
            self._show_image()

    def action_wrong(self) -> None:
        """The next image for which the neighbours vote wrongly, by the encoder that is shown."""
        if self.found is None:
            return
        count, predicted = len(self.found.rows), self.view.predicted
        for step in range(1, count + 1):
            image = (self.image + step) % count
            if predicted[image] != self.found.labels[image]:
                self.image = image
                self._show_image()
                return
        self.say("No image is voted for wrongly.")

    def action_encoder(self) -> None:
        """The map and the confusions of the next encoder."""
        if self.found is None:
            return
        self.encoder = (self.encoder + 1) % len(self.found.encoders)
        self._show_all()
        self._map()

    # ---------------------------------------------------------------------------- asking

    def action_tsne(self) -> None:
        """A t-SNE in place of the principal components, or these again."""
        if self.found is None:
            return
        self._wants_tsne = not self._wants_tsne
        if self._mapping is not None:
            self._mapping.cancel()
            self._mapping = None
        self._show_all()
        self._map()

    def _map(self) -> None:
        """Compute the t-SNE of the encoder that is shown where it is wanted, and not known yet."""
        if not self._wants_tsne or self.view.label in self._tsne or self._mapping is not None:
            return
        self._mapping = LookProcess(self.session.root, self.session.data_dir)
        self._progress, self._began = ("t-SNE", 0, 0), time.monotonic()
        self._show_progress()
        work_behind(self, partial(self._compute_map, self._mapping, self.view), group="map")

    async def _compute_map(self, process: LookProcess, view: EncoderView) -> None:
        assert self.found is not None
        count = len(self.found.rows)
        ignore = lambda *_: None  # noqa: E731 - it tells nothing but that it has begun
        try:
            points = await asyncio.to_thread(process.tsne, view.components, count, ignore)
        except LookCancelled:
            return
        except UserError as error:
            if self.is_open and process is self._mapping:
                self._mapping, self._wants_tsne = None, False
                self.say(str(error), severity="warning")
                self._show_all()
            return
        if not self.is_open or process is not self._mapping:
            return
        self._mapping = None
        self._tsne[view.label] = tsne_map(points)
        self._show_all()
        self._map()  # another encoder may be shown by now

    def action_untrained(self) -> None:
        """Each encoder beside itself before its training, or alone again."""
        untrained = not self.request.untrained
        if untrained and 2 * len(self.request.encoders) > MOST_ENCODERS:
            self.say("Four encoders at most stand side by side; @ asks for fewer.")
            return
        self._look_at(replace(self.request, untrained=untrained))

    def action_part(self) -> None:
        """The withheld training images in place of the test images, or these again."""
        if self.found is not None:
            other = "withheld" if self.found.part == "test" else "test"
            self._look_at(replace(self.request, part=other))

    def action_others(self) -> None:
        """Ask for other encoders or checkpoints."""
        ask_for_encoders(self, self.request, self._look_at)

    def _look_at(self, request: LookRequest) -> None:
        self.request = request
        self._compute()

    def action_compare(self) -> None:
        """Compare the runs whose encoders are shown; of one, ask which others."""
        compare(self, [run for run, _ in self.request.encoders])

    def action_probe(self) -> None:
        """Configure a probe of the encoder that is shown."""
        probe(self, self.view.label.partition(" ")[0])  # it may be the untrained one

    def action_export(self) -> None:
        """Write maps, neighbours and confusions into a new folder."""
        if self.found is not None:
            ask_and_export(self, self.found, self._tsne)


def _holds(widget: Widget, side: str) -> bool:
    return widget.parent is not None and widget.parent.id == side
