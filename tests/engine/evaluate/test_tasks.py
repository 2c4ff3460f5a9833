import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.data import default_task
from engine.config.schema import ProbeConfig, TaskConfig
from engine.data.dataset import Dataset, Split
from engine.errors import DataError
from engine.evaluate.tasks import labelled_subset, prepare_material, resolve_task, split_validation

CIFAR = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SHAPES = (
    "bars", "clover", "crescent", "cross", "disc", "dots", "ring", "square", "star", "triangle",
)  # fmt: skip


def some_labels(counts, seed=0):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    random.Random(seed).shuffle(labels)
    return torch.tensor(labels)


def test_binary_on_cifar10_tells_vehicles_from_animals_in_any_order_of_the_classes():
    for names in (CIFAR, tuple(reversed(CIFAR))):
        task = resolve_task(TaskConfig(name="binary"), names)
        vehicles = {"airplane", "automobile", "ship", "truck"}
        assert task.groups == ("vehicles", "animals")
        for label, name in enumerate(names):
            assert task.mapping[label] == (0 if name in vehicles else 1)


def test_binary_on_shapes_uses_every_class_once():
    task = resolve_task(TaskConfig(name="binary"), SHAPES)
    assert sorted(task.mapping.tolist()) == [0] * 5 + [1] * 5


@pytest.mark.parametrize("names", [CIFAR, SHAPES])
def test_five_is_the_first_five_and_leaves_the_rest_out(names):
    task = resolve_task(TaskConfig(name="five"), names)
    assert task.groups == names[:5]
    assert task.mapping.tolist() == [0, 1, 2, 3, 4, -1, -1, -1, -1, -1]
    assert task.targets(torch.tensor([9, 4, -1, 0])).tolist() == [-1, 4, -1, 0]
    assert task.restrict(torch.tensor([9, 4, -1, 0])).tolist() == [-1, 4, -1, 0]


def test_five_goes_by_the_names_and_not_by_the_order_of_the_folders():
    names = tuple(reversed(CIFAR))
    task = resolve_task(TaskConfig(name="five"), names)
    assert task.groups == CIFAR[:5]
    assert task.mapping.tolist() == [-1, -1, -1, -1, -1, 4, 3, 2, 1, 0]


def test_ten_wants_ten_classes_and_all_takes_any_number():
    assert resolve_task(TaskConfig(name="ten"), CIFAR).mapping.tolist() == list(range(10))
    assert resolve_task(TaskConfig(name="all"), CIFAR[:3]).mapping.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"ten classes, and this has 3; the task all"):
        resolve_task(TaskConfig(name="ten"), CIFAR[:3])


def test_two_classes_make_a_binary_task_and_five_a_five_class_task():
    assert resolve_task(TaskConfig(name="binary"), ("a", "b")).groups == ("a", "b")
    assert resolve_task(TaskConfig(name="five"), tuple("vwxyz")).groups == tuple("vwxyz")


@pytest.mark.parametrize("name", ["binary", "five"])
def test_an_undefined_task_says_what_to_do(name):
    with pytest.raises(DataError, match=f"The task {name} .*task all, or say in task.groups"):
        resolve_task(TaskConfig(name=name), ("a", "b", "c"))


def test_groups_of_the_configuration_are_used_as_written():
    config = TaskConfig(name="pets", groups={"pet": ("cat", "dog"), "other": ("ship", "frog")})
    task = resolve_task(config, CIFAR)
    assert task.groups == ("pet", "other")
    assert task.members == (("cat", "dog"), ("ship", "frog"))
    assert task.mapping.tolist() == [-1, -1, -1, 0, -1, 0, 1, -1, 1, -1]


def test_an_unknown_class_is_named_with_the_known_ones():
    config = TaskConfig(name="pets", groups={"pet": ("cat", "hamster"), "other": ("ship",)})
    with pytest.raises(DataError, match=r"hamster.*airplane, automobile.*truck"):
        resolve_task(config, CIFAR)


def test_images_without_classes_say_what_is_missing():
    with pytest.raises(DataError, match="no classes, and a probe needs labels"):
        resolve_task(TaskConfig(name="all"), ())
    with pytest.raises(DataError, match=r"one class \(cat\)"):
        resolve_task(TaskConfig(name="all"), ("cat",))


