"""Which data a run has seen: what is told apart, and what a record says of several."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.runs.data_identity import (
    DataIdentity,
    OtherDataError,
    check_same_data,
    described,
    differences,
    digests_of,
    identity_in,
    last_identity,
    with_part,
)
from engine.runs.record import Record
from engine.runs.record_updates import set_plan
from engine.sink import Plan

ONE = DataIdentity(
    train=40, test=8, classes=2, train_images="a", train_labels="b", test_images="c",
    test_labels="d", class_names="e", decoder="Pillow 1",
)  # fmt: skip
OTHER = replace(ONE, train_images="x")


def test_an_identity_survives_a_record_and_what_stands_beside_it() -> None:
    assert identity_in(ONE.facts()) == ONE
    assert identity_in({"step": 3, **ONE.facts()}) == ONE
    assert identity_in(None) is None
    assert identity_in({}) is None
    assert identity_in({"train": "many"}) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_images": "x"}, ["the training images"]),
        ({"train_labels": "x"}, ["the training labels"]),
        ({"train": 43, "train_images": "x", "train_labels": "y"},
         ["the number of training images (40 then, 43 now)"]),
        ({"class_names": "x"}, ["the names of the classes"]),
        ({"classes": 3, "class_names": "x"}, ["the names of the classes (2 then, 3 now)"]),
        ({"test_images": "x", "test_labels": "y"}, ["the test images", "the test labels"]),
        ({"decoder": "Pillow 2"}, []),
        ({"train_images": "x", "decoder": "Pillow 2"},
         ["the training images (decoded by Pillow 1 then and Pillow 2 now)"]),
    ],
)  # fmt: skip
def test_what_differs_is_said(changes: dict[str, object], words: list[str]) -> None:
    now = replace(ONE, **changes)
    assert differences(ONE, now, test=True) == words
    training_only = [word for word in words if "test" not in word]
    assert differences(ONE, now, test=False) == training_only
    assert (ONE.digest == now.digest) == (not words)
    assert (ONE.train_digest == now.train_digest) == (not training_only)


def test_other_data_are_refused_unless_they_are_allowed() -> None:
    def check(*, allowed: bool, then: DataIdentity | None = ONE) -> str:
        return check_same_data(then, OTHER, whose="run a", test=False, allowed=allowed)

    with pytest.raises(OtherDataError, match="run a began with: the training images changed"):
        check(allowed=False)
    assert "the training images changed" in check(allowed=True)
    assert check(allowed=False, then=None) == "", "an earlier version recorded nothing"
    assert check_same_data(ONE, ONE, whose="run a", test=True, allowed=False) == ""


def test_a_record_says_which_data_from_which_step() -> None:
    record = Record(id="a", kind="pretrain", created=0.0)

    def go_on(step: int, data: DataIdentity) -> list[tuple[int, str]]:
        set_plan(record, Plan(total_steps=9, start_step=step, data=data.facts()))
        return [(part["step"], part["train_images"]) for part in record.data]

    assert go_on(0, ONE) == [(0, "a")]
    assert go_on(3, ONE) == [(0, "a")]
    assert go_on(5, OTHER) == [(0, "a"), (5, "x")]
    assert last_identity(record.data) == OTHER
    assert go_on(5, ONE) == [(0, "a")], "steps from 5 on are computed again"
    assert go_on(7, OTHER) == [(0, "a"), (7, "x")]
    assert go_on(0, OTHER) == [(0, "x")]
    assert with_part([], 4, ONE.facts())[0]["step"] == 4, "a run of an earlier version"
    assert with_part([], 4, {}) == []


def test_the_data_of_a_run_in_a_line() -> None:
    parts = with_part([], 0, ONE.facts())
    assert described([]) == ""
    assert described(parts) == f"40 to train, 8 to test; digest {ONE.digest}"
    assert described(with_part(parts, 3, OTHER.facts()), parts) == (
        "40 to train, 8 to test; others from step 3 on; not those that the encoder was pretrained "
        f"on; digest {OTHER.digest}"
    )
    assert described(parts, parts) == described(parts)


def test_a_run_that_has_seen_two_sets_is_of_neither() -> None:
    assert digests_of([]) == ("", "")
    assert digests_of([ONE.facts()]) == (ONE.train_digest, ONE.digest)
    tested = replace(ONE, test_images="x")
    train, whole = digests_of([ONE.facts(), tested.facts()])
    assert train == ONE.train_digest, "the training images were the same"
    assert whole not in (ONE.digest, tested.digest)
    assert digests_of([ONE.facts(), OTHER.facts()])[0] not in (ONE.train_digest, OTHER.train_digest)
