"""Takes the terminal away from an app that trains, in many ways; no run may be lost or differ.

    python tests/survival/terminal.py [--small] [--seed N] [--times N] [--only NAME ...]

Every trial starts the real app in a pseudo-terminal and a run in it by its key, disturbs it, and
waits for the run's end. Then the parameters must be those of an undisturbed run, bit for bit; every
step must be in the metric log once, with the same loss; the app must have ended and no process may
be left. Each scenario prints a line for each trial; the exit code is 0 when every check passed.

    closed     the terminal is closed at random moments of a pretraining: while torch is imported,
               while the images are read, in the first steps, in kNN, in a checkpoint
    probe      the same, in a probe
    queue      a probe waits behind the pretraining whose encoder it needs; the terminal is closed
    study      a study of one pretraining and one probe; the terminal is closed in each of them
    frozen     nobody reads what the app draws for 60 s: as many steps a second as before (small:
               for 5 s, and the steps go on); then the connection breaks
    killed     SIGKILL to the app: at most one checkpoint interval is lost
    signals    SIGTERM, SIGINT and SIGUSR1 to the app (handed over), to a command without a terminal
               and to a detached trainer (stopped within 10 s, exit code 130); SIGHUP to a command
    demo       SIGTERM to the demo's own configurations at random moments, with all the cores:
               stopped within 10 s, resumable
    quit       left by its keys with "keep training"
    crash      an error in the screens: a sentence, exit code 1, and the training goes on
    idle       an app that waits for its trainer after a hang-up does not spin
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

from engine.config.presets import preset
from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import RunError
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create
from moco_tui.training.demo_runs import PROBE
from tests.survival.ptys import (
    Bench,
    Terminal,
    at_rest,
    check_pretraining,
    check_probe,
    check_study,
    environment,
    kill_left_over,
    marked,
    phase,
    pretraining,
    probing,
    studying,
    words,
)
from tests.survival.trials import hold, until


def finish(bench: Bench, root: Path, run: RunFolder) -> str:
    """Waits until no process works on the run, resumes it unless it is finished; what happened."""
    outcome: str = until("the end of the run", lambda: at_rest(run), 180)
    if outcome != "finished":
        bench.resume(root, run)
    until("all processes to be gone", lambda: not marked(root.name), 20)
    return "went on" if outcome == "finished" else f"was {outcome}, resumed"


def lose(app: Terminal, how: int) -> float:
    """Closes the terminal (SIGHUP) or sends a signal; seconds until the app was gone."""
    began = time.monotonic()
    if how == signal.SIGHUP:
        app.close()
    else:
        os.kill(app.pid, how)
    code = app.wait()
    hold(code == 128 + how, f"the app left with {code}")
    app.close()
    return time.monotonic() - began


def closed(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    span = 4.0  # seconds; a guess at what a run takes, for the first trial
    for i in range(times):
        # Every third trial closes at the end of an epoch: a random moment seldom hits the side work
        # that comes there.
        epoch = chance.randrange(4) if i % 3 == 2 else None
        moment = chance.uniform(0, span) if epoch is None else chance.uniform(0, 0.08)
        line, took = close_once(bench, f"closed-{i}", moment, epoch)
        # The next trials spread over what a run takes on this machine, as it is loaded now.
        span = max(1.0, 0.6 * took)
        yield line


def close_once(bench: Bench, name: str, moment: float, epoch: int | None) -> tuple[str, float]:
    """Closes the terminal so many seconds after the start, or after the last step of an epoch
    (0: after the model was made); kNN and the checkpoint come there.

    Returns:
        The line, and the seconds that the run took as a whole.
    """
    root = bench.trial(name)
    run = pretraining(root)
    app = bench.app(root)
    began = time.monotonic()
    app.press("r")
    if epoch is not None:
        # What was measured before side work is in the file when the side work begins.
        until("the end of an epoch", lambda: last_step(run) >= epoch * 20, 90)
    time.sleep(moment)
    moment = time.monotonic() - began
    where = phase(run)
    gone = lose(app, signal.SIGHUP)
    if where not in ("importing", "loading", "finished"):
        where = resume_point(run) or where
    outcome = finish(bench, root, run)
    check_pretraining(run, bench.pretrained)
    record = run.record()
    outcome = "had finished" if where == "finished" else outcome
    line = f"{moment:5.2f} s ({where}): app gone after {gone:.2f} s, run {outcome}, bit-equal"
    return line, (record.ended or 0) - record.created


def last_step(run: RunFolder) -> int:
    """The last step in the metric log; -1 before the model is made."""
    if not run.record().total_steps:
        return -1
    log = run.metrics()
    log.poll()
    steps, _ = log.series("train/loss")
    return int(steps[-1]) if len(steps) else 0


def resume_point(run: RunFolder) -> str:
    """Where the detached process goes on, from the checkpoint; empty when there is none.

    Read right after the app has ended: the process takes seconds to begin, and to save again.
    """
    with contextlib.suppress(RunError):
        state = checkpoints.load(run.checkpoint_path)
        if state["monitored_step"] < state["step"] and state["step"] % 20 == 0:
            return f"in kNN, step {state['step']}"
        return f"step {state['step']}"
    return ""


def probe(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    for i in range(max(1, times // 5)):
        yield probe_once(bench, f"probe-{i}", chance.uniform(0, 2.0))


def probe_once(bench: Bench, name: str, moment: float) -> str:
    """Closes the terminal at a moment after the probe began."""
    assert bench.probed is not None
    root, encoder = bench.with_encoder(name)
    run = probing(root, encoder)
    app = bench.app(root)
    app.press("\x1b[B")  # it stands under its parent
    time.sleep(0.3)
    app.press("r")
    until("the probe to begin", lambda: phase(run) != "importing", 60)
    time.sleep(moment)
    where = phase(run)
    gone = lose(app, signal.SIGHUP)
    outcome = finish(bench, root, run)
    check_probe(run, bench.probed)
    return f"{moment:5.2f} s ({where}): app gone after {gone:.2f} s, probe {outcome}, the same"


def queue(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    assert bench.probed is not None
    root = bench.trial("queue")
    run = pretraining(root)
    waiting = probing(root, run)
    app = bench.app(root)
    app.press("r")
    until("the run to begin", lambda: run.alive(), 30)
    app.press("\x1b")
    time.sleep(0.5)
    app.press("\x1b[B")
    time.sleep(0.3)
    app.press("r")
    until("the probe to wait", waiting.alive, 30)
    until("a step", lambda: run.record().step > 2, 60)
    gone = lose(app, signal.SIGHUP)
    finish(bench, root, run)
    until("the end of the probe", lambda: at_rest(waiting) == "finished", 120)
    check_pretraining(run, bench.pretrained)
    check_probe(waiting, bench.probed)
    until("all processes to be gone", lambda: not marked(root.name), 20)
    yield f"app gone after {gone:.2f} s, the run and the probe behind it went on, the same"


def study(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    for kind in ("pretrain",) if small else ("pretrain", "probe"):
        yield study_once(bench, kind, chance.uniform(0, 0.5))


def study_once(bench: Bench, kind: str, moment: float) -> str:
    """Closes the terminal of a study while its run of a kind goes on."""
    assert bench.probed is not None
    root = bench.trial(f"study-{kind}")
    run = studying(root)
    app = bench.app(root)
    app.press("r")

    def part() -> RunFolder | None:
        """The run of that kind, once it does something."""
        for path in root.glob("*/run.json"):
            with contextlib.suppress(RunError):
                folder = RunFolder(path.parent)
                record = folder.record()
                if record.kind == kind and record.status == "running" and record.total_steps:
                    return folder
        return None

    folder: RunFolder = until("the run in the study", part, 180, lambda: app.text)
    time.sleep(moment)
    where = f"{kind}: {phase(folder)}"
    gone = lose(app, signal.SIGHUP)
    outcome = finish(bench, root, run)
    check_study(run, bench.pretrained, bench.probed)
    return f"{where}: app gone after {gone:.2f} s, study {outcome}, its runs bit-equal"


def frozen(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    seconds = 5.0 if small else 60.0
    root = bench.trial("frozen")
    run = pretraining(root, optim__epochs=100_000, monitor__knn_every=0, log__checkpoint_epochs=0)
    app = bench.app(root)
    app.press("r")
    until("some steps", lambda: run.record().step > 10, 60)

    def rate(span: float) -> float:
        """Steps for each second of processor time, which other programs hardly change."""
        process = psutil.Process(app.pid)
        times, step = process.cpu_times(), run.record().step
        time.sleep(span)
        after = process.cpu_times()
        used: float = after.user + after.system - times.user - times.system
        hold(run.record().step > step, "no step any more")
        return (run.record().step - step) / used

    before = rate(seconds)
    app.freeze()
    during = rate(seconds)
    # A few seconds beside other work say nothing of a rate: the small form asks for steps alone.
    hold(small or during > 0.85 * before, f"{during:.1f} steps/s frozen, {before:.1f} before")
    stopped_at = lose(app, signal.SIGHUP)
    until("the detached process", lambda: run.record().pid != app.pid, 60)
    begun = run.record().step
    until("it to go on", lambda: run.record().step > begun, 60)
    run.request("stop")
    until("it to stop", lambda: at_rest(run) == "stopped", 60)
    until("all processes to be gone", lambda: not marked(root.name), 20)
    yield (
        f"{seconds:g} s: {during:.1f} steps a second of CPU, {before:.1f} before; app gone "
        f"{stopped_at:.2f} s after the connection broke, run went on"
    )


def killed(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    for i in range(max(1, times // 10)):
        for attempt in range(5):
            line = kill_once(bench, f"killed-{i}-{attempt}", chance.randrange(5, 45))
            if line:
                yield line
                break
        else:
            hold(False, "five runs in turn had finished before they could be killed")


def kill_once(bench: Bench, name: str, wanted: int) -> str:
    """Kills the app after a step; the next app offers the run, and it is resumed.

    Returns:
        The line; empty when the run had finished before: its steps are seen once a second.
    """
    root = bench.trial(name)
    run = pretraining(root)
    app = bench.app(root)
    app.press("r")
    until("a step", lambda: run.record().step >= wanted, 180, lambda: app.text)
    os.kill(app.pid, signal.SIGKILL)
    app.wait()
    app.close()
    began = time.monotonic()
    if run.record().status == "finished":
        return ""
    until(
        "the loss to be seen",
        lambda: run.status() == "lost",
        15,
        lambda: f"{run.status()}, held by {holders(run)}, left: {marked(root.name)}",
    )
    seen = time.monotonic() - began
    reached, kept = run.record().step, run.record().checkpoint_step or 0
    interval = run.record().steps_per_epoch
    hold(reached - kept <= interval, f"{reached - kept} steps lost of at most {interval}")
    other = Terminal(words(root, bench.data), root.name)
    offer = f"goes on from step {kept}" if kept else "there is no checkpoint"
    until("the offer", lambda: offer in other.text, 90, lambda: other.text)
    other.press("b")  # in the background
    until("the run to be taken up", run.alive, 30, lambda: other.text)
    other.press("q")
    hold(other.wait() == 0, "the second app did not leave")
    other.close()
    outcome = finish(bench, root, run)
    check_pretraining(run, bench.pretrained)
    where = f"step {kept}" if kept else "the beginning"
    return (
        f"at step {reached}: lost after {seen:.2f} s, the next app offers {where}, run {outcome}, "
        "bit-equal"
    )


def holders(run: RunFolder) -> list[str]:
    """The processes that have the run's lock open."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            files = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
            if str(run.lock_path) in files:
                found.append(f"{process.pid} {process.name()} ({process.status()})")
    return found


