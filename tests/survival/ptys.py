"""What the trials of ``terminal.py`` share: the app in a pseudo-terminal, runs, comparisons."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
import torch
from PIL import Image

from engine.config.data.shapes import CLASSES
from engine.config.presets import preset
from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.data.shapes import generate
from engine.errors import RunError
from engine.runs import RunFolder, create
from tests.environment import with_packages
from tests.pseudo_terminal import Terminal as PseudoTerminal
from tests.survival.run_files import curves, steps_in_file
from tests.survival.trials import hold, until

MARK = "MOCO_SURVIVAL_TRIAL"

# Tens of milliseconds a step on one core, with kNN and a checkpoint after every epoch of 20 steps.
# One thread and float32: the order of every sum is fixed, so that runs can be compared to the bit.
PRETRAIN = {
    **preset("quick").values,
    "model.dim": 32,
    "moco.queue_size": 64,
    "optim.batch_size": 16,
    "optim.epochs": 4,
    "monitor.knn_every": 1,
    "log.checkpoint_seconds": 3600,
    "log.checkpoint_epochs": 1,
    "runtime.device": "cpu",
    "runtime.threads": 1,
    "runtime.precision": "float32",
}
PROBE = {
    "label_fraction": 0.5,
    "baselines": ("random-init", "pixels"),
    "runtime.device": "cpu",
    "runtime.threads": 1,
    "runtime.precision": "float32",
}


def environment(mark: str) -> dict[str, str]:
    """The environment of what a trial starts; by the mark in it leftover processes are found."""
    return with_packages(**{MARK: mark, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"})


def words(root: Path, data: Path, *args: str) -> list[str]:
    """The command line of ``moco-tui``."""
    here = ["--runs-dir", str(root), "--data-dir", str(data)]
    return [sys.executable, "-m", "moco_tui", *here, *args]


class Terminal(PseudoTerminal):
    """A program in a pseudo-terminal of 100x30 whose screen is read by a thread.

    Args:
        command: what to run.
        mark: by which its processes are found.
    """

    def __init__(self, command: list[str], mark: str) -> None:
        super().__init__(command, environment(mark), (100, 30), threads=True)
        self._reading = threading.Event()
        self._reading.set()
        self._hung_up = threading.Event()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # Never in a read that blocks: the kernel keeps the terminal open until the read returns, so
        # that a close in another thread would not hang it up.
        while not self._hung_up.is_set():
            if not self._reading.wait(0.02) or not select.select([self.master], [], [], 0.02)[0]:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            with self._lock, contextlib.suppress(Exception):  # a sequence that pyte does not know
                self.stream.feed(data)

    @property
    def text(self) -> str:
        """What is on the screen."""
        with self._lock:
            return super().text

    def press(self, keys: str) -> None:
        """Types the keys."""
        os.write(self.master, keys.encode())

    def freeze(self) -> None:
        """Stops reading what is drawn, as a connection that hangs does."""
        self._reading.clear()

    def close(self) -> None:
        """Closes the terminal: a hang-up for the program."""
        if self.master >= 0:
            self._hung_up.set()
            self._reader.join()
            os.close(self.master)
            self.master = -1

    def wait(self, seconds: float = 40.0) -> int:
        """The exit code; fails when the program is still there after so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            load = psutil.Process(self.pid).cpu_percent(0.5)
            raise AssertionError(f"still there after {seconds} s, at {load} % CPU") from None


