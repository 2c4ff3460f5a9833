"""Run folders with fixed data, and an app whose clock and machine stand still."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.history.history import History
from engine.machine.cards import Card
from engine.machine.load_reader import Load, LoadReader
from engine.runs import RunFolder, own
from engine.runs.metric_writer import encode_line
from engine.runs.record import Record, UserNotes, encode_record, encode_user
from engine.sink import Plan
from moco_tui.app import MocoApp
from moco_tui.session import Session
from moco_tui.training import detached
from moco_tui.training.lost_runs import LostRun, lost_among
from moco_tui.training.runner import Runner
from moco_tui.widgets.redraw_pace import RedrawPace

from .spawned import Spawned

NOW = 1_760_000_000.0
PER_EPOCH = 10
S = TypeVar("S", bound=Screen[Any])


def lost_runs(root: Path) -> list[LostRun]:
    """What the app offers when it opens this folder."""
    return lost_among(History(root, read_only=True).list(), root)


def write_run(
    root: Path,
    run_id: str,
    *,
    kind: str = "pretrain",
    preset: str = "notebook",
    sets: tuple[str, ...] = (),
    steps: int = 0,
    notes: UserNotes | None = None,
    log: str = "",
    accuracy: float = 45.0,
    **record: Any,
) -> RunFolder:
    """A run folder as its owner would have left it, with values that never change."""
    if kind == "pretrain":
        config: Any = resolve(PretrainConfig, preset_name=preset, sets=sets)
        chance = 2 * math.log(config.moco.queue_size + 1)
    else:
        config, preset, chance = resolve(ProbeConfig, sets=sets), "", 0.0
    folder = RunFolder(root / run_id)
    folder.path.mkdir(parents=True)
    lines: list[bytes] = []
    last: dict[str, float] = {}
    best: dict[str, float] = {}
    for step in range(1, steps + 1):
        noise = 0.3 * math.sin(step * 12.9898)
        loss = 9 + (chance - 9) * math.exp(-step / 30) + noise
        values = {"train/loss": loss, "train/lr": 0.06 * (1 + math.cos(step / 60)) / 2}
        if step % PER_EPOCH == 0:
            values["train/epoch_loss"] = loss - noise
            if step > 20:  # from then on the queues of the presets are full
                best["train/epoch_loss"] = loss - noise
        lines.append(encode_line(step, step / PER_EPOCH, NOW - 600 + step, values))
        last |= values
        if step % PER_EPOCH == 0:
            knn = {"knn/top1": accuracy + 10 * (1 - math.exp(-step / 50))}
            lines.append(encode_line(step, step / PER_EPOCH, NOW - 600 + step, knn))
            last |= knn
            best |= knn
    record.setdefault("status", "finished")
    fixed: dict[str, Any] = {
        "created": NOW - 3600,
        "started": NOW - 600,
        "ended": NOW - 60,
        "host": "box",
        "device": "cpu",
        "step": steps,
        "epoch": steps / PER_EPOCH,
        "total_steps": max(steps, 1),
        "steps_per_epoch": PER_EPOCH,
        "pairs_per_step": 512,
        "chance": chance,
        "last": last,
        "best": best,
    }
    made = Record(
        id=run_id,
        kind=kind,
        preset=preset,
        config=msgspec.to_builtins(config),
        **(fixed | record),
    )
    folder.record_path.write_bytes(encode_record(made))
    if notes is not None:
        folder.user_path.write_bytes(encode_user(notes))
    if lines:
        folder.metrics_path.write_bytes(b"".join(lines))
    if log:
        folder.log_path.write_text(log, encoding="utf-8")
    return folder


RESULT: dict[str, Any] = {
    "top1": 57.3,
    "encoder_step": 120,
    "encoder_schedule_steps": 120,
    "rows": [
        {
            "source": source,
            "top1": top1,
            "low": top1 - 1,
            "high": top1 + 1,
            "balanced": top1,
            "majority": 10.0,
            "per_class": {"airplane": top1 + 5, "cat": top1 - 20},
        }
        for source, top1 in (("pretrained", 57.3), ("random-init", 46.1), ("pixels", 31.2))
    ],
}


def some_runs(root: Path) -> None:
    """What the pictures of the screens show."""
    write_run(
        root,
        "k7m2qx",
        name="notebook",
        steps=120,
        total_steps=120,
        untrained={"knn/top1": 44.3},
        notes=UserNotes(tags=("base",), note="the first one that learns"),
        log="2025-10-09 10:00:00 reading images\n2025-10-09 10:00:02 epoch 1\n",
    )
    write_run(
        root,
        "q4r8st",
        preset="notebook-large-queue",
        name="large queue",
        steps=80,
        total_steps=120,
        status="stopped",
        untrained={"knn/top1": 44.3},
        created=NOW - 1800,
        accuracy=48.0,
    )
    write_run(
        root,
        "p2b9dz",
        kind="probe",
        name="10 % of the labels",
        parent="k7m2qx",
        created=NOW - 1200,
        result=RESULT,
        total_steps=4,
        step=4,
        steps_per_epoch=0,
    )
    write_run(
        root,
        "f6g3hj",
        preset="quick",
        name="hot",
        sets=("lr=5",),
        steps=30,
        total_steps=120,
        status="failed",
        error="The loss became nan at step 30; a lower optim.lr usually helps.",
        created=NOW - 90_000,
    )


class StillRunner(Runner):
    """Starts nothing; remembers what it was asked."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.started: list[RunFolder] = []
        self.allowed: list[RunFolder] = []
        self.detached: list[RunFolder] = []

    def start(self, folder: RunFolder, *, allow_other_data: bool = False) -> bool:
        self.started.append(folder)
        self.allowed += [folder] if allow_other_data else []
        return True

    def start_detached(self, *folders: RunFolder) -> Any:
        self.detached.extend(folders)


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No real machine, no preloading of torch, no left-over environment."""
    monkeypatch.setenv("LANG", "C.UTF-8")
    for name in ("LC_ALL", "LC_CTYPE", "NO_COLOR", "MOCO_TUI_ASCII", "MOCO_TUI_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    gib = 2**30
    load = Load(
        0.42,
        2,
        6 * gib,
        16 * gib,
        gib // 8,
        [Card("NVIDIA H200", 0.9, 9 * gib, 139 * gib, 320, 51)],
    )
    monkeypatch.setattr(LoadReader, "__init__", lambda self, *args: None)
    monkeypatch.setattr(LoadReader, "read", lambda self: load)
    monkeypatch.setattr(LoadReader, "close", lambda self: None)
    monkeypatch.setattr(RedrawPace, "share", property(lambda self: 0.004))
    monkeypatch.setattr(RedrawPace, "interval", property(lambda self: 0.05))
    monkeypatch.setattr("moco_tui.screens.listing_screen.REFRESH_SECONDS", 0.05)
    monkeypatch.setattr("moco_tui.lazy.preload", threading.Thread)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def make_app(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MocoApp]:
    """An app over the runs folder; nothing is trained unless the test brings a runner."""

    def make(**options: Any) -> MocoApp:
        data_dir = tmp_path / "data"
        options.setdefault("runner", StillRunner(data_dir))
        demo = options.pop("demo", False)
        folder = options.pop("root", root)
        session = Session(folder, data_dir=data_dir, clock=lambda: NOW, **options)
        app = MocoApp(session, demo=demo)
        notify = app.notify

        def lasting(text: str, **how: Any) -> None:
            """On a slow machine a sentence may be gone before a test comes to it."""
            notify(text, **(how | {"timeout": 3600.0}))

        monkeypatch.setattr(app, "notify", lasting)
        return app

    return make


async def until(pilot: Pilot[Any], condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Let the app work until something holds."""
    import time

    end = time.monotonic() + seconds
    while True:
        await pilot.pause()
        try:
            if condition():
                break
        except Exception as error:  # widgets that are not there yet
            if time.monotonic() > end:
                raise AssertionError("the screen never came so far") from error
        if time.monotonic() > end:
            raise AssertionError("the screen never came so far\n" + screen_text(pilot.app))
        await pilot.pause(0.01)
    await pilot.pause()


