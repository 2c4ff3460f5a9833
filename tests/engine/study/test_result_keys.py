"""Keys of results: equal where two probes give the same numbers, and only there."""

from __future__ import annotations

import pytest

from engine.config.resolve import build
from engine.config.schema import ProbeConfig
from engine.study.result_keys import plain, row_key


@pytest.mark.parametrize(
    ("head", "changes", "same"),
    [
        # Fine-tuning starts from the logistic head and has the budget of the supervised baseline.
        ("finetune", {"finetune.lr": [0.01]}, False),
        ("finetune", {"finetune.head_lr": 0.5}, False),
        ("finetune", {"finetune.fixed_lr": 0.5}, False),
        ("finetune", {"finetune.choose_length": False}, False),
        ("finetune", {"logistic.l2": [0.01]}, False),
        ("finetune", {"supervised.epochs": 7}, False),
        ("finetune", {"runtime.seed": 3}, False),
        ("finetune", {"linear.epochs": 7}, True),
        ("logistic", {"finetune.lr": [0.01]}, True),
        ("logistic", {"supervised.epochs": 7}, True),
        ("logistic", {"logistic.l2": [0.01]}, False),
    ],
)
def test_the_row_of_an_encoder_depends_on_the_settings_that_its_head_reads(
    head: str, changes: dict[str, object], same: bool
) -> None:
    one, other = (plain(build(ProbeConfig, {"head": head, **v})) for v in ({}, changes))
    assert (row_key(one, "moco") == row_key(other, "moco")) is same


def test_the_training_from_scratch_does_not_depend_on_the_head() -> None:
    found = {
        row_key(plain(build(ProbeConfig, {"head": head, "finetune.lr": [rate]})), "supervised")
        for head, rate in (("logistic", 0.1), ("finetune", 0.1), ("finetune", 0.2))
    }
    assert len(found) == 1


def test_a_probe_on_other_images_is_never_taken_for_one_on_those_of_the_pretraining() -> None:
    own, other = (plain(build(ProbeConfig, {"data.source": s})) for s in ("", "folder:/x"))
    for source in ("moco", "random-init", "pixels", "supervised"):
        assert row_key(own, source) != row_key(other, source)
    # What versions without that setting recorded has the key that it had.
    older = {key: value for key, value in own.items() if key != "data.source"}
    assert row_key(own, "moco") == row_key(older, "moco")


def test_a_choice_by_folds_and_one_by_a_held_out_part_are_never_taken_for_each_other() -> None:
    folds, part = (plain(build(ProbeConfig, {"logistic.folds": n})) for n in (5, 0))
    for source in ("moco", "random-init", "pixels"):
        assert row_key(folds, source) != row_key(part, source)
    assert row_key(folds, "supervised") == row_key(part, "supervised")


def test_a_choice_on_few_labels_of_earlier_versions_is_never_taken_for_fixed_values() -> None:
    now, before = (plain(build(ProbeConfig, {"tune_from": n})) for n in (5, 2))
    for source in ("moco", "random-init", "pixels", "supervised"):
        assert row_key(now, source) != row_key(before, source)
    older = {key: value for key, value in before.items() if key != "tune_from"}
    assert row_key(before, "moco") == row_key(older, "moco")
