"""A run followed from its folder alone, until it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config.moco_schema import MocoConfig
from engine.config.schema import PretrainConfig
from engine.runs import RunOwner, create
from engine.runs.run_lock import RunLock
from moco_tui.cli import watch
from moco_tui.cli.output import width_of
from tests.hand_clock import Clock

from .conftest import Call, begin, trained


class ScriptedClock(Clock):
    """Time that passes only while the command waits; a script of what the trainer does then."""

    def __init__(self) -> None:
        super().__init__()
        self.script: Iterator[Any] = iter(())

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        act = next(self.script, None)
        if act is None:
            pytest.fail("the command waits although the run has ended")
        act()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ScriptedClock:
    clock = ScriptedClock()
    monkeypatch.setattr(watch, "_sleep", clock.sleep)
    monkeypatch.setattr(watch, "_monotonic", clock)
    return clock


def step(owner: RunOwner, number: int, **values: float) -> Callable[[], None]:
    """The trainer takes a step, and all of it is on disk."""

    def act() -> None:
        named = {name.replace("_", "/", 1): value for name, value in values.items()}
        owner.metrics(number, number / 10, {"train/loss": 12.0 - number, "train/lr": 0.06} | named)
        owner.checkpointed(number)

    return act


def end(owner: RunOwner, status: Any, **changes: Any) -> Callable[[], None]:
    def act() -> None:
        owner.transition(status, **changes)
        owner.close()

    return act


@pytest.mark.parametrize(
    ("status", "changes", "code", "said"),
    [
        ("finished", {}, 0, ""),
        ("stopped", {}, 130, "resume"),
        ("failed", {"error": "The loss became nan at step 3."}, 1, "loss became nan"),
    ],
)
def test_lines_until_the_run_ends_and_its_exit_code(
    call: Call, root: Path, clock: ScriptedClock, status: str, changes: Any, code: int, said: str
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)
    clock.script = iter(
        [
            step(owner, 1),
            step(owner, 2, knn_top1=41.25),
            step(owner, 11),
            end(owner, status, **changes),
        ]
    )
    called = call("watch", folder.id, "--interval", "1")
    assert called.code == code
    lines = [line.split("  ", 1)[1] for line in called.out.splitlines()]
    assert lines[0].startswith("running  epoch 1/4  step 0/40")
    assert lines[1].startswith("running  epoch 1/4  step 1/40  loss 11.00  lr 0.0600")
    assert "kNN 41.2 %" in lines[2]
    assert lines[3].startswith("running  epoch 2/4  step 11/40  loss 1.000  ")
    assert lines[4].startswith(f"{status}  epoch 2/4  step 11/40")
    assert len(lines) == 5
    assert "\x1b" not in called.out
    assert "\r" not in called.out
    assert said in called.err


def test_between_lines_passes_the_interval_but_states_are_told_at_once(
    call: Call, root: Path, clock: ScriptedClock
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)
    looks: list[Callable[[], None]] = [step(owner, n) for n in range(1, 25)]
    looks += [lambda: owner.transition("paused"), lambda: owner.transition("running")]
    clock.script = iter([*looks, end(owner, "finished")])
    out = call("watch", folder.id, "--interval", "10").out
    states = [line.split("  ")[1] for line in out.splitlines()]
    assert states == ["running", "running", "running", "paused", "running", "finished"]


def test_an_encoder_that_does_not_learn_is_told_of_once(
    call: Call, root: Path, clock: ScriptedClock
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)
    chance = folder.record().chance
    assert chance > 0
    looks = [step(owner, 10 * n, train_epoch_loss=chance) for n in range(1, 9)]
    clock.script = iter([*looks, end(owner, "finished")])
    called = call("watch", folder.id, "--interval", "1")
    assert called.err.count("The encoder has not learned: after 5 epochs") == 1
    assert called.err.count("has not learned") == 1
    assert "has not learned" not in called.out


def test_a_queued_run_is_waited_for(call: Call, root: Path, clock: ScriptedClock) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owners: list[RunOwner] = []
    clock.script = iter(
        [lambda: None, lambda: owners.append(begin(folder)), lambda: end(owners[0], "finished")()]
    )
    called = call("watch", folder.id)
    assert called.code == 0
    assert [line.split("  ")[1] for line in called.out.splitlines()] == [
        "queued",
        "running",
        "finished",
    ]


@pytest.mark.parametrize("status", ["stopped", "failed"])
def test_a_run_that_a_process_is_about_to_resume_is_followed(
    call: Call, root: Path, clock: ScriptedClock, status: str
) -> None:
    folder = trained(root, status=status)
    lock = RunLock(folder.lock_path)
    assert lock.acquire()
    owners: list[RunOwner] = []

    def resume() -> None:
        lock.release()
        owners.append(begin(folder))

    clock.script = iter([lambda: None, resume, lambda: end(owners[0], "finished")()])
    called = call("watch", folder.id)
    assert called.code == 0
    assert [line.split("  ")[1] for line in called.out.splitlines()] == [
        status,
        "running",
        "finished",
    ]


def test_a_lost_run_ends_with_1_and_says_where_it_would_go_on(
    call: Call, root: Path, clock: ScriptedClock
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)
    clock.script = iter([step(owner, 7), owner.close])
    called = call("watch", folder.id, "--interval", "1")
    assert called.code == 1
    assert called.out.splitlines()[-1].split("  ")[1] == "lost"
    assert "from step 7" in called.err


@pytest.mark.parametrize(
    ("status", "code"), [("finished", 0), ("stopped", 130), ("failed", 1), (None, 1)]
)
def test_a_run_that_ended_before_is_one_line(
    call: Call, root: Path, clock: ScriptedClock, status: str | None, code: int
) -> None:
    called = call("watch", trained(root, status=status).id)
    assert called.code == code
    assert len(called.out.splitlines()) == 1


def test_control_c_leaves_the_run_alone(call: Call, root: Path, clock: ScriptedClock) -> None:
    folder = create(root, "pretrain", PretrainConfig())

    def interrupt() -> None:
        raise KeyboardInterrupt

    with begin(folder) as owner:
        clock.script = iter([step(owner, 1), interrupt])
        called = call("watch", folder.id)
        assert called.code == 130
        assert "it goes on" in called.err
        assert folder.status() == "running"
        assert folder.pending_requests() == []


def test_a_run_that_does_not_go_on_is_not_said_to(
    call: Call, root: Path, clock: ScriptedClock
) -> None:
    folder = create(root, "pretrain", PretrainConfig())

    def interrupt() -> None:
        raise KeyboardInterrupt

    with begin(folder) as owner:
        owner.transition("paused")
        clock.script = iter([interrupt])
        called = call("watch", folder.id)
    assert called.err.strip().endswith(f"no longer watching run {folder.id}; it is paused")


def test_a_folder_that_is_deleted_meanwhile_is_a_sentence(
    call: Call, root: Path, clock: ScriptedClock
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)
    clock.script = iter([lambda: folder.path.rename(root / "elsewhere")])
    called = call("watch", folder.id)
    owner.close()
    assert called.code == 2
    assert f"folder of run {folder.id} is gone" in called.err
    assert called.err.count("\n") == 1


def test_json_lines(call: Call, root: Path, clock: ScriptedClock) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)
    clock.script = iter(
        [
            step(owner, 1),
            step(owner, 2),
            step(owner, 3, knn_top1=float("nan")),
            end(owner, "finished"),
        ]
    )
    facts = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"bare {name}"))
        for line in call("watch", folder.id, "--json", "--interval", "1").out.splitlines()
    ]
    assert [f["step"] for f in facts] == [0, 1, 2, 3, 3]
    assert facts[3]["metrics"]["knn/top1"] == "NaN"
    assert facts[-1]["state"] == "finished"
    assert facts[-1]["eta_seconds"] is None


def test_a_terminal_shows_one_line_that_is_written_over(
    call: Call, root: Path, clock: ScriptedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_updates_a_line", lambda: True)
    monkeypatch.setattr(watch, "terminal_width", lambda: 30)
    # Of a queue that is not full a line is said between those that are written over.
    folder = create(root, "pretrain", PretrainConfig(moco=MocoConfig(queue_size=16)))
    owner = begin(folder)
    clock.script = iter([step(owner, 1), step(owner, 2), end(owner, "finished")])
    out = call("watch", folder.id).out
    assert out.count("\n") == 2  # one for each state
    assert out.endswith("\n")
    drawn = [part.removesuffix("\n") for part in out.split("\r")[1:]]
    assert len(drawn) == 4
    for part in drawn:
        assert part.endswith("\x1b[K")
        assert width_of(part.removesuffix("\x1b[K")) <= 29


def test_side_work_is_shown_while_no_step_passes(
    call: Call, root: Path, clock: ScriptedClock
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)

    def side_work(done: int) -> Callable[[], None]:
        def act() -> None:
            owner.progress("kNN\x1b", done, 9)
            owner.checkpointed(0)

        return act

    clock.script = iter([side_work(3), side_work(6), end(owner, "finished")])
    out = call("watch", folder.id, "--interval", "1").out
    assert "kNN? 3/9" in out
    assert "kNN? 6/9" in out
    assert "kNN" not in out.splitlines()[-1]


def test_lines_that_are_no_metrics_are_said_once(
    call: Call, root: Path, clock: ScriptedClock
) -> None:
    folder = create(root, "pretrain", PretrainConfig())
    owner = begin(folder)

    def damage() -> None:
        with folder.metrics_path.open("ab") as file:
            file.write(b"{no metric\n")

    clock.script = iter(
        [step(owner, 1), damage, step(owner, 2), damage, step(owner, 3), end(owner, "finished")]
    )
    called = call("watch", folder.id, "--interval", "1")
    assert called.code == 0
    assert called.err.count(f"Some lines of {folder.metrics_path} are no metrics") == 1