def on_screen(app: MocoApp, kind: type[S]) -> S:
    """The screen that is shown, which must be one of this kind."""
    screen = app.screen
    assert isinstance(screen, kind)
    return screen


def still_runner(app: MocoApp) -> StillRunner:
    """The runner of an app that trains nothing, with what it was asked for."""
    runner = app.session.runner
    assert isinstance(runner, StillRunner)
    return runner


def screen_text(app: App[Any]) -> str:
    """What stands on the screen."""
    width, height = app.size
    compositor = app.screen._compositor
    lines = ["".join(segment.text for segment in strip) for strip in compositor.render_strips()]
    del width, height
    return "\n".join(lines)


class FakeTrainer:
    """Trains nothing, but owns the run, writes metrics and answers requests as a trainer does."""

    def __init__(self, steps: int = 100_000) -> None:
        self.steps = steps
        self.outcomes: list[str] = []
        self.answers = threading.Event()
        """Cleared, the trainer hears no request."""
        self.answers.set()

    def __call__(
        self, folder: RunFolder, *, data_dir: Path, lock_fd: int | None = None, **rest: Any
    ) -> str:
        with own(folder, lock_fd=lock_fd) as owner:
            owner.transition("running")
            step = owner.record.checkpoint_step or 0
            owner.plan(
                Plan(
                    total_steps=self.steps,
                    steps_per_epoch=10,
                    start_step=step,
                    pairs_per_step=4,
                    chance=16.0,
                )
            )
            outcome = "finished"
            while step < self.steps:
                step += 1
                owner.metrics(step, step / 10, {"train/loss": 9 + 7 / step, "train/lr": 0.06})
                request = owner.request() if self.answers.is_set() else None
                while request == "pause":
                    owner.transition("paused")
                    owner.acknowledge("pause", step)
                    while (request := owner.request()) is None:
                        self.beat()
                    if request == "continue":
                        owner.transition("running")
                        owner.acknowledge("continue", step)
                        request = owner.request()
                if request == "checkpoint":
                    owner.checkpointed(step)
                    owner.acknowledge("checkpoint", step)
                elif request in ("stop", "hand-over"):
                    owner.checkpointed(step)
                    owner.acknowledge(request, step)
                    outcome = "stopped" if request == "stop" else "handed-over"
                    break
                self.beat()
            owner.transition(outcome)  # type: ignore[arg-type]
        self.outcomes.append(outcome)
        return outcome

    @staticmethod
    def beat() -> None:
        """The time that a step takes."""
        threading.Event().wait(0.002)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawned]:
    """In place of the processes that train apart from the app."""
    spawned = Spawned()
    monkeypatch.setattr(detached, "spawn", spawned)
    yield spawned
    for child in spawned.children:
        child.communicate(timeout=60)
