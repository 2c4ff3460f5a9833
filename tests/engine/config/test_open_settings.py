"""Settings that follow others, by kind of configuration."""

from __future__ import annotations

import pytest

from engine.config.data import DATA_SETS
from engine.config.fields import fields
from engine.config.open_settings import followed, following
from engine.config.resolve import resolve
from engine.config.schema import KINDS, StudyConfig


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_them_are_settings_of_the_kind(kind: str) -> None:
    type_ = KINDS[kind]
    known = list(fields(type_))
    assert set(following(type_)) | set(followed(type_)) <= set(known)
    assert list(following(type_)) == sorted(following(type_), key=known.index)
    assert bool(following(type_)) == (kind != "probe")


@pytest.mark.parametrize("source", [*DATA_SETS, "my.sets:birds"])
def test_a_study_of_other_than_ten_classes_tells_all_of_them_apart(source: str) -> None:
    part = DATA_SETS.get(source)
    classes = 0 if part is None else len(part.class_names)
    named = f"{source}:/x" if part is not None and part.argument else source
    config = resolve(StudyConfig, sets=(f"pretrain.data.source={named}",))
    assert config.tasks == (("all",) if classes not in (0, 10) else StudyConfig().tasks)


def test_tasks_that_are_named_stay() -> None:
    sets = ("pretrain.data.source=cifar100", "tasks=binary")
    assert resolve(StudyConfig, sets=sets).tasks == ("binary",)


@pytest.mark.parametrize(
    ("sets", "low"),
    [
        ((), (0.001, 0.01)),  # cifar10: 50 labels for ten classes
        (("pretrain.data.source=cifar100",), (0.01,)),  # 50 labels would not be one a class
        (("pretrain.data.source=stl10",), (0.01,)),  # 5,000 labels
        (("pretrain.data.source=svhn-extra",), (0.001, 0.01)),
        (("pretrain.data.limit=5000",), (0.01,)),
        (("pretrain.data.limit=500",), ()),
        (("pretrain.data.source=folder:/x",), ()),  # nobody knows how many
        (("pretrain.data.source=shapes",), ()),
    ],
)
def test_a_study_goes_down_to_a_thousandth_of_the_labels_where_a_class_has_one(
    sets: tuple[str, ...], low: tuple[float, ...]
) -> None:
    usual = StudyConfig().label_fractions
    assert resolve(StudyConfig, sets=sets).label_fractions == (*low, *usual)
    named = (*sets, "label_fractions=0.5")
    assert resolve(StudyConfig, sets=named).label_fractions == (0.5,)
