"""A study of several processes: the same numbers, each run once, whoever dies, joins or stops."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image

from engine.config.schema import StudyConfig
from engine.errors import TrainingError
from engine.history.history import History
from engine.jobs.execute import execute
from engine.jobs.study_shares import shares_of, with_share
from engine.runs import RunFolder, create, own
from engine.sink import NullSink, Plan, Request
from engine.study.grid import Cell, pretrainings
from engine.study.study_state import state_from_history
from engine.study.workers import Units, living_workers, new_worker, set_workers, workers_of
from moco_tui.cli.run_here import start_worker
from moco_tui.cli.study_settings import begun_study
from tests.made_up_cards import made_up, show_cards

from .conftest import Call

SETS = {
    "queue_sizes": "16,48",
    "seeds": "0,1",
    "label_fractions": "1.0",
    "tasks": "all",
    "heads": "logistic",
    "subset_seeds": "0",
    "baselines": "random-init,pixels",
    "pretrain.optim.epochs": "12",
    "pretrain.optim.batch_size": "8",
    "pretrain.model.dim": "8",
    "pretrain.model.bn_splits": "1",
    "pretrain.monitor.knn_every": "0",
    "pretrain.log.checkpoint_epochs": "1",
    "pretrain.runtime.precision": "float32",
    "probe.logistic.l2": "1.0",
    "probe.logistic.max_iter": "5",
    "probe.runtime.precision": "float32",
    "pretrain.runtime.threads": "1",
    "probe.runtime.threads": "1",
}
RUNS = {"study": 1, "pretrain": 4, "probe": 4}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images to train on and twelve to test on, of four classes."""
    root = tmp_path_factory.mktemp("images")
    rng = random.Random(1)
    for part, count in (("train", 10), ("test", 3)):
        for name in ("airplane", "automobile", "bird", "cat"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.frombytes("RGB", (32, 32), rng.randbytes(3072)).save(folder / f"{i}.png")
    return root


def words(images: Path, *more: str) -> list[str]:
    given = ["study", "--data", f"folder:{images}", "--device", "cpu"]
    return given + [w for k, v in SETS.items() for w in ("--set", f"{k}={v}")] + list(more)


def configured(images: Path, workers: int = 1) -> StudyConfig:
    from moco_tui.cli.config_options import ConfigSource
    from moco_tui.cli.options import Settings
    from moco_tui.cli.study_settings import configure

    sets = tuple(f"{key}={value}" for key, value in {**SETS, "workers": workers}.items())
    source = ConfigSource(preset=None, toml=None, sets=sets, data=f"folder:{images}")
    return configure(Settings(device="cpu"), source)


def numbers(folder: RunFolder) -> dict[Cell, float | None]:
    found = state_from_history(begun_study(folder), History(folder.path.parent))
    assert {cell.state for cell in found.cells.values()} == {"done"}
    return {cell: one.top1 for cell, one in found.cells.items()}


def kinds(root: Path) -> dict[str, int]:
    """By the folders, whatever a history says of them."""
    made = (RunFolder(path.parent).record() for path in root.glob("[!.]*/run.json"))
    return dict(Counter(record.kind for record in made))


def until(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What a look at the files gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def expected(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, float | None]:
    """The numbers of one process."""
    root = tmp_path_factory.mktemp("alone")
    folder = create(root / "runs", "study", configured(images))
    assert execute(folder, data_dir=root / "data") == "finished"
    assert kinds(root / "runs") == RUNS
    return numbers(folder)


class Watching(NullSink):
    """Does something once, when a look at the runs finds what it waits for."""

    def __init__(self, look: Callable[[], Any], act: Callable[[Any], Request | None]) -> None:
        self.look, self.act = look, act
        self.found: Any = None
        self.asked: Request | None = None
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def request(self) -> Request | None:
        if self.found is None and (found := self.look()):
            self.found = found
            self.asked = self.act(found)
        return self.asked

    def acknowledge(self, request: Request, step: int) -> None:
        self.asked = None


def training(root: Path) -> dict[str, Any]:
    """The records of the pretrainings that have a checkpoint and are not finished."""
    records = [RunFolder(path.parent).record() for path in root.glob("[!.]*/run.json")]
    return {
        r.id: r
        for r in records
        if r.kind == "pretrain" and r.status == "running" and r.checkpoint_step
    }


def run_two(folder: RunFolder, root: Path, sink: Any = None) -> str:
    data = root.parent / "data"
    return execute(
        folder, data_dir=data, sink=sink, start_worker=lambda worker: start_worker(worker, data)
    )


@pytest.fixture
def two(root: Path, images: Path) -> Iterator[RunFolder]:
    """A study of two workers, none of which outlives the test."""
    folder = create(root, "study", configured(images, 2))
    yield folder
    for worker in living_workers(folder):
        with contextlib.suppress(OSError):
            os.kill(worker.record().pid, signal.SIGKILL)


def check_whole(folder: RunFolder, expected: dict[Cell, float | None]) -> None:
    root = folder.path.parent
    assert numbers(folder) == expected
    assert kinds(root) == RUNS, "each run was made once"
    runs = [RunFolder(path.parent) for path in root.glob("[!.]*/run.json")]
    assert {run.status() for run in runs} == {"finished"}
    assert {run.record().facts["threads"] for run in runs if run != folder} == {1}


def test_a_killed_worker_loses_nothing(
    two: RunFolder, root: Path, expected: dict[Cell, float | None]
) -> None:
    """Two workers end with the numbers of one, also when one of them is killed in a training."""

    def kill(found: dict[str, Any]) -> None:
        os.kill(next(iter(found.values())).pid, signal.SIGKILL)

    sink = Watching(lambda: training(root), kill)
    assert run_two(two, root, sink) == "finished"
    check_whole(two, expected)
    killed = RunFolder(root / next(iter(sink.found)))
    assert any("resuming after step" in line for line in killed.log_tail(1000))
    assert any("has ended: it is lost" in line for line in sink.lines)
    assert len(workers_of(two)) == 3, "another took its place"
    by = {run.record().pid for run in computed(root)}
    assert len(by) >= 2, "both computed"


def computed(root: Path) -> list[RunFolder]:
    """The pretrainings and probes of a folder."""
    return [RunFolder(root / e.id) for e in History(root).list() if e.kind != "study"]


def started(words_: list[str], root: Path, data: Path) -> tuple[subprocess.Popen[bytes], RunFolder]:
    """A command in a process of its own, and the study that it makes."""
    before = {path.name for path in root.iterdir()}
    command = [sys.executable, "-m", "moco_tui", "--runs-dir", str(root), "--data-dir", str(data)]
    repository = Path(__file__).parents[2]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(  # type: ignore[call-overload]
        [*command, *words_], cwd=repository, start_new_session=True, **quiet
    )

    def study() -> RunFolder | None:
        assert process.poll() is None
        for path in root.glob("[!.]*/run.json"):
            folder = RunFolder(path.parent)
            if path.parent.name not in before and folder.record().kind == "study":
                return folder
        return None

    return process, until(study)


def test_a_killed_coordinator_and_its_workers_are_taken_over(
    root: Path, images: Path, tmp_path: Path, expected: dict[Cell, float | None]
) -> None:
    process, study = started(words(images, "--workers", "2"), root, tmp_path / "data")
    until(lambda: training(root))
    process.kill()
    process.wait()
    assert study.status() == "lost"
    assert run_two(study, root) == "finished"
    check_whole(study, expected)


def test_a_pause_and_a_stop_reach_the_whole(
    root: Path, images: Path, tmp_path: Path, call: Call, expected: dict[Cell, float | None]
) -> None:
    process, study = started(words(images, "--workers", "2"), root, tmp_path / "data")
    until(lambda: training(root))

    called = call("pause", study.id, "--timeout", "100")
    assert called.code == 0, called.err
    states = [run.record().status for run in computed(root)]
    assert "running" not in states
    assert "paused" in states
    assert {worker.record().status for worker in living_workers(study)} == {"paused"}
    called = call(*words(images))
    assert called.code == 2
    assert f"It is paused; moco-tui continue {study.id} lets it go on." in called.err
    called = call("resume", study.id)
    assert (called.code, study.record().status) == (0, "running"), called.err
    until(lambda: "paused" not in [run.record().status for run in computed(root)])

    called = call("stop", study.id, "--timeout", "100")
    assert called.code == 0, called.err
    assert living_workers(study) == []
    assert {run.status() for run in computed(root)} <= {"stopped", "finished"}
    assert process.wait(60) == 130
    assert study.status() == "stopped"
    assert call(*words(images, "--workers", "2")).code == 0
    check_whole(study, expected)


def test_ctrl_c_stops_all_workers(two: RunFolder, root: Path) -> None:
    sink = Watching(lambda: training(root), lambda found: "stop")
    assert run_two(two, root, sink) == "stopped"
    assert living_workers(two) == []
    assert {run.status() for run in computed(root)} <= {"stopped", "finished"}


def test_workers_go_on_while_the_study_is_handed_over(
    two: RunFolder, root: Path, expected: dict[Cell, float | None]
) -> None:
    left: list[set[int]] = []

    def begun() -> set[int]:
        """The workers that run or ran: one may be at its end before the other has begun."""
        records = [worker.record() for worker in workers_of(two)]
        return {record.pid for record in records if record.status != "queued"}

    def successor(lock_fd: int, device_fd: int | None) -> bool:
        left.append(until(lambda: len(found := begun()) == 2 and found))
        return True

    data = root.parent / "data"
    sink = Watching(lambda: training(root), lambda found: "hand-over")
    outcome = execute(
        two,
        data_dir=data,
        sink=sink,
        successor=successor,
        start_worker=lambda worker: start_worker(worker, data),
    )
    assert outcome == "handed-over"
    assert run_two(two, root) == "finished"
    check_whole(two, expected)
    assert begun() <= left[0], "no others were started"


def test_a_run_that_fails_in_a_worker_says_why_and_the_rest_goes_on(
    root: Path, images: Path, call: Call
) -> None:
    given = [*words(images), "--axis", "optim.lr=0.03,1000", "--set", "pretrain.moco.queue_size=16"]
    given = [w for w in given if w != "queue_sizes=16,48"]
    given.remove("--set")  # that of the queue sizes, the first
    # Of a rate of 1000 every step multiplies the weights by a thousand.
    given += ["--set", "pretrain.optim.weight_decay=1", "--set", "seeds=0"]
    called = call(*given, "--workers", "2", "--json")
    assert called.code == 1, called.err
    document = json.loads(called.out)
    (failed,) = document["failed"]
    assert "loss" in failed["error"]
    assert failed["error"] in called.err
    states = {cell["variant"]: cell["state"] for cell in document["cells"]}
    assert sorted(states.values()) == ["done", "done", "failed"]
    (study,) = (e for e in History(root).list() if e.kind == "study")
    ended = {worker.record().status for worker in workers_of(RunFolder(root / study.id))}
    assert ended == {"finished"}


def test_a_second_call_joins(
    root: Path, images: Path, tmp_path: Path, call: Call, expected: dict[Cell, float | None]
) -> None:
    process, study = started(words(images), root, tmp_path / "data")
    until(lambda: Units(study).holder(0))
    called = call(*words(images), "--json")
    assert called.code == 0, called.err
    assert f"joining study {study.id}, which process {process.pid} has" in called.err
    assert json.loads(called.out)["complete"]
    assert process.wait(60) == 0
    check_whole(study, expected)
    by = {run.record().pid for run in computed(root)}
    assert by == {process.pid, os.getpid()}, "both computed"


def on_devices(images: Path, devices: str) -> list[str]:
    given = words(images, "--devices", devices)
    at = given.index("--device")
    return given[:at] + given[at + 2 :]


def test_two_on_the_cpu_give_the_table_of_one(
    root: Path, images: Path, call: Call, expected: dict[Cell, float | None]
) -> None:
    called = call(*on_devices(images, "cpu:2"), "--json")
    assert called.code == 0, called.err
    assert json.loads(called.out)["complete"]
    (study,) = (RunFolder(root / e.id) for e in History(root).list() if e.kind == "study")
    check_whole(study, expected)
    assert study.record().device == "cpu:2"
    assert len({run.record().pid for run in computed(root)}) == 2, "both computed"
    # The same study on another device: there is nothing left.
    again = call(*on_devices(images, "cpu"), "--json")
    assert json.loads(again.out)["complete"]
    assert kinds(root) == RUNS


@pytest.mark.slow
def test_a_second_call_joins_with_its_devices(
    root: Path, images: Path, tmp_path: Path, call: Call, expected: dict[Cell, float | None]
) -> None:
    process, study = started(words(images), root, tmp_path / "data")
    until(lambda: Units(study).holder(0))
    called = call(*on_devices(images, "cpu"), "--json")
    assert called.code == 0, called.err
    assert f"joining study {study.id}, which process {process.pid} has" in called.err
    assert process.wait(60) == 0
    check_whole(study, expected)
    assert {run.record().pid for run in computed(root)} == {process.pid, os.getpid()}


# ------------------------------------------------------------------------ without any training


def fake_cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    show_cards(monkeypatch, *map(made_up, range(count)))


def test_who_joins_gets_a_card_that_no_worker_has(
    held: RunFolder, images: Path, call: Call, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    fake_cards(monkeypatch, 3)
    begun: list[str] = []

    def begin(worker: RunFolder, data_dir: Path) -> Any:
        begun.append(begun_study(worker).pretrain.runtime.device)
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr("moco_tui.cli.study_join.start_worker", begin)
    config = replace(configured(images), devices=("cuda:1",))
    (share,) = shares_of(config)
    worker = new_worker(held, with_share(config, share), "worker 1")
    with own(worker) as owner:
        owner.transition("running")
        taken = call(*on_devices(images, "cuda:1"))
        assert taken.code == 2
        assert f"On cuda:1 worker 1 (process {os.getpid()} on " in taken.err
        called = call(*on_devices(images, "all"), "--detach", "--json")
        assert called.code == 0, called.err
        assert begun == ["cuda:0", "cuda:2"]
        assert len(json.loads(called.out)["pids"]) == 2
        fake_cards(monkeypatch, 2)
        config = replace(config, devices=("cuda:0",))
        with own(new_worker(held, with_share(config, shares_of(config)[0]), "worker 2")) as other:
            other.transition("running")
            full = call(*on_devices(images, "all"))
            other.transition("stopped")
        assert full.code == 2
        assert "Each card has a worker of it already." in full.err
        owner.transition("stopped")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--devices", ""], "devices names none; it must be all, or"),
        (["--devices", "cuda:0,cuda:0"], "devices names cuda:0 twice"),
        (["--devices", "cuda:7"], "devices names cuda:7, and there is no card here that torch can"),
        (["--devices", "cpu:1000"], "1,000 workers on the CPU with 1 thread each are too many"),
        (["--devices", "cpu:2", "--workers", "2"], "--devices cpu:2 and --workers 2 both say how"),
        (["--devices", "cpu", "--device", "cpu"], "--devices cpu and --device cpu both say where"),
        (["--set", "devices=cpu:2", "--set", "workers=3"], "workers is 3, and devices names a"),
    ],
)
def test_devices_that_cannot_be_are_refused(
    root: Path, images: Path, call: Call, given: list[str], sentence: str
) -> None:
    words_ = on_devices(images, "cpu")
    called = call(*words_[: words_.index("--devices")], *given)
    assert called.code == 2
    assert sentence in called.err
    assert not list(root.glob("*/run.json"))


def test_a_begun_study_goes_on_on_other_devices(root: Path, images: Path, call: Call) -> None:
    study = create(root, "study", configured(images))
    with own(study) as owner:
        owner.transition("running")
        owner.transition("stopped")
    called = call("study", study.id, "--devices", "cuda:3")
    assert called.code == 2, called.err
    assert "devices names cuda:3" in called.err
    assert begun_study(study).devices == ()
    set_workers(study, 1, ("cpu:2",))
    assert begun_study(study).devices == ("cpu:2",)


@pytest.fixture
def held(root: Path, images: Path) -> Iterator[RunFolder]:
    """A study that this process has."""
    study = create(root, "study", configured(images))
    with own(study) as owner:
        owner.transition("running")
        owner.plan(Plan(total_steps=12))
        yield study
        owner.transition("stopped")


def test_a_call_that_finds_nothing_free_says_who_has_what(
    held: RunFolder, images: Path, call: Call
) -> None:
    units, host = Units(held), held.record().host
    with contextlib.ExitStack() as stack:
        for unit in range(len(pretrainings(configured(images)))):
            stack.enter_context(units.claimed(unit))
        called = call(*words(images))
    assert called.code == 2
    assert f"is computed by process {os.getpid()} on {host} since 20" in called.err
    for size, seed in ((16, 0), (48, 0), (16, 1), (48, 1)):
        part = f"K {size}, seed {seed} with process {os.getpid()} on {host} since 20"
        assert part in called.err
    assert f"Nothing is left that nobody has; moco-tui watch {held.id}" in called.err
    assert workers_of(held) == []


def test_a_call_that_finds_no_core_free_says_so(
    held: RunFolder, images: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.jobs.study_shares.available_cpus", lambda: 1)
    called = call(*words(images))
    assert called.code == 2
    assert "One worker more has no room here: 2 workers of a thread each are too" in called.err
    assert called.err.rstrip().endswith("there is 1 core for them.")
    assert workers_of(held) == []


def test_a_request_in_vain_says_what_it_waits_for(held: RunFolder, call: Call) -> None:
    worker = new_worker(held, configured_of(held), "worker 1")
    with own(worker) as owner:
        owner.transition("running")
        called = call("pause", held.id, "--timeout", "0.1")
        owner.transition("stopped")
    assert called.code == 2
    assert f"It waits for worker 1 (process {os.getpid()} on " in called.err


def configured_of(study: RunFolder) -> StudyConfig:
    return begun_study(study)


def test_what_is_left_of_a_lost_study_can_be_asked(root: Path, images: Path, call: Call) -> None:
    study = create(root, "study", configured(images))
    with own(study) as owner:
        owner.transition("running")
    assert study.status() == "lost"
    worker = new_worker(study, configured_of(study), "worker 1")
    with own(worker) as owner:
        owner.transition("running")
        called = call("stop", study.id, "--timeout", "0.1")
        assert owner.request() == "stop"
        owner.transition("stopped")
    assert called.code == 2
    assert "It waits for worker 1" in called.err
    assert "is lost; there is nobody to stop it" in call("stop", study.id).err


@pytest.mark.parametrize(
    ("workers", "sentence"),
    [
        ("0", "--workers is 0; it must be at least 1 and at most 1,024."),
        ("1000", "1000 workers of a thread each are too many: there "),
    ],
)
def test_a_number_of_workers_that_cannot_be_is_refused(
    root: Path, images: Path, call: Call, workers: str, sentence: str
) -> None:
    called = call(*words(images, "--workers", workers))
    assert called.code == 2
    assert sentence in called.err
    assert not list(root.glob("*/run.json"))


# ------------------------------------------------------------------------------ what has failed


def test_a_failed_cell_says_why_and_is_left_alone_until_it_is_asked_for(
    root: Path, images: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.jobs.pretrain_job as pretrain_job
    from engine.pretrain.loop import pretrain as real

    tried: list[int] = []

    def failing(config: Any, **rest: Any) -> Any:
        tried.append(config.moco.queue_size)
        if config.moco.queue_size == 48:
            raise TrainingError("The loss is not a number after step 3.")
        return real(config, **rest)

    why = "The loss is not a number after step 3."
    given = words(images, "--set", "seeds=0", "--set", "pretrain.optim.epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr(pretrain_job, "pretrain", failing)
        assert call(*given).code == 1
        assert tried == [16, 48]
        again = call(*given, "--json")
        assert again.code == 1
        assert tried == [16, 48], "left alone"
        assert "1 run failed and is left alone (1 cell); --retry-failed takes it up" in again.err
        document = json.loads(again.out)
        (failed,) = document["failed"]
        assert (failed["error"], failed["cells"]) == (why, 1)
        (cell,) = (c for c in document["cells"] if c["state"] == "failed")
        assert (cell["error"], cell["run"]) == (why, failed["run"])
    for form in ((), ("--markdown",)):
        shown = call(*given, "--show", *form)
        assert shown.code == 0
        assert failed["run"] in shown.out
        assert "The loss is not a number" in shown.out
    retried = call(*given, "--retry-failed", "--json")
    assert retried.code == 0, retried.err
    assert "taking up again what failed: 1 run" in retried.err
    assert json.loads(retried.out)["failed"] == []
    assert kinds(root) == {"study": 1, "pretrain": 2, "probe": 2}
