"""What is known of a metric, registered or not, and what a word for one means."""

from __future__ import annotations

import pytest

from engine.config.fields import fields
from engine.config.metrics import METRICS, Metric, headline, metric, named, registered
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.history.entry import Entry
from engine.history.filters import parse_filter, sort_entries
from engine.runs import direction


@pytest.mark.parametrize(
    ("name", "way", "chart", "unit"),
    [
        ("train/loss", -1, "loss", ""),
        ("train/epoch_loss", -1, "", ""),
        ("train/lr", 0, "", ""),
        ("knn/top1", 1, "accuracy", "%"),
        ("probe/pretrained/test_top1", 1, "accuracy", "%"),
        ("probe/pixels/validation_top1", 1, "accuracy", "%"),
        ("probe/pixels/loss", -1, "loss", ""),
        ("probe/pixels/validation_loss", -1, "", ""),
        ("probe/pixels/test_balanced", 0, "", ""),
        # Of the user's own, and those of earlier versions: their names say it.
        ("mine/top1", 1, "accuracy", "%"),
        ("mine/accuracy_of_cats", 1, "accuracy", "%"),
        ("mine/loss", -1, "loss", ""),
        ("mine/loss_of_cats", -1, "", ""),
        ("mine/gradient", 0, "", ""),
        ("probe/test_top1", 1, "accuracy", "%"),
    ],
)
def test_direction_chart_and_unit(name: str, way: int, chart: str, unit: str) -> None:
    known = metric(name)
    assert (known.direction, known.chart, known.unit) == (way, chart, unit)
    assert direction(name) == way


def test_every_entry_is_found_under_its_own_name() -> None:
    for name, entry in METRICS.items():
        assert registered(name.replace("*", "anything")) is entry


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("train/loss", ""),
        ("train/epoch_loss", "full-queue"),
        ("train/lr", ""),
        ("knn/top1", "training"),
        ("probe/pixels/validation_top1", "training"),
        ("mine/loss", "training"),
        ("mine/gradient", ""),
    ],
)
def test_of_which_values_there_is_a_best(name: str, best: str) -> None:
    assert metric(name).best == best


def test_what_two_runs_must_share_is_a_setting_or_a_group_of_them() -> None:
    known = {"data", "augment", "task"}  # groups; of a probe "data" is that of its encoder
    known |= set(fields(PretrainConfig)) | set(fields(ProbeConfig))
    for entry in METRICS.values():
        assert set(entry.same) <= known
        assert bool(entry.direction) == bool(entry.same), "the direction of what is compared"


def test_what_stands_for_a_run() -> None:
    values = {"knn/test_top1": 1.0, "knn/top1": 2.0, "train/loss": 3.0}
    assert headline(values, "accuracy") == "knn/top1"
    assert headline(values, "loss") == "train/loss"
    baselines = {"probe/random-init/test_top1": 1.0, "probe/pixels/test_top1": 2.0}
    assert headline(baselines, "accuracy") == "probe/pixels/test_top1"
    assert headline(baselines | {"probe/pretrained/test_top1": 0.0}, "accuracy") == (
        "probe/pretrained/test_top1"
    )
    assert headline({"probe/test_top1": 1.0}, "accuracy") == "probe/test_top1"
    assert headline({"mine/accuracy": 1.0, "mine/loss": 1.0}, "accuracy") == ""


def test_a_word_for_a_metric() -> None:
    assert named("knn", ()) == ["knn/top1"]
    assert named("loss", ("mine/loss",)) == ["train/loss"]
    assert named("epoch_loss", ()) == ["train/epoch_loss"]
    assert named("probe", ()) == ["probe/pretrained/test_top1"]
    assert named("probe", ("probe/top1",)) == ["probe/pretrained/test_top1", "probe/top1"]
    assert named("probe/pixels/test_top1", ()) == ["probe/pixels/test_top1"]
    assert named("mine", ("mine/a", "mine/b")) == ["mine/a", "mine/b"]
    assert named("nothing", ()) == []


def test_metrics_of_a_pattern_are_filtered_and_sorted_by() -> None:
    low = Entry(
        id="low",
        last={
            "probe/pretrained/test_top1": 20.0,
            "probe/pixels/test_top1": 25.0,
            "probe/supervised/test_top1": 70.0,
            "probe/supervised/test_balanced": 70.0,
        },
    )
    high = Entry(id="high", last={"probe/pretrained/test_top1": 60.0})
    none = Entry(id="none", last={"train/loss": 99.0})
    for query, wanted in (
        ("test_top1>10", ["low", "high"]),
        ("test_top1>50", ["high"]),  # the probe's own, not that of a baseline
        ("test_balanced>50", []),
        ("probe/*/test_top1>50", ["low", "high"]),
        ("probe>50", ["high"]),
        ("probe/pixels/test_top1<30", ["low"]),
    ):
        matches = parse_filter(query)  # as the app asks: without the names that runs have
        assert [entry.id for entry in (low, high, none) if matches(entry)] == wanted, query
    assert [e.id for e in sort_entries([low, none, high], "-test_top1")] == ["high", "low", "none"]


def test_one_more_entry_is_filtered_and_sorted_by(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Metric(name="train/*/drift", direction=-1, key="wander")
    monkeypatch.setitem(METRICS, entry.name, entry)
    a, b = (Entry(id=i, last={f"train/{i}/drift": v}) for i, v in (("a", 2.0), ("b", 1.0)))
    for key in ("wander", "drift", "train/b/drift"):
        matches = parse_filter(f"{key}<1.5")
        assert [e.id for e in (a, b) if matches(e)] == ["b"], key
    assert [e.id for e in sort_entries([a, b], "drift")] == ["b", "a"]
    assert direction("train/a/drift") == -1
