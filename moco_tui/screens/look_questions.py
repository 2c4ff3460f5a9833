"""What the screen of a look asks: which encoders, and where its files go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from engine.errors import UserError
from engine.runs.checkpoint_ref import find_checkpoint, with_checkpoint
from engine.runs.encoder_look import MOST_ENCODERS, Look, LookRequest
from engine.runs.kept_checkpoints import checkpoint_file
from moco_tui.present.look_files import check_target, files_of, write_files
from moco_tui.present.look_text import tables
from moco_tui.present.map_svg import PlaneMap, pca_map
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.dialogs import Ask


def ask_for_encoders(
    screen: BaseScreen, request: LookRequest, take: Callable[[LookRequest], None]
) -> None:
    """Ask for other runs or checkpoints.

    Args:
        screen: asks, and says what cannot be.
        request: what is shown now.
        take: called with what is to be shown.
    """

    def answered(text: str | None) -> None:
        refs = (text or "").split()
        if not refs:
            return
        try:
            meant = [find_checkpoint(screen.session.root, ref) for ref in refs]
            for one in meant:
                checkpoint_file(one.folder, one.which)
        except UserError as error:
            screen.say(str(error), severity="error")
            return
        encoders = tuple(dict.fromkeys((one.folder.id, one.which) for one in meant))
        if len(encoders) * (1 + request.untrained) > MOST_ENCODERS:
            screen.say("Four encoders at most stand side by side.", severity="warning")
            return
        take(replace(request, encoders=encoders))

    refs = " ".join(with_checkpoint(*pair) for pair in request.encoders)
    question = "Look at which encoders? Runs, each with @EPOCH, @best or @last behind it"
    screen.app.push_screen(Ask(question, refs), answered)


def ask_and_export(screen: BaseScreen, found: Look, tsne: Mapping[str, PlaneMap]) -> None:
    """Ask for a new folder and write maps, neighbours, confusions and tables into it.

    Args:
        screen: asks, and reports the result.
        found: what is written.
        tsne: the t-SNE of encoders, by their label, as far as they were computed.
    """

    def answered(text: str | None) -> None:
        if not text or not text.strip():
            return
        maps = {view.label: [pca_map(view)] for view in found.encoders}
        for label, plane in tsne.items():
            maps[label].append(plane)
        try:
            folder = Path(text.strip()).expanduser().absolute()
            check_target(folder)
            write_files(folder, files_of(found, maps, tables(found)))
        except (UserError, RuntimeError) as error:  # ~ of an unknown user
            screen.say(str(error), severity="error")
        else:
            screen.say(f"Written into {folder}.")

    name = "look-" + found.encoders[0].label.replace("@", "-")
    screen.app.push_screen(Ask("Write the files into which new folder?", name), answered)
