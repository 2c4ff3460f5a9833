"""Settings that follow others, by kind of configuration."""

from __future__ import annotations

import msgspec
import pytest

from engine.config.data import DATA_SETS
from engine.config.fields import fields
from engine.config.missing_settings import read_config
from engine.config.open_settings import followed, following, open_defaults
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
        ((), (0.001, 0.01, 0.02, 0.05)),  # cifar10: 50 labels for ten classes
        (
            ("pretrain.data.source=cifar100",),
            (0.01, 0.02, 0.05),
        ),  # 50 labels would not be one a class
        (("pretrain.data.source=stl10",), (0.01, 0.02, 0.05)),  # 5,000 labels
        (("pretrain.data.source=svhn-extra",), (0.001, 0.01, 0.02, 0.05)),
        (("pretrain.data.limit=5000",), (0.01, 0.02, 0.05)),
        (("pretrain.data.limit=500",), (0.02, 0.05)),
        (("pretrain.data.limit=150",), ()),
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


@pytest.mark.parametrize(
    ("sets", "subsets"),
    [
        ((), 1),  # the heads leave the encoder frozen
        (("heads=logistic,finetune",), 3),
        (("heads=finetune", "subset_seeds=4,5,6,7,8"), 5),
        (("heads=finetune", "subset_seeds=9"), 1),
        (("heads=finetune", "supervised_subsets=2"), 2),
        (("heads=mine.heads:Own",), 1),  # nobody knows what it trains
    ],
)
def test_every_subset_is_trained_from_scratch_where_a_head_trains_the_encoder(
    sets: tuple[str, ...], subsets: int
) -> None:
    assert resolve(StudyConfig, sets=sets).supervised_subsets == subsets


@pytest.mark.parametrize("value", [7, "finetune", None, [["finetune"]], [7]])
def test_lists_that_are_none_are_left_to_the_check_of_the_values(value: object) -> None:
    named = {"heads": value, "subset_seeds": value}
    assert "supervised_subsets" not in open_defaults(StudyConfig, named)


def test_what_a_study_became_stays_when_its_record_is_read() -> None:
    """A begun study keeps its shares and subsets: nothing is filled in behind its back."""
    config = resolve(StudyConfig, sets=("heads=finetune",))
    then = msgspec.structs.replace(config, label_fractions=(0.001, 0.01, 0.1), supervised_subsets=1)
    assert read_config("study", msgspec.to_builtins(then), "It") == then