def signals(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    for number in (signal.SIGTERM,) if small else (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        name = signal.Signals(number).name
        if not small:
            yield f"{name} to the app: {signal_app(bench, number)}"
            yield f"{name} to a command: {signal_trainer(bench, number, detached=False)}"
        yield f"{name} to a detached trainer: {signal_trainer(bench, number, detached=True)}"
    root = bench.trial("command-SIGHUP")
    run = pretraining(root)
    shell = Terminal(words(root, bench.data, "resume", run.id), root.name)
    until("a step", lambda: run.record().step > 5, 60)
    shell.close()
    shell.wait()
    outcome = finish(bench, root, run)
    hold(outcome == "went on", outcome)
    check_pretraining(run, bench.pretrained)
    yield f"the terminal of a command closed: run {outcome}, bit-equal"


def signal_app(bench: Bench, number: int) -> str:
    """Signals an app that trains."""
    root = bench.trial(f"app-{number}")
    run = pretraining(root)
    app = bench.app(root)
    app.press("r")
    until("a step", lambda: run.record().step > 5, 60)
    hold(app.modes() != app.modes_before, "the app has not changed the terminal")
    began = time.monotonic()
    os.kill(app.pid, number)
    hold(app.wait() == 128 + number, "left by another way")
    gone = time.monotonic() - began
    until("its last words", lambda: f"{run.id} goes on in the background" in app.text, 5)
    hold(app.modes() == app.modes_before, "the terminal is not as it was before")
    app.close()
    outcome = finish(bench, root, run)
    check_pretraining(run, bench.pretrained)
    return f"gone after {gone:.2f} s, run {outcome}, bit-equal"


def signal_trainer(bench: Bench, number: int, *, detached: bool) -> str:
    """Signals a trainer without an app; it stops with a checkpoint, and is resumed."""
    root = bench.trial(f"trainer-{number}-{detached}")
    run = pretraining(root)
    args = ["resume", run.id, *(["--detach"] if detached else [])]
    process = subprocess.Popen(
        words(root, bench.data, *args), env=environment(root.name), stderr=subprocess.DEVNULL
    )
    until("a step", lambda: run.record().step > 5, 60)
    began = time.monotonic()
    os.kill(run.record().pid, number)
    code = process.wait(30)
    until("the run to stop", lambda: at_rest(run) == "stopped", 30)
    took = time.monotonic() - began
    hold(took < 10, f"it took {took:.1f} s")
    hold(code == (0 if detached else 130), f"exit code {code}")
    hold(run.record().checkpoint_step == run.record().step, "not with a checkpoint")
    finish(bench, root, run)
    check_pretraining(run, bench.pretrained)
    return f"stopped after {took:.2f} s, resumed, bit-equal"


def demo(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    root = bench.trial("demo")
    encoder: RunFolder | None = None
    for i in range(max(2, times // 10)):
        if encoder is None or i % 2 == 0:
            run = create(root, "pretrain", build(PretrainConfig, preset("quick").values))
        else:
            run = create(root, "probe", build(ProbeConfig, PROBE), parent=encoder.id)
        moment = chance.uniform(0, 25)
        took, where = stop_trainer(bench, root, run, moment)
        if run.checkpoint_path.exists():
            encoder = run
        kind = run.record().kind
        yield f"SIGTERM to the demo's {kind} after {moment:.1f} s ({where}): {took:.2f} s"


def stop_trainer(bench: Bench, root: Path, run: RunFolder, moment: float) -> tuple[float, str]:
    """Stops a command so long after its run began; the seconds it took, and where it was."""
    process = subprocess.Popen(
        words(root, bench.data, "resume", run.id),
        env={**environment(root.name), "OMP_NUM_THREADS": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until("the run to begin", lambda: run.record().status == "running", 60)
    time.sleep(moment)
    where = phase(run)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    took = time.monotonic() - began
    hold(code == 130, f"exit code {code}")
    hold(took < 10, f"it took {took:.1f} s in {where}")
    record = run.record()
    hold(record.status == "stopped", record.status)
    if record.kind == "pretrain" and record.total_steps:
        hold(record.checkpoint_step == record.step, "not with a checkpoint")
    return took, where


_CRASH = """
import sys
from pathlib import Path
from moco_tui import app, app_life

def fail(self):
    active = self.session.runner.active
    if active is not None and active.record().step > 5:
        raise ZeroDivisionError("an error in the screens")

assert hasattr(app.MocoApp, "_poll_runner")  # else nothing would fail, and the trial time out
app.MocoApp._poll_runner = fail
sys.exit(app_life.run(Path(sys.argv[1]), data_dir=Path(sys.argv[2])))
"""


def leave(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See ``quit`` at the top of the file."""
    root = bench.trial("quit")
    run = pretraining(root)
    app = bench.app(root)
    app.press("r")
    until("a step", lambda: run.record().step > 5, 60)
    app.press("q")
    until("the question", lambda: "Keep training" in app.text, 30)
    app.press("k")
    hold(app.wait() == 0, "left by another way")
    until("its last words", lambda: f"{run.id} goes on in the background" in app.text, 5)
    hold(app.modes() == app.modes_before, "the terminal is not as it was before")
    outcome = finish(bench, root, run)
    check_pretraining(run, bench.pretrained)
    yield f"left by its keys: run {outcome}, bit-equal"


def crash(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    root = bench.trial("crash")
    run = pretraining(root)
    app = Terminal([sys.executable, "-c", _CRASH, str(root), str(bench.data)], root.name)
    until("the table of runs", lambda: "queued" in app.text)
    app.press("r")
    hold(app.wait(60) == 1, "left by another way")
    until("its last words", lambda: "ended it (ZeroDivisionError)" in app.text, 5)
    until("what goes on", lambda: f"{run.id} goes on in the background" in app.text, 5)
    hold("Traceback" not in app.text, "a traceback on the terminal")
    hold(app.modes() == app.modes_before, "the terminal is not as it was before")
    outcome = finish(bench, root, run)
    check_pretraining(run, bench.pretrained)
    yield f"an error in the screens: run {outcome}, bit-equal"


_SLOW = """
import sys, time
from pathlib import Path
from moco_tui import app_life
from moco_tui.training.runner import Runner

class Slow(Runner):
    def hand_over(self, *, leaving=False):
        time.sleep(6)
        return True

app_life.Runner = Slow
app_life.run(Path(sys.argv[1]), data_dir=Path(sys.argv[2]))
"""


def idle(bench: Bench, chance: random.Random, times: int, small: bool) -> Iterator[str]:
    """See the top of the file."""
    root = bench.trial("idle")
    pretraining(root)
    app = Terminal([sys.executable, "-c", _SLOW, str(root), str(bench.data)], root.name)
    until("the table of runs", lambda: "queued" in app.text)
    process = psutil.Process(app.pid)
    process.cpu_percent()
    app.close()
    time.sleep(1.0)
    process.cpu_percent()
    time.sleep(3.0)
    share = process.cpu_percent()
    hold(share < 20, f"{share} % CPU while it waits")
    hold(app.wait() == 128 + signal.SIGHUP, "left by another way")
    yield f"{share:.1f} % CPU while it waits for its trainer without a terminal"


SCENARIOS: dict[str, Callable[[Bench, random.Random, int, bool], Iterator[str]]] = {
    "closed": closed,
    "probe": probe,
    "queue": queue,
    "study": study,
    "frozen": frozen,
    "killed": killed,
    "signals": signals,
    "demo": demo,
    "quit": leave,
    "crash": crash,
    "idle": idle,
}


def main() -> int:
    """Runs the scenarios; 0 when all of them held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="what the tests run")
    parser.add_argument("--times", type=int, default=50, help="terminals to close")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="moco-survival-") as place:
        bench = Bench.prepare(
            Path(place), probe=not {"probe", "queue", "study"}.isdisjoint(options.only)
        )
        for name in options.only:
            try:
                for line in SCENARIOS[name](bench, chance, options.times, options.small):
                    print(f"{name}: held: {line}", flush=True)
            except AssertionError as error:
                failed += 1
                print(f"{name}: BROKEN: {error}", flush=True)
                for root in Path(place).iterdir():
                    kill_left_over(root.name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
