"""Records ``tests/app/pictures/tour.svg``: the app, from the first screen to a comparison.

    python tests/app/make_tour.py                          # on the embedded images
    python tests/app/make_tour.py --data folder:~/cifar10  # as the picture was made

Five minutes on two quiet cores. The app runs in a pseudo-terminal and is used with keys, as by a
person; what it shows are real runs, in a folder that is thrown away. A pretraining is made first by
the command, so that there is something to compare with; a second one is configured, trained and
probed on the screen. Every screen is shown as it was, with less time between than there was.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.app.moving_picture import Screen, cells, moving_picture
from tests.pseudo_terminal import Terminal, app_command, environment

PLACE = Path(__file__).resolve().parent / "pictures" / "tour.svg"
SIZE = (100, 30)
LARGEST = 1 << 20
FIRST, NAME, QUEUE = "queue-4096", "queue-512", "512"
UP, DOWN, F2, START, ESCAPE = "\x1b[A", "\x1b[B", "\x1bOQ", "\x13", "\x1b"
SECONDS = 900.0
"""How long one step of the session may take."""


class Recorder:
    """A terminal whose screens are kept, each with the time that it is to be shown.

    Args:
        terminal: what is recorded.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.screens: list[Screen] = []
        self.caption = ""

    def keep(self, seconds: float) -> None:
        """Keeps what is shown now; the same as before is shown longer."""
        shown = cells(self.terminal.screen)
        if self.screens:
            last = self.screens[-1]
            if (last.rows, last.caption) == (shown, self.caption):
                self.screens.pop()
                seconds += last.seconds
        self.screens.append(Screen(shown, self.caption, seconds))

    def until(self, words: str, caption: str, *, seconds: float = 0) -> None:
        """Waits until words stand on the screen and it rests, and keeps it."""
        self.terminal.until(lambda text: words in text, SECONDS)
        self.caption = caption
        self.rest()
        if seconds:
            self.keep(seconds)

    def rest(self) -> None:
        """Waits until the screen shows the same for a second."""
        before = ""
        while before != self.terminal.text:
            before = self.terminal.text
            self.terminal.spend(1.0)

    def press(self, key: str, changes: bool = True) -> None:
        """Types a key, and waits until the screen has changed and rests."""
        before = cells(self.terminal.screen)
        self.terminal.send(key.encode())
        if changes:
            self.terminal.until(lambda _: cells(self.terminal.screen) != before, SECONDS)
        self.rest()

    def type(self, text: str) -> None:
        """Types into a field, letter by letter; three screens of it are kept."""
        for i, letter in enumerate(text):
            self.press(letter)
            if i % 3 == 2 or i == len(text) - 1:
                self.keep(0.2)

    def go(self, arrow: str, words: str) -> None:
        """Presses an arrow until the last lines, which tell of the field in focus, say this."""
        while words not in "".join(self.terminal.screen.display[-4:]):
            self.press(arrow)
            self.keep(0.12)

    def go_to(self, name: str) -> None:
        """Moves the cursor of the list to a run: its row is the one with another background."""
        for _ in range(20):
            rows = cells(self.terminal.screen)[2:20]
            backs = [row[1].back for row in rows]
            at = next(y for y, back in enumerate(backs) if back != backs[-1])
            wanted = next(y for y, row in enumerate(rows) if name in "".join(c.text for c in row))
            if at == wanted:
                return
            self.press(DOWN if at < wanted else UP)
        raise LookupError(name)

    def follow(self, ended: str, *, every: float, seconds: float, most: int) -> None:
        """Keeps a screen every so many real seconds until words are shown; at most so many of them.

        Of more screens, evenly spread ones stay.
        """
        first = len(self.screens)
        while ended not in self.terminal.text:
            self.terminal.spend(every)
            self.keep(seconds)
        kept = self.screens[first:]
        step = max(1.0, len(kept) / most)
        chosen = [kept[int(i * step)] for i in range(min(most, len(kept)))]
        self.screens[first:] = [Screen(one.rows, one.caption, seconds) for one in chosen]


