"""Sends random bytes to the app in a pseudo-terminal; none may end it but by a key that quits.

    python tests/survival/input_bytes.py [--seconds 120] [--seed 0]

Half of them are drawn from all 256, half are pieces of what terminals send: reports of the mouse
and of sizes, keys, answers, pastes. So every key is pressed too, in every screen that the keys
open, on a folder of finished and failed runs that the app may only look at. An app that a key has
ended is started again; it may have ended with exit code 0 alone. Now and then the terminal is
resized. In the end the app must still answer a key, or have left by one. Prints a line for each
start; exit code 0 when it held.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.app.conftest import some_runs
from tests.pseudo_terminal import Terminal, app_command, environment

PIECES = [
    *(b"\x1b", b"\x1b[", b"\x1bO", b"\x1b[<", b"\x1b[M", b"\x1b]", b"\x1bP", b"\x1b\\", b"\x07"),
    *(b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\r", b"\t", b"\x1b[Z", b"\x7f", b"\x1b[5~"),
    *(b"\x1b[200~", b"\x1b[201~", b"\x1b[I", b"\x1b[O", b"\xe9", b"\xff", b"\xf0\x9f\x98\x80"),
    *(
        b"\x1b[M \xa0\x30",
        b"\x1b[M#\xff\xff",
        b"\x1b[<0;10;10M",
        b"\x1b[<64;5;5M",
        b"\x1b[<35;1;9m",
    ),
    *(b"\x1b[<0;99999;99999M", b"\x1b[48;0;0;0;0t", b"\x1b[48;30;100;0;0t", b"\x1b[48;9;9;9;9t"),
    *(b"\x1b[99999999u", b"\x1b[97;5u", b"\x1b[97;1:3u", b"\x1b[?2026;2$y", b"\x1b[?2048;1$y"),
    *(
        b"\x1b[?62;c",
        b"\x1b]11;rgb:0/0/0\x07",
        b"\x1b[1;1R",
        b"\x1b[12;80R",
        b"0",
        b"9",
        b";",
        b":",
    ),
]


def some_bytes(chance: random.Random) -> bytes:
    """Up to some hundred bytes."""
    parts = (
        chance.choice(PIECES) if chance.random() < 0.5 else chance.randbytes(chance.randrange(1, 4))
        for _ in range(chance.randrange(1, 60))
    )
    # Not the one for SIGQUIT: it acts on a terminal that an app which leaves has just given back.
    return b"".join(parts).replace(b"\x1c", b"")


def trial(app: Terminal, chance: random.Random, end: float) -> tuple[int, int | None]:
    """Sends bytes until the app or the time ends; how many, and the exit code."""
    sent = 0
    app.until(lambda text: "large queue" in text)
    while time.monotonic() < end:
        data = some_bytes(chance)
        try:
            app.send(data)
        except OSError:
            break
        sent += len(data)
        if chance.random() < 0.05:
            app.resize(chance.randrange(1, 200), chance.randrange(1, 60))
        app.spend(chance.choice([0.0, 0.0, 0.02, 0.2]))
        if app.process.poll() is not None:
            break
    return sent, app.process.poll()


def main() -> int:
    """Starts the app again and again; 0 when it held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    end, broken, number = time.monotonic() + options.seconds, 0, 0
    with tempfile.TemporaryDirectory(prefix="moco-bytes-") as place:
        root = Path(place, "runs")
        some_runs(root)
        command = [*app_command(root, Path(place, "data")), "--read-only"]
        while time.monotonic() < end:
            seed = options.seed + number
            app = Terminal(command, environment(TMPDIR=place), (100, 30))
            sent, code = trial(app, random.Random(seed), end)
            if code is None:  # the time is over: it must still react
                app.resize(100, 30)
                app.send(b"\x1b[201~")
                before, until = app.text, time.monotonic() + 30
                while app.process.poll() is None and app.text == before:
                    app.keys("\x1b", "?")
                    if time.monotonic() > until:
                        break
                code = 0 if app.process.poll() in (None, 0) and app.text != before else 99
            held = code in (0, 130)  # 130 by Ctrl+C, in the same moment
            broken += not held
            print(f"seed {seed}: {sent} bytes, {'held' if held else f'BROKEN: {code}'}", flush=True)
            if not held:
                print(app.text)
                for report in Path(place).glob("moco-tui-error-*"):
                    print(report.read_text(encoding="utf-8"))
            app.close()
            number += 1
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
