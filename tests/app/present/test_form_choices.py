"""What choosers offer, and that any other value can still be typed."""

from __future__ import annotations

import pytest

from engine.config.data import DATA_SETS
from engine.config.heads import HEADS
from engine.config.models import ENCODERS
from moco_tui.present.form import FormState
from moco_tui.present.form_choices import OWN, Choice, choices_of, found_in, several, switched


def offered(kind: str, key: str) -> list[Choice]:
    state = FormState(kind)
    return choices_of(state.known[key], state)


def test_the_registries_are_offered() -> None:
    names = [choice.name for choice in offered("pretrain", "data.source")]
    assert names == [*DATA_SETS, OWN]
    assert [c.name for c in offered("probe", "data.source")] == ["as pretrained", *DATA_SETS, OWN]
    assert [c.name for c in offered("pretrain", "model.encoder")] == [*ENCODERS, OWN]
    assert [c.name for c in offered("study", "pretrain.model.encoder")] == [*ENCODERS, OWN]
    assert [c.name for c in offered("probe", "head")] == [*HEADS, OWN]
    assert offered("pretrain", "moco.queue_size") == []
    assert offered("pretrain", "optim.schedule") == [], "it takes no other value"


def test_the_tasks_and_one_with_groups_of_its_own() -> None:
    state = FormState("probe")
    field = state.known["task.name"]
    names = {"ten", "five", "binary", "all", OWN}
    assert {choice.name for choice in choices_of(field, state)} == names
    state.set("task.groups", '{pets = ["cat", "dog"], rest = ["ship"]}')
    state.set("task.name", "pets")
    assert {choice.name for choice in choices_of(field, state)} == names | {"pets"}


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        ("cifar10", "cifar10", ""),
        ("folder:/a b", "folder", "/a b"),
        ("folder:", "folder", ""),
        ("my.sets:birds", OWN, "my.sets:birds"),
        ("cifar", OWN, "cifar"),
    ],
)
def test_a_value_is_found_among_them(value: str, name: str, text: str) -> None:
    choice, typed = found_in(offered("pretrain", "data.source"), value)
    assert (choice.name, typed) == (name, text)
    assert choice.start + typed == value, "what is shown means the same"


def test_empty_is_a_choice_where_it_is_a_value() -> None:
    assert found_in(offered("probe", "data.source"), "")[0].name == "as pretrained"
    assert found_in(offered("pretrain", "runtime.device"), "mps")[0].name == OWN


def test_several_items_are_switched_in_their_order() -> None:
    state = FormState("probe")
    field = state.known["baselines"]
    items = several(field)
    assert items == ["random-init", "pixels", "supervised"]
    left = switched(items, state.values["baselines"], "pixels")
    assert left == ["random-init", "supervised"]
    assert switched(items, left, "pixels") == list(field.default), "as it was before"
    assert switched(items, ["mine:Head"], "pixels") == ["pixels", "mine:Head"]
    assert several(FormState("pretrain").known["augment.order"]) == [], "its order matters"
    assert several(FormState("study").known["heads"]) == ["linear", "logistic", "finetune"]
