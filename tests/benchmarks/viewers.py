"""Times the app beside other viewers of trainings in a terminal, on the same numbers, in one run.

The others are installed by hand, in an environment of their own:

    python -m venv /tmp/viewers && /tmp/viewers/bin/pip install wandb trackio-view
    python tests/benchmarks/viewers.py --leet "/tmp/viewers/bin/wandb leet" \\
        --trackio /tmp/viewers/bin/trackio-view
    python tests/benchmarks/viewers.py --steps 1000 --train-steps 500 --repeats 1      to try it

``wandb leet`` (wandb 0.31) reads an offline run, ``trackio-view`` (0.1.2, with trackio 0.43) the
database of a project; the app a run folder. Each draws in a pseudo-terminal of 160x45.
``wandb-tui`` is left out: it draws what a server has, and this needs no network.

Of each, in turns and as medians of the repeats (``--json``: all of them):

- first paint: from the start until the first screen says which run it shows;
- drawn: from the start until 242,500 steps of a loss are drawn whole. Of the app that has the table
  of runs on the way, in which Enter is pressed as soon as the run is listed;
- key to paint: from a key that changes the picture until the first byte that is painted for it;
- memory: of all of its processes, with these steps drawn; pages that other programs have as well
  are counted in part (PSS), so nothing else of Python should run;
- price for the trainer: steps a second of a loop in pure Python, which logs a loss and a learning
  rate at every step in the way of the viewer, while the viewer shows it. It is a share of the same
  loop without logger and viewer; the share with the logger alone tells the two apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import select
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.machine.processor import processor
from tests.benchmarks.app import (
    SIZE,
    STEPS,
    Session,
    app,
    environment,
    long_run,
    wandb_run,
)
from tests.benchmarks.report import keep, spread

PARTS = ("first-paint", "drawn", "keys", "price")
SETTLED_SECONDS = 3.0  # a picture that has not changed for so long is whole
_LOOP = """
import sys, time
def work():
    return sum(i * i for i in range(20_000))
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
for step in range(2, {steps} + 2):
    loss = 9 + work() % 97 / step
    {log}