def dataset(train, test, names):
    def split(labels):
        labels = torch.tensor(labels)
        return Split(torch.zeros(len(labels), 3, 32, 32, dtype=torch.uint8), labels)

    return Dataset("d", split(train), None if test is None else split(test), names)


def test_the_material_holds_labelled_and_test_images_of_the_task_alone():
    names = ("a", "b", "c", "d")
    data = dataset([3, 2, 1, 0] * 10, [0, 3, 1, 2, 3], names)
    task = TaskConfig(name="t", groups={"x": ("d",), "y": ("a", "c")})
    got = prepare_material(ProbeConfig(task=task, label_fraction=0.5, validation=0.4), data)
    labels = data.train.labels[got.rows]
    assert torch.bincount(labels, minlength=4).tolist() == [5, 0, 5, 5]
    assert got.targets.tolist() == [{3: 0, 0: 1, 2: 1}[label] for label in labels.tolist()]
    assert torch.bincount(labels[got.validate], minlength=4).tolist() == [2, 0, 2, 2]
    assert sorted([*got.fit.tolist(), *got.validate.tolist()]) == list(range(15))
    assert got.test_rows.tolist() == [0, 1, 3, 4]
    assert got.test_targets.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        ([-1, -1], [0, 1], "The training images have no labels"),
        ([0, 1], None, "There are no test images"),
        ([0, 1], [], "There are no test images"),
        ([0, 0], [0, 1], "no training image of the class b, which the task all needs"),
        ([0, 1] * 3, [-1, -1], "No test image belongs to a class of the task all"),
        ([0, 0, 1, 1], [0, 1], r"leaves the class a \(2 training images\)"),
    ],
)
def test_data_that_lacks_something_is_refused_with_a_sentence(train, test, sentence):
    config = ProbeConfig(task=TaskConfig(name="all"), label_fraction=0.2)
    with pytest.raises(DataError, match=sentence):
        prepare_material(config, dataset(train, test, ("a", "b")))


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    fractions=st.tuples(st.floats(0.5, 1.0), st.floats(0.5, 1.0)),
    seed=st.integers(0, 2**31 - 1),
)
def test_subsets_are_stratified_nested_and_in_order(counts, fractions, seed):
    labels = some_labels(counts)
    small, large = sorted(fractions)
    inner, outer = (labelled_subset(labels, f, seed) for f in (small, large))
    assert set(inner.tolist()) <= set(outer.tolist())
    for fraction, rows in ((small, inner), (large, outer)):
        assert rows.tolist() == sorted(set(rows.tolist()))
        for label, count in enumerate(counts):
            # nearest whole number: at most half an image away, and never nothing
            taken = int((labels[rows] == label).sum())
            assert abs(taken - fraction * count) <= 0.5 + 1e-6
            assert taken >= 1


def test_the_usual_fractions_are_nested_and_exact():
    labels = some_labels([500] * 10)
    sizes: list[int] = []
    before: set[int] = set()
    for fraction in (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0):
        rows = set(labelled_subset(labels, fraction, 3).tolist())
        assert before <= rows
        sizes.append(len(rows))
        before = rows
    assert sizes == [50, 500, 1000, 1500, 2000, 2500, 5000]


def test_halves_round_up_also_where_binary_fractions_fall_short():
    assert len(labelled_subset(torch.zeros(10, dtype=torch.int64), 0.15, 0)) == 2
    assert len(labelled_subset(torch.zeros(50, dtype=torch.int64), 0.29, 0)) == 15  # 14.5
    assert len(labelled_subset(torch.zeros(5, dtype=torch.int64), 0.1, 0)) == 1


def test_a_subset_depends_on_its_seed_and_on_nothing_else():
    labels = some_labels([30] * 4)
    torch.manual_seed(1)
    random.seed(1)
    first = labelled_subset(labels, 0.3, 7)
    torch.manual_seed(2)
    random.seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, labelled_subset(labels, 0.3, 7))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, labelled_subset(labels, 0.3, 8))


def test_a_task_over_some_classes_uses_the_same_images_of_them():
    labels = some_labels([40] * 10)
    task = resolve_task(TaskConfig(name="five"), CIFAR)
    ten = set(labelled_subset(labels, 0.2, 0).tolist())
    five = set(labelled_subset(task.restrict(labels), 0.2, 0).tolist())
    assert five == {row for row in ten if labels[row] < 5}


