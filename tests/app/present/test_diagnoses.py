"""What the curves of a pretraining mean: on recorded runs with one fault each, and healthy ones."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.fields import fields
from engine.config.metrics import MEASURES
from engine.config.schema import PretrainConfig
from engine.runs import RunFolder
from engine.runs.metric_writer import encode_line, void_line
from moco_tui.present.diagnoses import (
    DIAGNOSES,
    Finding,
    diagnose,
    evidence_stamp,
    short_lines,
)
from moco_tui.present.run_evidence import Evidence

from ..conftest import NOW, write_run
from ..recorded_logs import LOGS, log_of, recorded_run

FOUND: dict[str, set[str]] = {
    "healthy-quick": set(),
    "healthy-seed1": set(),
    "healthy-angle": set(),
    "healthy-mocov2": set(),
    "lr100": {"at-chance", "collapse", "dead-dimensions", "below-untrained"},
    "momentum0": {"collapse", "old-queue", "below-untrained"},
    "temperature1": {"at-chance"},
    "k16": {"below-untrained"},
    "largek": {"below-untrained"},
    "decay": {"collapse", "below-untrained"},
    "undone": {"collapse", "past-its-best", "below-untrained", "dead-dimensions", "shortcut"},
    "noaug": {"shortcut"},
    "leak": {"shortcut"},
}
"""Recorded runs, and what is found at some moment of them once the queue is full."""
LIVE = {"status": "running"}


def found_over(root: Path, name: str) -> list[set[str]]:
    """What is found after each line of a recorded log."""
    moments = []
    for count in range(1, len(log_of(name)["rows"]) + 1):
        folder = recorded_run(root, name, rows=count, id_=f"run{count}")
        moments.append({finding.name for finding in findings(folder)})
    return moments


def findings(folder: RunFolder) -> list[Finding]:
    log = folder.metrics()
    log.poll()
    return diagnose(log, folder.record())


def named(folder: RunFolder, name: str) -> str:
    return next((one.text for one in findings(folder) if one.name == name), "")


def values(name: str, points: dict[int, float]) -> list[bytes]:
    return [encode_line(step, step / 7, NOW, {name: value}) for step, value in points.items()]


def plain(root: Path, lines: list[bytes], **record: Any) -> RunFolder:
    """A healthy recorded run whose log is another one."""
    folder = recorded_run(root, "healthy-quick", id_=f"p{len(list(root.glob('p*')))}", **record)
    folder.metrics_path.write_bytes(b"".join(lines))
    return folder


@pytest.mark.parametrize("name", FOUND)
def test_each_fault_is_found_and_a_healthy_run_is_left_alone(root: Path, name: str) -> None:
    moments = found_over(root, name)
    assert set().union(*moments) - {"queue-filling"} == FOUND[name]


def test_every_recorded_run_is_judged() -> None:
    assert {path.stem for path in LOGS.glob("*.json")} == FOUND.keys()


@pytest.mark.parametrize("name", [name for name in FOUND if FOUND[name]])
def test_a_sentence_has_the_numbers_and_the_setting_to_change(root: Path, name: str) -> None:
    keys = fields(PretrainConfig).keys()
    for count in range(1, len(log_of(name)["rows"]) + 1):
        for finding in findings(recorded_run(root, name, rows=count, id_=f"run{count}")):
            assert any(letter.isdigit() for letter in finding.seen)
            assert any(key in finding.advice for key in keys), finding.advice
            assert finding.seen.endswith(".")
            assert finding.advice.endswith(".")


@pytest.mark.parametrize(
    ("name", "finding", "setting"),
    [
        ("lr100", "collapse", "optim.lr 100"),
        ("lr100", "at-chance", "optim.lr 100"),
        ("momentum0", "below-untrained", "moco.momentum 0;"),
        ("k16", "below-untrained", "moco.queue_size 16"),
        ("decay", "below-untrained", "optim.weight_decay 1;"),
        ("noaug", "shortcut", "augment.color_jitter.enabled = true"),
        ("leak", "shortcut", "moco.shuffle_keys = true"),
    ],
)
def test_the_setting_that_is_wrong_is_named(
    root: Path, name: str, finding: str, setting: str
) -> None:
    assert setting in named(recorded_run(root, name), finding)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"moco": {"shuffle_keys": False}}, "moco.shuffle_keys = true"),
        ({"model": {"bn_splits": 1}}, "model.bn_splits = 8"),
        ({"augment": {"color_jitter": {"enabled": True}}}, "augment"),
    ],
)
def test_a_shortcut_is_put_down_to_what_leaks(
    root: Path, settings: dict[str, Any], words: str
) -> None:
    folder = recorded_run(root, "noaug")
    record, log = folder.record(), folder.metrics()
    log.poll()
    for section, changed in settings.items():
        for key, value in changed.items():
            if isinstance(value, dict):
                record.config[section][key] |= value
            else:
                record.config[section][key] = value
    (text,) = [one.text for one in diagnose(log, record) if one.name == "shortcut"]
    assert words in text


def test_what_no_longer_holds_is_not_found_again(root: Path) -> None:
    moments = found_over(root, "momentum0")
    # The rate falls along its cosine, and keys stop to move.
    assert any("old-queue" in moment for moment in moments)
    assert "old-queue" not in moments[-1]
    assert any("queue-filling" in moment for moment in moments)
    assert "queue-filling" not in moments[-1]


def test_a_resumed_run_is_judged_by_what_was_kept(root: Path) -> None:
    folder = recorded_run(root, "lr100")
    assert named(folder, "collapse")
    with folder.metrics_path.open("ab") as file:  # resumed from step 7
        file.write(void_line(7, NOW))
    log = folder.metrics()
    log.poll()
    assert log.series("embedding/rank")[0][-1] == 7, "the log was cut"
    assert not named(folder, "collapse")
    assert not named(folder, "at-chance")


def test_the_most_important_comes_first_and_names_stay(root: Path) -> None:
    assert list(DIAGNOSES) == [
        "at-chance",
        "collapse",
        "shortcut",
        "dead-dimensions",
        "old-queue",
        "below-untrained",
        "past-its-best",
        "queue-filling",
    ]
    names = [finding.name for finding in findings(recorded_run(root, "lr100"))]
    assert names == sorted(names, key=list(DIAGNOSES).index)
    assert len(names) >= 3


@pytest.mark.parametrize(("keys", "said"), [(2048, True), (7168, True), (7200, False)])
def test_a_collapse_is_none_before_the_queue_was_filled_three_times(
    root: Path, keys: int, said: bool
) -> None:
    folder = recorded_run(root, "lr100")  # 84 steps, 256 keys each
    record, log = folder.record(), folder.metrics()
    log.poll()
    record.config["moco"]["queue_size"] = keys
    assert ("collapse" in [one.name for one in diagnose(log, record)]) == said


@pytest.mark.parametrize(("dim", "said"), [(16, True), (15, False)])
def test_a_low_rank_says_nothing_of_a_narrow_embedding(root: Path, dim: int, said: bool) -> None:
    folder = recorded_run(root, "lr100")
    record, log = folder.record(), folder.metrics()
    log.poll()
    record.config["model"]["dim"] = dim
    assert ("collapse" in [one.name for one in diagnose(log, record)]) == said


def test_the_stamp_changes_when_something_else_may_be_found(root: Path) -> None:
    stamps = []
    for count in range(len(log_of("momentum0")["rows"]) + 1):
        folder = recorded_run(root, "momentum0", rows=count, id_=f"run{count}")
        record, log = folder.record(), folder.metrics()
        log.poll()
        record.id = "same"
        stamps.append((evidence_stamp(log, record), diagnose(log, record)))
    for before, after in pairwise(stamps):
        assert before[1] == after[1] or before[0] != after[0]
    record.step += 1  # a step without a measure
    assert evidence_stamp(log, record) == stamps[-1][0]


# ------------------------------------------------------------------------------ the queue


@pytest.mark.parametrize(("step", "said"), [(0, False), (1, True), (7, True), (8, False)])
def test_a_queue_that_is_not_full_yet(root: Path, step: int, said: bool) -> None:
    # K 2048, 128 pairs a step in both directions: full after 8 steps. Without any measure.
    text = named(plain(root, [], step=step, **LIVE), "queue-filling")
    assert bool(text) == said
    if said:
        assert f"{256 * step:,} keys of 2,048" in text
        assert "after step 8" in text


def test_a_queue_that_never_was_full(root: Path) -> None:
    text = named(plain(root, [], step=7, status="finished"), "queue-filling")
    assert "was never full" in text


@pytest.mark.parametrize(
    ("agreement", "negative", "said"),
    [
        ([0.5, 0.5], 0.1, True),  # 0.5 of 0.9
        ([0.5, 0.9], 0.1, False),  # only once
        ([0.6, 0.6], 0.1, False),
        ([0.9, 0.9], 0.85, True),  # of an encoder that has just begun: two thirds of the way
        ([0.5, 0.5], 0.99, False),  # one point: said elsewhere
        ([math.nan, 0.5], 0.1, False),
    ],
)
def test_an_old_queue_is_one_whose_keys_have_moved_half_the_way(
    root: Path, agreement: list[float], negative: float, said: bool
) -> None:
    lines = values("queue/agreement", dict(enumerate(agreement, 15)))
    lines += values("contrast/negative", {15: negative, 16: negative})
    text = named(plain(root, lines), "old-queue")
    assert bool(text) == said
    if said:
        assert "8.00 steps old" in text  # K 2048 over 256 keys a step


# ------------------------------------------------------------------------------ kNN


@pytest.mark.parametrize("images", [200, 1000, 50_000])
def test_noise_is_the_binomial_standard_error_of_a_difference(root: Path, images: int) -> None:
    folder = plain(root, [], facts={"train_images": images})
    evidence = Evidence(folder.metrics(), folder.record())
    count = images // 2  # data.holdout=0.5
    first, second = 0.3, 0.4
    expected = 100 * math.sqrt(first * (1 - first) / count + second * (1 - second) / count)
    assert evidence.noise(30.0, 40.0) == pytest.approx(expected)


def test_without_a_number_of_images_everything_is_noise(root: Path) -> None:
    lines = values("knn/top1", {0: 90.0, 35: 10.0, 70: 10.0, 80: 10.0, 82: 10.0})
    assert findings(plain(root, lines, facts={}, untrained={"knn/top1": 90.0})) == []


@pytest.mark.parametrize(
    ("knn", "said"),
    [
        ({7: 45, 14: 40, 28: 30, 35: 30, 42: 30}, True),  # 15 points of 3.1
        ({7: 45, 14: 40, 28: 30, 35: 42, 42: 30}, False),  # it was up again
        ({7: 36, 28: 30, 35: 30, 42: 30}, False),  # two standard errors
        ({7: 45, 35: 30, 42: 30}, False),  # not for long
        ({7: 45, 28: 30, 35: 30, 42: math.nan}, False),
        ({28: 30, 35: 30, 42: 30, 49: 45}, False),  # now is the best
        ({}, False),
    ],
)
def test_a_knn_that_fell_for_long_and_beyond_noise(
    root: Path, knn: dict[int, float], said: bool
) -> None:
    text = named(plain(root, values("knn/top1", knn)), "past-its-best")
    assert bool(text) == said
    if said:
        assert "45.0 % at epoch 1" in text
        assert "@best" in text


@pytest.mark.parametrize(
    ("knn", "untrained", "said"),
    [
        ({28: 20, 35: 20}, 35.0, True),
        ({21: 20, 28: 20}, 35.0, False),  # four epochs
        ({28: 28, 35: 28}, 35.0, False),  # noise
        ({28: 20, 35: 30}, 35.0, False),
        ({28: 20, 35: 20}, None, False),
    ],
)
def test_an_encoder_that_is_worth_less_than_before(
    root: Path, knn: dict[int, float], untrained: float | None, said: bool
) -> None:
    before = None if untrained is None else {"knn/top1": untrained}
    text = named(plain(root, values("knn/top1", knn), untrained=before), "below-untrained")
    assert bool(text) == said


def test_views_that_are_too_alike_are_named_where_augmentations_are_off(root: Path) -> None:
    folder = plain(root, values("knn/top1", {28: 20, 35: 20}), untrained={"knn/top1": 35.0})
    record, log = folder.record(), folder.metrics()
    log.poll()
    assert "augment.rotation.degrees" in diagnose(log, record)[0].text
    record.config["augment"]["crop"]["enabled"] = False
    assert "augment.crop.enabled = true" in diagnose(log, record)[0].text


def test_early_in_a_long_schedule_nothing_is_held_against_the_untrained(root: Path) -> None:
    folder = plain(root, values("knn/top1", {28: 20, 35: 20}), untrained={"knn/top1": 35.0})
    record, log = folder.record(), folder.metrics()
    log.poll()
    record.config["optim"]["epochs"] = 2500
    assert diagnose(log, record) == []


# ------------------------------------------------------------------------------ odd runs


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_say_nothing(root: Path, value: float) -> None:
    names = [*MEASURES, "knn/top1", "train/epoch_loss"]
    lines = [encode_line(7 * n, n, NOW, dict.fromkeys(names, value)) for n in range(1, 13)]
    assert findings(plain(root, lines)) == []


@pytest.mark.parametrize("gone", [*MEASURES, "knn/top1", "train/epoch_loss"])
def test_a_metric_that_is_missing_breaks_nothing(root: Path, gone: str) -> None:
    folder = recorded_run(root, "lr100")
    rows = [{k: v for k, v in row.items() if k != gone} for row in log_of("lr100")["rows"]]
    lines = [
        encode_line(row.pop("step"), row.pop("epoch"), NOW, row) for row in rows if len(row) > 2
    ]
    folder.metrics_path.write_bytes(b"".join(lines))
    assert findings(folder)


def test_a_record_that_lacks_its_settings_breaks_nothing(root: Path) -> None:
    for name in ("lr100", "noaug", "momentum0"):
        folder = recorded_run(root, name, id_=name)
        record, log = folder.record(), folder.metrics()
        log.poll()
        for config in ({}, {"moco": 3}, {"moco": {"momentum": "x", "queue_size": None}}):
            diagnose(log, msgspec.structs.replace(record, config=config))
        diagnose(log, msgspec.structs.replace(record, steps_per_epoch=0, data=[], facts={}))


def test_an_old_run_and_other_kinds_are_left_alone(root: Path) -> None:
    folder = write_run(root, "k7m2qx", steps=120, total_steps=120, untrained={"knn/top1": 44.3})
    assert findings(folder) == []
    probe = write_run(root, "p2b9dz", kind="probe", steps=60)
    assert findings(probe) == []


# ------------------------------------------------------------------------------ lines


def test_one_finding_is_told_in_full_and_several_in_a_line_each() -> None:
    first = Finding("collapse", "It collapses: 0.1.", "Usually the rate: a lower optim.lr.")
    second = Finding("old-queue", "The queue is old: 30 steps.", "A smaller queue.")
    third = Finding("past-its-best", "It fell.", "Fewer epochs.")
    assert short_lines([], 78) == []
    assert " ".join(short_lines([first], 30)) == first.text
    assert short_lines([first, second], 78) == [first.seen, second.seen]
    assert short_lines([first, second, third], 78) == [first.seen, f"{second.seen} (+1: 6)"]
    for width in (10, 20, 40):
        for some in ([first], [first, second], [first, second, third]):
            lines = short_lines(some, width)
            assert len(lines) <= 2
            assert max(map(len, lines)) <= width
    assert short_lines([first, second], 15) == ["It collapses:…", "The queue is…"]


def test_control_characters_of_a_record_are_not_shown(root: Path) -> None:
    finding = Finding("collapse", "\x1b[31mred\n", "x")
    assert "\x1b" not in "".join(short_lines([finding], 40))
