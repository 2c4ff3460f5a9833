"""What a queued run needs of the devices, by its record, and whether that is free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import build, resolve
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.runs import RunFolder, create
from moco_tui.training.device_lanes import DeviceLanes, Wish, card_uuids

CARDS = ("aaaa", "bbbb", "cccc")


def lanes(cards: tuple[str, ...] = CARDS, **held: str) -> DeviceLanes:
    return DeviceLanes(lambda: cards, lambda key: held.get(key.removeprefix("cuda-"), ""))


def run_on(root: Path, device: str, kind: str = "pretrain") -> RunFolder:
    type_ = PretrainConfig if kind == "pretrain" else ProbeConfig
    return create(root, kind, resolve(type_, sets=(f"runtime.device={device}",)), parent="k7m2qx")


def a_study(root: Path, **settings: Any) -> RunFolder:
    return create(root, "study", build(StudyConfig, settings))


@pytest.mark.parametrize("kind", ["pretrain", "probe"])
def test_the_record_says_what_a_run_needs(root: Path, kind: str) -> None:
    known = lanes()
    assert known.wish_of(run_on(root, "cpu", kind)) == Wish(("cpu",))
    assert known.wish_of(run_on(root, "cuda", kind)) == Wish(("cuda:0",))
    assert known.wish_of(run_on(root, "cuda:2", kind)) == Wish(("cuda:2",))
    every = Wish(("cuda:0", "cuda:1", "cuda:2"), any_of=True)
    assert known.wish_of(run_on(root, "auto", kind)) == every
    assert lanes(("aaaa",)).wish_of(run_on(root, "auto", kind)) == Wish(("cuda:0",))
    assert lanes(()).wish_of(run_on(root, "auto", kind)).names in (("cpu",), ("mps",))


def test_a_study_needs_all_of_its_devices(root: Path) -> None:
    known = lanes()
    assert known.wish_of(a_study(root, devices=["cuda:1", "cpu:2"])) == Wish(("cuda:1", "cpu"))
    assert known.wish_of(a_study(root, devices=["all"])).names == ("cuda:0", "cuda:1", "cuda:2")
    assert known.wish_of(a_study(root, workers=2)) == Wish(("cuda:0", "cuda:1"))
    assert known.wish_of(a_study(root, **{"pretrain.runtime.device": "cpu"})) == Wish(("cpu",))
    assert known.wish_of(a_study(root)).any_of


def test_a_damaged_record_needs_what_there_is(root: Path) -> None:
    run = run_on(root, "cpu")
    run.record_path.write_text("{")
    assert lanes().wish_of(run).any_of


def test_a_device_is_free_when_no_run_of_this_app_and_no_other_process_has_it() -> None:
    known = lanes(aaaa="run x (process 7)")
    every = Wish(known.cards, any_of=True)
    assert known.assigned(every, ()) == ("cuda:1",)
    assert known.assigned(every, {"cuda:1"}) == ("cuda:2",)
    assert known.assigned(every, {"cuda:1", "cuda:2"}) == ()
    both = Wish(("cuda:1", "cuda:2"))
    assert known.assigned(both, ()) == ("cuda:1", "cuda:2")
    assert known.assigned(both, {"cuda:2"}) == ()
    assert known.assigned(Wish(("cuda:0",)), ()) == ()
    assert known.assigned(Wish(("cuda:9",)), ()) == ("cuda:9",), "its trainer says what is wrong"
    assert (known.holder("cuda:0"), known.holder("cpu")) == ("run x (process 7)", "")


def test_shared_cards_have_no_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCO_TUI_SHARE_DEVICE", "1")
    assert lanes(aaaa="run x").assigned(Wish(("cuda:0",)), ()) == ("cuda:0",)


def test_the_cards_are_asked_for_once() -> None:
    asked: list[int] = []

    def read() -> tuple[str, ...]:
        asked.append(1)
        return CARDS

    known = DeviceLanes(read, lambda key: "")
    assert known.cards == known.cards == ("cuda:0", "cuda:1", "cuda:2")
    assert asked == [1]
    assert len(card_uuids()) == 1  # of the machine of these tests, see conftest