def test_a_class_left_empty_is_named_with_its_count_and_the_smallest_fraction():
    labels = some_labels([100, 4, 100])
    with pytest.raises(DataError, match=r"0\.1 leaves the class b \(4 .*at least 0\.125\.") as e:
        labelled_subset(labels, 0.1, 0, class_names="abc")
    smallest = float(str(e.value).split()[-1].rstrip("."))
    assert (labels[labelled_subset(labels, smallest, 0)] == 1).sum() == 1


@pytest.mark.parametrize("count", [3, 7, 11, 4999])
def test_the_smallest_fraction_that_is_named_does_suffice(count):
    labels = torch.zeros(count, dtype=torch.int64)
    with pytest.raises(DataError) as error:
        labelled_subset(labels, 1e-7, 0)
    smallest = float(str(error.value).split()[-1].rstrip("."))
    assert len(labelled_subset(labels, smallest, 0)) == 1


def test_validation_takes_a_share_of_every_class_and_leaves_one():
    labels = some_labels([50, 2, 10, 3])
    fit, validate = split_validation(labels, 0.2, 0)
    assert sorted([*fit.tolist(), *validate.tolist()]) == list(range(65))
    assert torch.bincount(labels[validate]).tolist() == [10, 1, 2, 1]
    fit, validate = split_validation(labels, 0.9, 0)
    assert torch.bincount(labels[fit]).tolist() == [5, 1, 1, 1]


@pytest.mark.parametrize(
    ("smallest", "least", "held"), [(4, 5, 0), (5, 5, 1), (1, 5, 0), (2, 2, 1), (4, 2, 1)]
)
def test_nothing_is_held_out_below_the_least_labels_of_the_smallest_class(smallest, least, held):
    labels = some_labels([50, smallest, 10])
    fit, validate = split_validation(labels, 0.2, 0, least)
    assert sorted([*fit.tolist(), *validate.tolist()]) == list(range(len(labels)))
    expected = [10, held, 2] if held else [0, 0, 0]
    assert torch.bincount(labels[validate], minlength=3).tolist() == expected


def test_the_material_says_why_nothing_is_tuned():
    data = dataset([0, 1] * 20, [0, 1], ("a", "b"))
    task = TaskConfig(name="all")
    four, five = (
        prepare_material(ProbeConfig(task=task, label_fraction=share), data)
        for share in (0.2, 0.25)
    )
    assert len(four.validate) == 0
    assert "4 labels and that begins at 5" in four.untuned
    assert len(five.validate) == 2
    assert five.untuned == ""


def test_no_validation_where_a_class_has_one_image():
    fit, validate = split_validation(some_labels([50, 1]), 0.2, 0)
    assert len(validate) == 0
    assert len(fit) == 51


# ---------------------------------------------------------------------- labels of some images


def test_the_share_of_the_labels_is_that_of_the_labelled_images():
    labels = torch.cat([torch.arange(40) % 4, torch.full((300,), -1)])
    images = torch.zeros(len(labels), 3, 32, 32, dtype=torch.uint8)
    names = ("a", "b", "c", "d")
    test = Split(images[:8], torch.arange(8) % 4)
    dataset = Dataset("x", Split(images, labels), test, names)
    config = ProbeConfig(label_fraction=0.3, task=TaskConfig(name="all"))
    material = prepare_material(config, dataset)
    assert len(material.rows) == 12
    assert int(material.rows.max()) < 40
    alone = prepare_material(config, Dataset("x", Split(images[:40], labels[:40]), test, names))
    assert torch.equal(material.rows, alone.rows)
    assert torch.equal(material.fit, alone.fit)


@pytest.mark.parametrize("count", [2, 3, 4, 100])
def test_any_number_of_classes_is_told_apart_and_other_tasks_say_what_to_take(count):
    names = tuple(f"class {n:02d}" for n in range(count))
    task = resolve_task(TaskConfig(name="all"), names)
    assert task.groups == names
    assert task.targets(torch.arange(count)).tolist() == list(range(count))
    assert resolve_task(TaskConfig(name=default_task(count)), names).groups == names
    wrong = {"ten", "five", "binary"} - ({"binary"} if count == 2 else set())
    for name in wrong:
        with pytest.raises(DataError, match="the task all") as caught:
            resolve_task(TaskConfig(name=name), names)
        assert str(count) in str(caught.value)
        assert len(str(caught.value)) < 700
