"""Pictures of screens with real runs, such as those in ``tests/app/pictures``.

    python tests/app/real_pictures.py RUNS OUT.svg [--run ID] [--keys KEY ...] [--size 160x45]

opens the list of runs of a folder, or a run or study of it, presses keys as Textual names them,
waits until the screen has rested, and writes what it shows. Nothing in the folder is changed, but
with ``--writable`` by keys that change something; the form and Look need that.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path

from moco_tui.app import MocoApp
from moco_tui.session import Session

REST_SECONDS = 2.0


async def picture(
    runs: Path,
    data_dir: Path,
    run: str,
    keys: list[str],
    size: tuple[int, int],
    seconds: float,
    *,
    writable: bool = False,
) -> str:
    """The screen as SVG.

    Args:
        runs: the folder of the runs.
        data_dir: where data sets and caches lie.
        run: the id of what is opened; empty: the list.
        keys: pressed one after the other, each once the screen has rested.
        size: columns and lines.
        seconds: how long the screen rests.
        writable: whether keys may change something.
    """
    app = MocoApp(Session(runs, data_dir=data_dir, read_only=not writable))
    async with app.run_test(size=size) as pilot:
        await pilot.pause(seconds)
        if run:
            app.open_run(run)
            await pilot.pause(seconds)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(seconds)
        picture = app.export_screenshot(title="moco-tui")
    # Rich names the classes of each picture anew; a picture made again is to be the same.
    return re.sub(r"terminal-\d+-", "terminal-1-", picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", default="")
    parser.add_argument("--keys", nargs="*", default=[])
    parser.add_argument("--size", default="160x45")
    parser.add_argument("--seconds", type=float, default=REST_SECONDS)
    parser.add_argument("--writable", action="store_true")
    parser.add_argument("--data-dir", type=Path, default=Path.home() / ".cache/moco-tui")
    given = parser.parse_args()
    columns, _, lines = given.size.partition("x")
    size = (int(columns), int(lines))
    made = asyncio.run(
        picture(
            given.runs,
            given.data_dir,
            given.run,
            given.keys,
            size,
            given.seconds,
            writable=given.writable,
        )
    )
    given.out.write_text(made)


if __name__ == "__main__":
    main()