def marked(mark: str) -> list[psutil.Process]:
    """The processes of a trial that still exist."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def kill_left_over(mark: str) -> None:
    """Kills the processes that a failed trial has left, those with its mark alone."""
    for process in marked(mark):
        with contextlib.suppress(psutil.Error):
            process.kill()


@dataclass(frozen=True)
class Bench:
    """Where trials take place, and what undisturbed runs give.

    Attributes:
        folder: everything lies in it.
        data: the data folder, with its cache filled.
        pretrained: the undisturbed pretraining, finished.
        probed: an undisturbed probe of it, finished; None when there was no need of one.
    """

    folder: Path
    data: Path
    pretrained: RunFolder
    probed: RunFolder | None

    @classmethod
    def prepare(cls, folder: Path, *, probe: bool = True) -> Bench:
        """Trains the undisturbed runs, by the commands without a terminal."""
        root, data = folder / "oracle", folder / "data"
        draw_images(folder / "images")
        run = pretraining(root)
        done = command(root, data, "resume", run.id)
        hold(done.returncode == 0, done.stderr)
        probed = None
        if probe:
            probed = probing(root, run)
            done = command(root, data, "resume", probed.id)
            hold(done.returncode == 0, done.stderr)
        return cls(folder, data, run, probed)

    def trial(self, name: str) -> Path:
        """Makes a runs folder for one trial."""
        root = self.folder / name
        root.mkdir(parents=True)
        return root

    def with_encoder(self, name: str) -> tuple[Path, RunFolder]:
        """A runs folder that holds the finished pretraining, and that run."""
        root = self.trial(name)
        shutil.copytree(self.pretrained.path, root / self.pretrained.id)
        return root, RunFolder(root / self.pretrained.id)

    def app(self, root: Path) -> Terminal:
        """The app on a runs folder, once it shows the newest run there."""
        app = Terminal(words(root, self.data), root.name)
        until("the table of runs", lambda: "queued" in app.text)
        return app

    def resume(self, root: Path, run: RunFolder) -> None:
        """Resumes a run by the command, and waits until it is finished."""
        done = command(root, self.data, "resume", run.id, mark=root.name)
        hold(done.returncode == 0, done.stderr)


def draw_images(folder: Path) -> None:
    """Writes 520 images of the embedded set as a folder of images, which is read quickly."""
    for part, count, seed in (("train", 320, 1), ("test", 200, 2)):
        images, labels = generate(count, seed=seed)
        for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            place = folder / part / CLASSES[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{i:03d}.png")


def command(
    root: Path, data: Path, *args: str, mark: str = "oracle"
) -> subprocess.CompletedProcess[str]:
    """A command without a terminal."""
    return subprocess.run(
        words(root, data, *args),
        env=environment(mark),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def pretraining(root: Path, **changes: Any) -> RunFolder:
    """A pretraining that waits to be started; changes by dotted keys with __ for the dot."""
    given = {key.replace("__", "."): value for key, value in changes.items()}
    given["data.source"] = f"folder:{root.parent / 'images'}"
    return create(root, "pretrain", build(PretrainConfig, {**PRETRAIN, **given}))


def probing(root: Path, parent: RunFolder) -> RunFolder:
    """A probe that waits to be started."""
    return create(root, "probe", build(ProbeConfig, PROBE), parent=parent.id)


def studying(root: Path) -> RunFolder:
    """A study that waits to be started: of the runs that ``pretraining`` and ``probing`` make."""
    values = {
        "queue_sizes": (PRETRAIN["moco.queue_size"],),
        "seeds": (0,),
        "label_fractions": (PROBE["label_fraction"],),
        "tasks": ("ten",),
        "heads": (ProbeConfig().head,),
        "subset_seeds": (0,),
        "baselines": PROBE["baselines"],
        "pretrain.data.source": f"folder:{root.parent / 'images'}",
    }
    for part, given in (("pretrain", PRETRAIN), ("probe", PROBE)):
        for key, value in given.items():
            if key not in ("moco.queue_size", "label_fraction", "baselines", "data.source"):
                values[f"{part}.{key}"] = value
    return create(root, "study", build(StudyConfig, values))


def differences(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Names of everything that is not bit for bit the same."""
    if isinstance(a, torch.Tensor):
        if not (isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)):
            yield path
    elif isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from differences(a.get(key), b.get(key), f"{path}/{key}")
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{path}/{i}")
    elif a != b:
        yield path


def check_pretraining(run: RunFolder, oracle: RunFolder) -> None:
    """The run ended where the undisturbed one did, over the same points, each step once."""
    hold(run.record().status == "finished", f"{run.record().status}: {run.log_tail(20)}")
    states = [torch.load(r.checkpoint_path, weights_only=True) for r in (run, oracle)]
    different = list(differences(*states))
    hold(not different, f"not the same at the end: {different[:5]}")
    for name, points in curves(oracle).items():
        strange = sorted(set(points) ^ set(curves(run)[name]))
        hold(not strange, f"{name} differs from the undisturbed run's: {strange[:6]}")
    expected = list(range(1, oracle.record().total_steps + 1))
    hold(steps_in_file(run) == expected, "a step is missing in the metric log, or is there twice")


def check_probe(run: RunFolder, oracle: RunFolder) -> None:
    """The probe gave what the undisturbed one did, but for the seconds it took."""
    hold(run.record().status == "finished", f"{run.record().status}: {run.log_tail(20)}")
    results = [json.loads(json.dumps(r.record().result)) for r in (run, oracle)]
    for result in results:
        for row in result["rows"]:
            row.pop("seconds", None)
    different = list(differences(*results))
    hold(not different, f"not the same result: {different[:5]}")
    hold(curves(run) == curves(oracle), "the curves are not those of the undisturbed probe")


def check_study(run: RunFolder, pretrained: RunFolder, probed: RunFolder) -> None:
    """The study ended, with one run of each kind, and each of them came to what it does alone."""
    hold(run.record().status == "finished", f"{run.record().status}: {run.log_tail(20)}")
    result = run.record().result
    hold(result["cells"] == result["total"] > 0, f"{result['cells']} of {result['total']} cells")
    others = [RunFolder(path.parent) for path in run.path.parent.glob("*/run.json")]
    kinds = {other.record().kind: other for other in others}
    hold(len(others) == len(kinds) == 3, f"runs: {[other.record().kind for other in others]}")
    check_pretraining(kinds["pretrain"], pretrained)
    hold(kinds["probe"].record().status == "finished", "the probe has not finished")
    tables = [
        {row["source"]: (row["top1"], row["balanced"]) for row in r.record().result["rows"]}
        for r in (kinds["probe"], probed)
    ]
    hold(tables[0] == tables[1], f"not the accuracies of the probe alone: {tables}")


def at_rest(run: RunFolder) -> str:
    """The state of a run that no process works on or is about to; empty while one does."""
    with contextlib.suppress(RunError):
        status = run.status()
        if status in ("finished", "stopped", "failed", "lost") and not run.alive():
            return status
        if status == "queued" and not run.alive():
            return status
    return ""


def phase(run: RunFolder) -> str:
    """Where the run is now."""
    with contextlib.suppress(RunError):
        record = run.record()
        if record.status == "queued":
            return "importing"
        if record.status != "running":
            return record.status
        if record.stage is not None:
            return record.stage["name"]
        return f"step {record.step}" if record.total_steps else "loading"
    return "?"