print({steps} / (time.perf_counter() - start), flush=True)
{end}
"""


@dataclass
class Viewer:
    """A program that shows a training.

    Attributes:
        name: in the table.
        python: the Python that has its logger.
        begin, log, end: the code that logs in its way: before, at a step, at the end. ``FOLDER``
            stands for where it logs to.
        command: what shows a run, by the folder that was logged to.
        ready: whether a screen says which run it shows.
        drawn: whether so many steps are drawn; None: when the picture no longer changes.
        opens: the key that leads from the first screen to the picture; empty for none.
        keys: two keys that change the first screen, there and back.
        live: whether a screen shows a run that has just begun; None: as ``ready``.
        variables: more of the environment, by the folder.
    """

    name: str
    python: str
    begin: str
    log: str
    end: str
    command: Callable[[Path], list[str]]
    ready: Callable[[str], bool]
    keys: Sequence[bytes]
    drawn: Callable[[str, int], bool] | None = None
    opens: bytes = b""
    live: Callable[[str], bool] | None = None
    variables: Callable[[Path], dict[str, str]] = field(default=lambda folder: {})

    def environment(self, folder: Path) -> dict[str, str]:
        return environment() | self.variables(folder)

    def session(self, folder: Path) -> Session:
        return Session(self.command(folder), self.environment(folder))


@contextmanager
def opened(viewer: Viewer, folder: Path) -> Iterator[Session]:
    session = viewer.session(folder)
    try:
        yield session
    finally:
        session.close()


def the_app() -> Viewer:
    return Viewer(
        "moco-tui",
        sys.executable,
        begin=(
            "from pathlib import Path\n"
            "from engine.config.resolve import resolve\n"
            "from engine.config.schema import PretrainConfig\n"
            "from engine.runs import create, own\n"
            "from engine.sink import Plan\n"
            "folder = create(Path(FOLDER), 'pretrain', resolve(PretrainConfig), name='long')\n"
            "owner = own(folder).__enter__()\n"
            "owner.transition('running')\n"
            "owner.plan(Plan(total_steps=10**6, steps_per_epoch=97, pairs_per_step=512))\n"
            "owner.metrics(1, 1 / 97, {'train/loss': 17.0, 'train/lr': 0.06})"
        ),
        log="owner.metrics(step, step / 97, {'train/loss': loss, 'train/lr': 0.06})",
        end="owner.transition('finished')\nowner.__exit__(None, None, None)",
        command=app,
        ready=lambda text: "long" in text,
        drawn=lambda text, steps: (
            "Monitor" in text and f"{steps:,}" in text and bool(picture(text))
        ),
        opens=b"\r",
        keys=[b"\x1b[B", b"\x1b[A"],
    )


def wandb_leet(command: str, python: str) -> Viewer:
    leet = shlex.split(command)
    return Viewer(
        "wandb leet",
        python or str(Path(leet[0]).parent / "python"),
        begin=(
            "import wandb\n"
            "run = wandb.init(mode='offline', project='bench', dir=FOLDER)\n"
            "run.log({'train/loss': 17.0, 'train/lr': 0.06}, step=1)"
        ),
        log="run.log({'train/loss': loss, 'train/lr': 0.06}, step=step)",
        end="run.finish()",
        command=lambda folder: [*leet, str(next(folder.rglob("*.wandb")).parent)],
        ready=lambda text: "loss" in text,
        keys=[b"[", b"]"],
        live=lambda text: "Project: bench" in text,  # a step is written with the next
        # it remembers which side bars its keys have closed, and not in the folder of a run
        variables=lambda folder: {"WANDB_CONFIG_DIR": str(folder / ".config")},
    )


def trackio_view(command: str, python: str) -> Viewer:
    view = shlex.split(command)
    return Viewer(
        "trackio-view",
        python or str(Path(view[0]).parent / "python"),
        begin=(
            "import trackio\n"
            "trackio.init(project='bench', name='long')\n"
            # the names that it draws
            "trackio.log({'train_loss': 17.0, 'learning_rate': 0.06}, step=1)\n"
            # it looks for the database once, and another thread makes that
            "import os, pathlib, time\n"
            "while not pathlib.Path(os.environ['HF_HOME'], 'trackio', 'bench.db').exists():\n"
            "    time.sleep(0.05)"
        ),
        log="trackio.log({'train_loss': loss, 'learning_rate': 0.06}, step=step)",
        end="trackio.finish()",
        command=lambda folder: [*view, "--project", "bench", "--interval", "1"],
        ready=lambda text: "Iteration:" in text and "Press +/-" in text,
        drawn=lambda text, steps: f"Iteration: {steps}" in text and "Press +/-" in text,
        keys=[b"+", b"-"],
        live=lambda text: "TrackIO Dashboard - bench" in text,
        variables=lambda folder: {
            "HOME": str(folder),  # where it looks for the database
            "HF_HOME": str(folder / ".cache" / "huggingface"),
            "HF_HUB_OFFLINE": "1",
        },
    )


# ---------------------------------------------------------------------------- runs to show


def logged(viewer: Viewer, folder: Path, steps: int, *, runs: int = 1) -> None:
    """Log a curve of so many steps; for the app in so many runs, between which the keys move."""
    folder.mkdir(parents=True)
    if viewer.name == "moco-tui":
        for _ in range(runs):
            long_run(folder, steps)
    elif viewer.name == "wandb leet":
        wandb_run(folder, viewer.python, steps)
    else:
        code = (
            f"{viewer.begin}\nimport math\n"
            f"for step in range(2, {steps} + 1):\n"
            "    loss = 9 + 8 * math.exp(-step / 50_000) + (step * 7919 % 97) / 97\n"
            f"    {viewer.log}\n{viewer.end}\n"
        )
        subprocess.run(
            [viewer.python, "-c", code],
            check=True,
            capture_output=True,
            env=viewer.environment(folder),
        )


# ---------------------------------------------------------------------------- what is timed


def first_paint(viewer: Viewer, folder: Path) -> float:
    """Seconds."""
    with opened(viewer, folder) as session:
        return session.seconds_until(viewer.ready)


def drawn(viewer: Viewer, folder: Path, steps: int) -> tuple[float, float]:
    """Seconds until so many steps are drawn, and the MiB of the processes then."""
    with opened(viewer, folder) as session:
        if viewer.opens:
            session.seconds_until(viewer.ready)
            os.write(session.master, viewer.opens)
        is_drawn = viewer.drawn
        if is_drawn is None:
            seconds = _settled(session)
        else:
            seconds = session.seconds_until(lambda text: is_drawn(text, steps), 600)
        return seconds, memory(session.pid)


def _settled(session: Session, most: float = 600.0) -> float:
    """Seconds from the start until the picture changes no more."""
    last, before = session.began, ""
    while time.perf_counter() - session.began < most:
        session.pump(0.1)
        now = picture(session.text)
        if now != before:
            last, before = time.perf_counter(), now
        elif before and time.perf_counter() - last > SETTLED_SECONDS:
            break
    return last - session.began


def picture(text: str) -> str:
    """The Braille of the curves."""
    return "".join(letter for letter in text if 0x2800 < ord(letter) < 0x2900)


def memory(pid: int) -> float:
    """MiB of a process and those that it has started."""
    process, total = psutil.Process(pid), 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            found = each.memory_full_info()
            total += getattr(found, "pss", found.uss)
    return total / 2**20


def key_to_paint(viewer: Viewer, folder: Path, presses: int) -> float:
    """Milliseconds, the median."""
    with opened(viewer, folder) as session:
        session.seconds_until(viewer.ready)
        session.read_until_quiet()
        times = []
        for _ in range(presses):
            for key in viewer.keys:
                times.append(session.key(key))
                session.read_until_quiet(0.05)
        return statistics.median(times)


def rate(viewer: Viewer, folder: Path, steps: int, *, logs: bool, shows: bool) -> float:
    """Steps a second of the loop, with a logger and a viewer or without."""
    folder.mkdir(parents=True)
    begin = viewer.begin.replace("FOLDER", repr(str(folder))) if logs else ""
    loop = _LOOP.format(
        steps=steps, log=viewer.log if logs else "pass", end=viewer.end if logs else ""
    )
    with subprocess.Popen(
        [viewer.python, "-c", f"{begin}\n{loop}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=viewer.environment(folder),
    ) as trainer:
        assert trainer.stdin is not None
        assert trainer.stdout is not None
        _line(trainer, "ready")
        if not shows:
            return _go(trainer)
        with opened(viewer, folder) as session:
            session.seconds_until(viewer.live or viewer.ready)
            if viewer.opens:
                os.write(session.master, viewer.opens)
            session.read_until_quiet()
            trainer.stdin.write("\n")
            trainer.stdin.flush()
            return _rate(_output_beside(trainer, session))


def _output_beside(trainer: subprocess.Popen[str], session: Session) -> str:
    """What the loop prints at its end; meanwhile what the viewer paints is taken from it.

    As a terminal does, and without making a screen of it: that would take time from the loop.
    """
    assert trainer.stdout is not None
    told, text = trainer.stdout.fileno(), b""
    while b"\n" not in text:
        for ready in select.select([session.master, told], [], [])[0]:
            data = os.read(ready, 1 << 16)
            if ready == told:
                if not data:
                    raise SystemExit(f"{trainer.args!r} ended within its loop")
                text += data
    return text.decode()


def _go(trainer: subprocess.Popen[str]) -> float:
    out, _ = trainer.communicate("\n")
    return _rate(out)


def _rate(text: str) -> float:
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            return float(line)
    raise SystemExit(f"the loop gave no rate: {text!r}")


def _line(trainer: subprocess.Popen[str], wanted: str) -> None:
    """Read until a line; loggers print others before it."""
    assert trainer.stdout is not None
    while (line := trainer.stdout.readline()).strip() != wanted:
        if not line:
            raise SystemExit(f"{trainer.args!r} ended before its loop")


# ---------------------------------------------------------------------------- the command


def result(figures: dict[str, dict[str, list[float]]], repeats: int) -> dict[str, Any]:
    """The figures as the report keeps them: a row for each thing, a column for each viewer."""
    names = list(dict.fromkeys(name for found in figures.values() for name in found))
    keys = {name: re.sub(r"\W", "_", name) for name in names}
    cell = "{%s:.3g} ({%s_low:.3g} - {%s_high:.3g})"
    values: list[dict[str, Any]] = []
    for what, found in figures.items():
        values.append({"what": what})
        for name, measured in found.items():
            values[-1] |= spread(keys[name], measured)
    return {
        "command": ["python tests/benchmarks/viewers.py"],
        "hardware": f"{os.cpu_count()} cores, {processor()[0]}",
        "torch": "",
        "date": datetime.now(UTC).date().isoformat(),
        "repeats": f"medians of {repeats} in turns, least and most; {SIZE[0]}x{SIZE[1]} cells",
        "columns": [
            {"title": "", "cell": "{what}"},
            *({"title": name, "cell": cell % ((keys[name],) * 3)} for name in names),
        ],
        "values": values,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leet", help="command, such as '/tmp/viewers/bin/wandb leet'")
    parser.add_argument("--leet-python", default="", help="Python that has wandb; beside it")
    parser.add_argument("--trackio", help="command, such as /tmp/viewers/bin/trackio-view")
    parser.add_argument("--trackio-python", default="", help="Python that has trackio; beside it")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--presses", type=int, default=15)
    parser.add_argument("--train-steps", type=int, default=5000)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", metavar="NAME", help="as a result of the report (report.py)")
    options = parser.parse_args()
    wanted = options.only.split(",")
    viewers = [the_app()]
    viewers += [wandb_leet(options.leet, options.leet_python)] if options.leet else []
    viewers += [trackio_view(options.trackio, options.trackio_python)] if options.trackio else []
    figures: dict[str, dict[str, list[float]]] = {}

    def note(what: str, viewer: Viewer, value: float) -> None:
        figures.setdefault(what, {}).setdefault(viewer.name, []).append(value)
        print(f"  {what}, {viewer.name}: {value:.4g}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for viewer in viewers:
            logged(viewer, place / viewer.name / "few", 100, runs=6)
            if "drawn" in wanted:
                logged(viewer, place / viewer.name / "long", options.steps)
        for repeat in range(options.repeats):
            # In the other order each time: a machine that slows down favours what comes first.
            for viewer in viewers if repeat % 2 == 0 else viewers[::-1]:
                few, long = (place / viewer.name / kind for kind in ("few", "long"))
                if "first-paint" in wanted:
                    note("first paint, s", viewer, first_paint(viewer, few))
                if "drawn" in wanted:
                    seconds, used = drawn(viewer, long, options.steps)
                    note(f"{options.steps:,} steps drawn, s", viewer, seconds)
                    note("memory then, MiB", viewer, used)
                if "keys" in wanted:
                    spent = key_to_paint(viewer, few, options.presses)
                    note("key to paint, ms", viewer, spent)
                if "price" in wanted:
                    _price(viewer, place / f"price-{repeat}", options.train_steps, note)
    if options.keep:
        keep(options.keep, result(figures, options.repeats))
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "figures": figures}, indent=2))
        return
    print(f"{os.cpu_count()} cores, {SIZE[0]}x{SIZE[1]} cells, medians of {options.repeats}")
    print(f"{'':<44}" + "".join(f"{viewer.name:>16}" for viewer in viewers))
    for what, found in figures.items():
        print(f"{what:<44}" + "".join(_cell(found.get(v.name, [])) for v in viewers))


def _price(
    viewer: Viewer, place: Path, steps: int, note: Callable[[str, Viewer, float], None]
) -> None:
    bare = rate(viewer, place / viewer.name / "bare", steps, logs=False, shows=False)
    alone = rate(viewer, place / viewer.name / "alone", steps, logs=True, shows=False)
    both = rate(viewer, place / viewer.name / "both", steps, logs=True, shows=True)
    note("steps/s with the logger, of those without", viewer, alone / bare)
    note("steps/s with logger and viewer, likewise", viewer, both / bare)


def _cell(values: Sequence[float]) -> str:
    return f"{statistics.median(values):>16.4g}" if values else f"{'-':>16}"


if __name__ == "__main__":
    main()
