"""Which charts there are to choose from, which are drawn, and where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs import MetricLog
from engine.runs.metric_writer import encode_line
from moco_tui.present.chart_choices import (
    MOST_CHARTS,
    chart_choices,
    chosen_charts,
    default_keys,
    matching,
    spans,
)
from moco_tui.present.queue_age import queue_words


def log_of(tmp_path: Path, *names: str, points: int = 1) -> MetricLog:
    path = tmp_path / "m.jsonl"
    lines = [encode_line(n, n / 10, n, dict.fromkeys(names, 1.0)) for n in range(1, points + 1)]
    path.write_bytes(b"".join(lines))
    log = MetricLog(path)
    log.poll()
    return log


def test_every_metric_and_every_device_can_be_drawn(tmp_path: Path) -> None:
    names = ("train/loss", "knn/top1", "contrast/negative", "embedding/rank", "mine/[b]x")
    choices = chart_choices(log_of(tmp_path, *names), ["cpu", "card0/use"], probe=False)
    drawn = {name for choice in choices for name in choice.names}
    assert drawn == set(names)
    assert [choice.key for choice in choices][:4] == ["loss", "accuracy", "similarity", "rank"]
    assert len({choice.key for choice in choices}) == len(choices)
    assert {choice.device: choice.title for choice in choices if choice.device} == {
        "cpu": "CPU",
        "card0/use": "card use",
    }


def test_of_a_probe_there_are_curves_only_where_there_are_points(tmp_path: Path) -> None:
    names = ("probe/pretrained/loss", "probe/pretrained/validation_top1")
    few = chart_choices(log_of(tmp_path, *names), [], probe=True)
    assert not {"loss", "accuracy"} & {choice.key for choice in few}
    many = chart_choices(log_of(tmp_path, *names, points=6), ["cpu"], probe=True)
    assert default_keys(many) == ["loss", "accuracy", "device:cpu"]


def test_by_default_what_is_measured_is_drawn_and_the_card_before_the_processor(
    tmp_path: Path,
) -> None:
    measures = ("contrast/positive", "embedding/rank", "queue/agreement")
    log = log_of(tmp_path, "train/loss", "train/lr", *measures)
    choices = chart_choices(log, ["cpu", "memory", "card0/use"], probe=False)
    wanted = ["loss", "accuracy", "similarity", "rank", "queue", "device:card0/use"]
    assert default_keys(choices) == wanted
    bare = chart_choices(log_of(tmp_path, "train/loss"), ["cpu"], probe=False)
    assert default_keys(bare) == ["loss", "accuracy", "device:cpu"]


def test_what_was_chosen_is_drawn_in_its_order_as_far_as_the_run_has_it(tmp_path: Path) -> None:
    choices = chart_choices(log_of(tmp_path, "train/loss", "train/lr"), ["cpu"], probe=False)

    def keys(*wanted: str) -> list[str]:
        return [choice.key for choice in chosen_charts(choices, wanted)]

    assert keys("train/lr", "rank", "loss", "train/lr") == ["train/lr", "loss"]
    assert keys("rank") == keys() == ["loss", "accuracy", "device:cpu"]
    assert len(keys(*(choice.key for choice in choices * 3))) <= MOST_CHARTS


@pytest.mark.parametrize(
    ("count", "rows"), [(1, [1]), (2, [2]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (6, [3, 3])]
)
def test_rows_are_full_and_as_even_as_can_be(count: int, rows: list[int]) -> None:
    widths = spans(count)
    assert len(widths) == count
    found = []
    while widths:  # a row is what fills twelve columns
        size = 12 // widths[0]
        assert sum(widths[:size]) == 12
        found.append(size)
        del widths[:size]
    assert found == rows


def test_no_chart_takes_no_room() -> None:
    assert spans(0) == []


def test_a_filter_finds_words_of_titles_keys_and_metrics_in_any_order(tmp_path: Path) -> None:
    log = log_of(tmp_path, "train/loss", "contrast/negative", "embedding/rank")
    choices = chart_choices(log, ["cpu"], probe=False)

    def found(text: str) -> list[str]:
        return [choice.key for choice in matching(choices, text)]

    assert found("") == [choice.key for choice in choices]
    assert found("RANK") == ["rank"]
    assert found("negative contrast") == ["similarity"]
    assert found("cpu") == ["device:cpu"]
    assert found("nothing like it") == []


@pytest.mark.parametrize(
    ("size", "batch", "symmetric", "words"),
    [
        (1024, 512, False, "oldest key 2 steps"),
        (1025, 512, True, "oldest key 2 steps"),
        (512, 512, False, "oldest key 1 step"),
        (True, 512, False, ""),
    ],
)
def test_the_age_of_a_key_is_how_long_the_queue_takes_to_fill(
    size: int, batch: int, symmetric: bool, words: str
) -> None:
    config = {"moco": {"queue_size": size, "symmetric": symmetric}, "optim": {"batch_size": batch}}
    assert queue_words(config) == words
