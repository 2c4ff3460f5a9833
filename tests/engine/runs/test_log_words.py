"""The lines of a run's log: what they say, and that none is long or can be obeyed."""

from __future__ import annotations

import pytest

from engine.runs.log_words import (
    answer_line,
    checkpoint_line,
    duration_words,
    end_line,
    epoch_line,
    new_rows,
    plan_lines,
    row_line,
    untrained_line,
    value_words,
)
from engine.runs.record import Record
from engine.sink import Plan

FACTS = {
    "precision": "bfloat16",
    "threads": 2,
    "kernels": "avx512_bf16",
    "instruction_set": "AVX512",
    "torch": "2.14",
    "step": "fused and captured",
    "train_images": 50_000,
    "test_images": 10_000,
    "classes": 10,
    "parameters": 356_128,
}


def test_a_plan_says_images_device_way_of_computing_and_how_much_there_is_to_do() -> None:
    plan = Plan(
        total_steps=1940,
        steps_per_epoch=97,
        pairs_per_step=512,
        device="cuda:0 NVIDIA H100",
        facts=FACTS,
        chance=16.64,
    )
    assert plan_lines(plan, "cifar10") == [
        "data: cifar10, 50,000 images to train on, 10,000 test images, 10 classes",
        "device: cuda:0 NVIDIA H100, bfloat16, 2 threads, kernels avx512_bf16, "
        "instructions AVX512, torch 2.14, steps fused and captured",
        "work: 1,940 steps, 20 epochs of 97 steps, 512 pairs a step, 356,128 parameters, "
        "loss at chance 16.64",
    ]


def test_a_plan_of_a_run_that_goes_on_says_from_where_and_nothing_that_it_lacks() -> None:
    plan = Plan(total_steps=6, start_step=3, facts={"kernels": "off", "threads": 1, "labels": 1})
    assert plan_lines(plan, "") == [
        "data: 1 label to fit on",
        "device: cpu, 1 thread",
        "work: goes on after step 3 of 6",
    ]


def test_a_plan_of_several_ranks_says_how_many_and_how_they_exchange() -> None:
    facts = {"threads": 4, "ranks": 8, "nodes": 2, "backend": "nccl"}
    (line,) = [line for line in plan_lines(Plan(total_steps=1, facts=facts), "") if "rank" in line]
    assert line == "device: cpu, 8 ranks of 4 threads on 2 nodes over nccl"
    facts |= {"ranks": 2, "nodes": 1, "backend": "gloo", "threads": 1}
    assert "device: cpu, 2 ranks of 1 thread over gloo" in plan_lines(
        Plan(total_steps=1, facts=facts), ""
    )


def test_no_line_is_long_or_has_a_control_character() -> None:
    hostile = "\x1b[2J\u202e" + "x" * 5000 + "\n"
    lines = plan_lines(Plan(total_steps=1, device=hostile, facts={"torch": hostile}), hostile)
    lines.append(row_line({"source": hostile, "top1": 5.0}))
    for line in lines:
        assert len(line.encode()) < 400
        assert line.isprintable()


def test_an_epoch_tells_what_has_a_column_and_how_long_it_took() -> None:
    values = {
        "train/loss": 9.1,
        "train/lr": 0.02066,
        "train/epoch_loss": 9.2294,
        "knn/top1": 62.64,
        "contrast/gap": 0.4,
    }
    line = epoch_line(13, 20, values, 52.2)
    assert line == "epoch 13 of 20: loss 9.229, kNN 62.6 %, lr 0.0207, 52 s"
    assert epoch_line(1, 2, {"train/epoch_loss": float("nan")}, None) == "epoch 1 of 2: loss nan"
    assert untrained_line({"knn/top1": 44.3}) == "untrained encoder: kNN 44.3 %"
    assert untrained_line({"contrast/gap": 0.1}) == ""


def test_values_have_the_digits_and_the_unit_of_their_metric() -> None:
    assert value_words("knn/top1", 60.0) == "60.0 %"
    assert value_words("train/lr", 3e-7) == "3e-07"
    assert value_words("of/mine", float("inf")) == "inf"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.4, "9.4 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (86_400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_a_checkpoint_an_answer_and_a_row() -> None:
    assert checkpoint_line(1200, 0.21, 47_080_000) == "checkpoint at step 1,200 (0.2 s, 44.9 MiB)"
    assert checkpoint_line(3, None, None) == "checkpoint at step 3"
    assert answer_line("pause", 7) == "paused, as was asked, after step 7"
    row = {"source": "pixels", "top1": 31.24, "low": 30.0, "high": 32.5, "seconds": 12.2}
    assert row_line(row) == "pixels: top-1 31.2 %, 95 % interval 30.0 to 32.5 %, 12 s"
    assert row_line({"top1": "x"}) == "?: "
    assert new_rows({"rows": [row, {"source": "b"}, 3]}, {"b"}) == [row]
    assert new_rows({"rows": 3}, set()) == new_rows({}, set()) == []


def test_the_end_counts_the_time_of_training_alone() -> None:
    record = Record(
        id="r",
        kind="pretrain",
        created=0.0,
        status="running",
        step=30,
        total_steps=1940,
        trained_seconds=100.0,
        running_since=5000.0,
    )
    assert end_line(record, "finished", 5031.0) == "finished; trained for 2 min 11 s"
    stopped = end_line(record, "handed-over", 5031.0)
    assert stopped == "handed over after step 30 of 1,940; trained for 2 min 11 s"
