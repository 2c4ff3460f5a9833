"""Sets the clock again and again under studies that are killed, and compares what they measure.

    python tests/survival/clock.py [--kills 40] [--seed N] [--small]

A real study of 800 drawn shapes runs undisturbed. Then others run while the clock of their
processes jumps by up to ten years, both ways, several times a second; that of the file system does
not. They are killed at random moments, asked to stop, or both, and resumed until they are finished.
Every number must be that of the undisturbed study, no run may be made twice, no stop may end a
later resume, ``latest`` must be the run that was made last, and a further study must compute
nothing. Prints one line; the exit code is 0 when every check passed.

The clock is set by a library that is compiled with cc and loaded before all others. Without a
compiler, and with ``--small``, ``time.time`` and ``time.time_ns`` are replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
# Before torch is imported. A forked child cannot use OpenMP's threads of its parent.
os.environ["OMP_NUM_THREADS"] = "1"

OFFSET_FILE = "MOCO_TUI_TEST_CLOCK"
"""Variable of the environment with a file: the offset in seconds, a signed number of 64 bits."""
HOUR, YEAR = 3600, 31_557_600

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile long long *offset;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MOCO_TUI_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd >= 0) {
        void *found = mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
        if (found != MAP_FAILED) offset = found;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (!code && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return code;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec found;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (out) *out = found.tv_sec;
    return found.tv_sec;
}
"""

# --------------------------------------------------------------------------------------------
# The clock


class JumpingClock:
    """Sets the clock of this process and of those that it starts, from a thread of its own.

    Args:
        path: file that holds the offset.
        seed: of the jumps.
    """

    def __init__(self, path: Path, seed: int) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)
        self._rng = random.Random(seed)
        self._over = threading.Event()
        self.jumps = 0

    @property
    def offset(self) -> int:
        """Seconds by which the clock is ahead."""
        return int(struct.unpack("q", self._memory[:8])[0])

    def set(self, seconds: int) -> None:
        """Set the clock."""
        self._memory[:8] = struct.pack("q", seconds)

    @contextlib.contextmanager
    def jumping(self) -> Iterator[None]:
        """Set it several times a second in this context."""
        self._over.clear()
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self.set(0)

    def _work(self) -> None:
        while not self._over.wait(self._rng.uniform(0.02, 0.4)):
            far = self._rng.randint(-10 * YEAR, 10 * YEAR)
            near = self._rng.randint(-HOUR, HOUR)
            self.set(self._rng.choice([far, near, 10 * YEAR, -10 * YEAR, HOUR, -HOUR, 0]))
            self.jumps += 1


def begin_again_under_the_shim(work: Path) -> None:
    """Compiles the library and runs this script anew with it; returns where that cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return
    source, library, offset = work / "clock.c", work / "clock.so", work / "offset"
    source.write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    if subprocess.run(command, capture_output=True).returncode:
        return
    offset.write_bytes(bytes(8))
    environment = {**os.environ, "LD_PRELOAD": str(library), OFFSET_FILE: str(offset)}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def patched_clock(work: Path, seed: int) -> JumpingClock:
    """Replaces the clock of Python; to be called before any module of the engine is imported."""
    offset = work / "offset"
    offset.write_bytes(bytes(8))
    clock = JumpingClock(offset, seed)
    seconds, nanoseconds = time.time, time.time_ns
    time.time = lambda: seconds() + clock.offset
    time.time_ns = lambda: nanoseconds() + clock.offset * 10**9
    return clock


# --------------------------------------------------------------------------------------------
# The studies


def configuration(*, small: bool) -> Any:
    """A study of seconds: its images are drawn, its encoders are tiny."""
    from engine.config.resolve import build
    from engine.config.schema import StudyConfig

    return build(
        StudyConfig,
        {
            "queue_sizes": [64] if small else [64, 128],
            "seeds": [0],
            "label_fractions": [0.5] if small else [0.5, 1.0],
            "tasks": ["ten"],
            "heads": ["logistic"],
            "subset_seeds": [0],
            "baselines": ["pixels"] if small else ["random-init", "pixels"],
            "pretrain.data.source": "shapes",
            "pretrain.model.dim": 8,
            "pretrain.model.bn_splits": 2,
            "pretrain.optim.batch_size": 50,
            "pretrain.optim.epochs": 2 if small else 6,
            "pretrain.monitor.knn_every": 0,
            "pretrain.log.checkpoint_seconds": 1,
            "pretrain.runtime.device": "cpu",
            "pretrain.runtime.threads": 1,
            "probe.runtime.device": "cpu",
            "probe.runtime.threads": 1,
            "probe.logistic.l2": [0.01, 0.1],
        },
    )


def start(study: Any, data_dir: Path) -> int:
    """Computes a study in a forked process, which shares the imports of this one; its pid."""
    from engine.jobs.execute import execute

    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        execute(study, data_dir=data_dir)
        code = 0
    finally:
        os._exit(code)


def ended(pid: int, timeout: float) -> int | None:
    """Exit code of a process, negative for a signal; None while it goes on for so many seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.01)


def table(root: Path, config: Any) -> list[tuple[Any, ...]]:
    """Every number of a study, without the ids of its runs."""
    from engine.history.history import History
    from engine.study.study_state import state_from_history

    cells = state_from_history(config, History(root)).cells
    return [
        (cell, found.state, found.top1, found.balanced, found.encoder_step)
        for cell, found in cells.items()
    ]


