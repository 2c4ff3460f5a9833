"""What a pretraining measured of itself, and what that means, in show, compare and watch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.metrics import MEASURES, METRICS
from engine.runs import RunFolder
from moco_tui.cli import watch

from ..app.recorded_logs import recorded_run
from .conftest import Call, trained


def test_show_tells_what_is_wrong_and_prints_the_last_measures(call: Call, root: Path) -> None:
    recorded_run(root, "lr100")
    out = call("show", "m3a7sr").out
    said = out.partition("what its measures say")[2].partition("\n\n")[0]
    assert [
        line.split()[0] for line in said.splitlines() if line.startswith("  ") and line[2] != " "
    ]
    for name in ("at-chance", "collapse", "below-untrained"):
        assert f"\n  {name} " in said
    table = out.partition("\nmeasures ")[2].partition("\n\n")[0]
    for name in MEASURES:
        assert table.count(METRICS[name].title) == 1
    rank = next(line for line in table.splitlines() if "effective rank" in line)
    assert rank.split()[-2:] == ["2.5", "-0.1"]
    metrics = out.partition("\nmetric ")[2].partition("\n\n")[0]
    assert "knn/top1" in metrics
    assert "embedding/rank" not in metrics, "each value stands once"


def test_show_as_json_lists_the_diagnoses_by_name(call: Call, root: Path) -> None:
    recorded_run(root, "lr100")
    facts = json.loads(call("show", "m3a7sr", "--json").out)
    names = [one["name"] for one in facts["diagnoses"]]
    assert names == ["at-chance", "collapse", "below-untrained"]
    assert all(one["text"].count("optim.lr 100") == 1 for one in facts["diagnoses"])
    recorded_run(root, "healthy-quick", id_="h3a7sr")
    assert json.loads(call("show", "h3a7sr", "--json").out)["diagnoses"] == []
    assert "what its measures say" not in call("show", "h3a7sr").out


def test_a_run_without_measures_has_neither(call: Call, root: Path) -> None:
    out = call("show", trained(root, losses=(12.0,) * 9).id).out
    assert "what its measures say" not in out
    assert "\nmeasures" not in out
    assert "knn/top1" in out


def test_a_log_that_cannot_be_read_is_said_once(call: Call, root: Path) -> None:
    folder = recorded_run(root, "lr100")
    folder.metrics_path.unlink()
    folder.metrics_path.mkdir()
    called = call("show", "m3a7sr")
    assert called.code == 0
    assert called.err.count("metrics.jsonl cannot be read") == 1
    assert "finished" in called.out


def test_compare_shows_measures_under_their_titles(call: Call, root: Path) -> None:
    recorded_run(root, "lr100")
    recorded_run(root, "healthy-quick", id_="h3a7sr")
    out = call("compare", "h3a7sr", "m3a7sr").out
    assert "effective rank " in out
    assert "embedding/rank" not in out
    rows = json.loads(call("compare", "h3a7sr", "m3a7sr", "--json").out)["metrics"]
    assert "embedding/rank" in {row["metric"] for row in rows}, "scripts keep the name"


def test_watch_says_each_fault_once_while_it_holds(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = _Growing(root)
    monkeypatch.setattr(watch, "_sleep", growing.sleep)
    monkeypatch.setattr(watch, "_monotonic", growing.clock)
    called = call("watch", "m3a7sr", "--interval", "1")
    lines = called.err.splitlines()
    for start in ("The queue holds ", "The embedding collapses", "The queue is too old", "After "):
        assert sum(line.startswith(start) for line in lines) == 1, called.err
    assert "collapses" not in called.out


class _Growing:
    """A run with momentum 0 whose log grows by a line whenever somebody waits."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, 0.0
        whole = recorded_run(root, "momentum0", id_="whole")
        self.lines = whole.metrics_path.read_bytes().splitlines(keepends=True)
        self.folder = recorded_run(root, "momentum0", rows=0, status="queued")
        self.states: Iterator[bytes] = iter(self.lines)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1.0)
        line = next(self.states, b"")
        with self.folder.metrics_path.open("ab") as file:
            file.write(line)
        record = json.loads(self.folder.record_path.read_text())
        step = json.loads(line)["step"] if line else record["step"]
        record |= {"step": max(record["step"], step), "status": "queued" if line else "finished"}
        self.folder.record_path.write_text(json.dumps(record))


SMALL = (
    "data.limit=512",
    "data.holdout=0.5",
    "optim.batch_size=64",
    "optim.epochs=8",
    "monitor.measure_every=8",
    "monitor.knn_k=20",
    "moco.queue_size=1024",
    "runtime.device=cpu",
)
BARE = (
    *(f"augment.{name}.enabled=false" for name in ("crop", "color_jitter", "blur", "rotation")),
    "model.dropout=0",
    "moco.shuffle_keys=false",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sets", "wanted"),
    [
        ((), set()),
        (("optim.lr=100",), {"collapse"}),
        (("moco.momentum=0", "optim.lr=0.3"), {"collapse"}),
        (BARE, {"shortcut"}),
        (("moco.queue_size=65536",), {"queue-filling"}),
    ],
)
def test_a_real_run_with_the_fault(
    call: Call, root: Path, sets: tuple[str, ...], wanted: set[str]
) -> None:
    chosen = [part for text in (*SMALL, *sets) for part in ("--set", text)]
    assert call("pretrain", "--preset", "quick", *chosen).code == 0
    (folder,) = [RunFolder(path.parent) for path in root.glob("*/run.json")]
    facts = json.loads(call("show", folder.id, "--json").out)
    names = {one["name"] for one in facts["diagnoses"]}
    assert names >= wanted
    assert wanted or not names