def tour(recorder: Recorder) -> None:
    """The session."""
    recorder.until(FIRST, "moco-tui: every run, whoever trains it", seconds=1.6)
    recorder.press("y")
    recorder.until("queue size", "y: a new run like this one", seconds=0.8)
    recorder.go(UP, "name  for people")
    recorder.type(NAME)
    recorder.go(DOWN, "moco.queue_size")
    recorder.caption = "every setting with its range; another queue size"
    recorder.press("\x15")  # Ctrl+U takes out what stands there
    recorder.type(QUEUE)
    recorder.keep(0.8)
    recorder.press(F2)
    recorder.until("preview", "F2: the augmentations, on images of the data")
    recorder.terminal.spend(4)
    recorder.rest()
    recorder.keep(1.6)
    recorder.press(F2)
    recorder.press(START)
    recorder.until("step", "Ctrl+S: it trains, and goes on if the connection is lost")
    recorder.terminal.until(lambda text: "epoch" in text, SECONDS)
    recorder.follow("epoch 5", every=1.5, seconds=0.25, most=8)
    recorder.press("2")
    recorder.caption = "the curves move while it trains"
    recorder.follow("finished", every=1.5, seconds=0.25, most=8)
    recorder.until("finished", recorder.caption, seconds=0.6)
    recorder.press("P")
    recorder.until("label", "P: probe the frozen encoder with 10 % of the labels", seconds=0.9)
    recorder.press(START)
    recorder.follow("finished", every=2.0, seconds=0.25, most=6)
    recorder.until("finished", "the accuracy stands beside its baselines", seconds=2.0)
    while FIRST not in recorder.terminal.text:
        recorder.press(ESCAPE)
    recorder.caption = "space, c: mark runs and compare them"
    recorder.keep(0.5)
    for name in (NAME, FIRST):
        recorder.go_to(name)
        recorder.press(" ")
        recorder.keep(0.4)
    recorder.press("c")
    recorder.rest()
    recorder.keep(2.2)


def pretrained(runs: Path, data: Path, source: str) -> None:
    """The first pretraining, by the command."""
    sets = ["data.limit=5000", "optim.epochs=10", "monitor.knn_every=1", "moco.queue_size=4096"]
    words = ["pretrain", "--preset", "quick", "--data", source, "--name", FIRST]
    command = [*app_command(runs, data), *words, *(w for s in sets for w in ("--set", s))]
    subprocess.run(command, check=True, env=environment())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="shapes", help="as moco-tui pretrain takes it")
    parser.add_argument(
        "--runs", type=Path, help="a folder with the first pretraining; it is copied"
    )
    parser.add_argument("--out", type=Path, default=PLACE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tour-") as name:
        runs, data = Path(name) / "runs", Path(name) / "data"
        if given.runs:
            shutil.copytree(given.runs, runs)
        else:
            runs.mkdir()
            pretrained(runs, data, given.data)
        own = environment(
            COLORTERM="truecolor",
            MOCO_TUI_CONFIG=str(Path(name) / "config.toml"),
            MOCO_TUI_PICTURES="blocks",
        )
        terminal = Terminal(app_command(runs, data), own, SIZE)
        recorder = Recorder(terminal)
        try:
            tour(recorder)
        finally:
            terminal.close()
    screens = recorder.screens
    # Where nothing moves: the monitor in the middle of the training.
    trained = [i for i, one in enumerate(screens) if "Ctrl+S" in one.caption]
    picture = moving_picture(screens, still=trained[len(trained) // 2], title="moco-tui")
    size = len(picture.encode())
    print(f"{len(screens)} screens, {sum(one.seconds for one in screens):.1f} s, {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"larger than {LARGEST:,} bytes: not written")
    given.out.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