def kinds(root: Path) -> dict[str, int]:
    """How many runs of each kind there are beside the studies."""
    from engine.history.history import History

    found: dict[str, int] = {}
    for entry in History(root).list():
        assert entry.status not in ("damaged", "unreadable"), entry
        if entry.kind != "study":
            found[entry.kind] = found.get(entry.kind, 0) + 1
    return found


def newest_is_latest(root: Path, study: Any) -> None:
    """A run that was made a moment ago is the one that ``latest`` means."""
    from engine.runs import find

    assert find(root, "latest") == study, "latest is another run"


class Tried:
    """What was done to the studies."""

    def __init__(self) -> None:
        self.kills = self.stops = self.stale = self.studies = 0


def disturbed(
    root: Path, config: Any, data_dir: Path, seconds: float, rng: random.Random, tried: Tried
) -> None:
    """One study that is killed and stopped until it is finished.

    Args:
        root: folder of its runs.
        config: the study.
        data_dir: of the images.
        seconds: that an undisturbed one takes.
        rng: decides what happens when.
        tried: counts it.
    """
    from engine.errors import RunError
    from engine.runs import create

    study = create(root, "study", config)
    newest_is_latest(root, study)
    parts = 0
    while study.status() != "finished":
        assert parts < 60, f"no end after {parts} parts: {study.log_tail(10)}"
        parts += 1
        pid = start(study, data_dir)
        # After some parts it is left alone, so that each study has an end.
        what = rng.choice(["kill", "kill", "stop", "stop and kill"]) if parts <= 6 else "wait"
        wait = rng.uniform(0.0, 0.6 * seconds) if what != "wait" else 600.0
        code = ended(pid, wait)
        asked = False
        if code is None:
            with contextlib.suppress(RunError):  # it has not begun, or has just ended
                if "stop" in what:
                    study.request("stop")
                    asked = True
            if "kill" in what:
                os.kill(pid, signal.SIGKILL)
                tried.kills += 1
                tried.stale += asked
            code = ended(pid, 600.0)
            tried.stops += asked and code == 0
        assert code in (0, -signal.SIGKILL), (code, study.log_tail(20))
        status = study.status()
        if code == 0 and not asked:
            assert status == "finished", f"{status}, though nobody asked: {study.log_tail(10)}"
        kinds(root)  # nothing is damaged
    tried.studies += 1


def check_again(root: Path, config: Any, data_dir: Path, expected: Any, made: Any) -> None:
    """The numbers and runs of a finished study, before and after a further one."""
    from engine.runs import create

    for _ in range(1 if len(expected) < 4 else 2):
        found = table(root, config)
        wrong = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
        assert not wrong, wrong[:3]
        assert kinds(root) == made, (kinds(root), made)
        again = create(root, "study", config)
        newest_is_latest(root, again)
        assert ended(start(again, data_dir), 600.0) == 0, again.log_tail(10)
        log = again.metrics()
        log.poll()
        assert log.names() == [], "a finished study computed something again"
        assert again.status() == "finished"


def main() -> int:
    """Computes, sets the clock, kills, resumes, compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    if OFFSET_FILE in os.environ:
        offset = Path(os.environ[OFFSET_FILE])
        work, clock, how = offset.parent, JumpingClock(offset, args.seed), "system"
    else:
        work = Path(tempfile.mkdtemp())
        if not args.small:
            begin_again_under_the_shim(work)
        clock, how = patched_clock(work, args.seed), "Python"
    began = time.perf_counter()
    try:
        line = survived(work, clock, args.kills, args.seed, small=args.small)
        print(
            f"{line}, the clock of {how} set {clock.jumps} times "
            f"[{time.perf_counter() - began:.0f} s]"
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


def survived(work: Path, clock: JumpingClock, kills: int, seed: int, *, small: bool) -> str:
    """Runs everything; returns what was tried, all of which was survived."""
    from engine.data import shapes
    from engine.runs import create

    shapes.TRAIN_IMAGES, shapes.TEST_IMAGES = 600, 200  # in seconds, also on one busy core
    rng, tried, data_dir = random.Random(seed), Tried(), work / "data"
    config = configuration(small=small)
    quiet = create(work / "quiet", "study", config)
    started = time.perf_counter()
    assert ended(start(quiet, data_dir), 600.0) == 0, quiet.log_tail(20)
    seconds = time.perf_counter() - started
    expected, made = table(quiet.path.parent, config), kinds(quiet.path.parent)
    assert all(row[1] == "done" for row in expected), expected
    with clock.jumping():
        while tried.kills < kills:
            root = work / f"runs{tried.studies}"
            disturbed(root, config, data_dir, seconds, rng, tried)
            check_again(root, config, data_dir, expected, made)
    count = tried.kills + tried.stops
    return (
        f"tried {count}, survived {count}: {tried.kills} kills ({tried.stale} with a stop that "
        f"nobody answered) and {tried.stops} stops of {tried.studies} studies of "
        f"{len(expected)} cells ({seconds:.1f} s undisturbed), the same numbers, no run twice"
    )


if __name__ == "__main__":
    raise SystemExit(main())
