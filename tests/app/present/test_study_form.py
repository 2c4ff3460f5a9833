"""The axes of a study as typed, and the size that the form tells beside them."""

from __future__ import annotations

import itertools

import pytest

from engine.config.schema import StudyConfig
from engine.study import grid
from moco_tui.present import study_form as studyform
from moco_tui.present.form import FormState


def quick() -> FormState:
    return FormState("study", preset="quick-study")


def test_an_axis_begins_with_the_value_of_the_study_and_takes_what_is_typed() -> None:
    state = quick()
    drafts = studyform.AxisDrafts(state)
    drafts.add("moco.momentum")
    assert float(drafts.texts["moco.momentum"]) == state.values["pretrain.moco.momentum"]
    drafts.type("moco.momentum", "0.9, .99,0.999")
    assert state.values["axes"] == {"moco.momentum": (0.9, 0.99, 0.999)}
    made = state.config()
    assert isinstance(made, StudyConfig)
    assert len(grid.variants(made)) == 3
    drafts.remove("moco.momentum")
    assert state.values["axes"] == {}


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("moco.momentum", "0.9, 1.5", "at most 1"),
        ("moco.momentum", "0.9, 0.9", "twice"),
        ("moco.momentum", "", "at least one"),
        ("moco.symmetric", "on, maybe", "true or false"),
        ("optim.milestones", "60, 80", "brackets"),
        ("model.encoder", "resnet18, resnet9999", "resnet"),
    ],
)
def test_a_wrong_value_of_an_axis_is_told_at_its_line_and_keeps_the_study_from_starting(
    key: str, text: str, says: str
) -> None:
    state = quick()
    drafts = studyform.AxisDrafts(state)
    drafts.add("moco.temperature")
    drafts.add(key)
    drafts.type(key, text)
    assert list(drafts.wrong) == [key]
    assert says in drafts.wrong[key]
    assert "axes" in state.errors()
    drafts.remove(key)
    assert state.errors() == {}


def test_every_setting_that_the_command_line_varies_can_be_chosen_and_no_other() -> None:
    known = studyform.varied_fields()
    assert {"moco.queue_size", "augment.blur.enabled", "optim.milestones"} <= known.keys()
    assert not {"runtime.seed", "runtime.device", "log.checkpoint_every"} & known.keys()
    found = [field.key for field in studyform.what_fits("momentum moco")]
    assert found == ["moco.momentum", "moco.momentum_schedule"]
    assert studyform.what_fits("no such words") == []


def test_each_ablated_augmentation_is_a_box_and_all_of_them_one() -> None:
    state = quick()
    on = studyform.enabled(state)
    studyform.switch_ablation(state, on[0], True)
    studyform.switch_ablation(state, on[-1], True)
    assert list(state.values["ablate"]) == [f"augment.{on[0]}", f"augment.{on[-1]}"]
    studyform.switch_ablation(state, on[0], False)
    assert list(state.values["ablate"]) == [f"augment.{on[-1]}"]
    studyform.switch_ablation(state, "augment", True)
    assert studyform.ablated(state) == set(on)
    studyform.switch_ablation(state, on[0], False)
    assert studyform.ablated(state) == set(on[1:])
    assert state.errors() == {}


def test_the_size_is_that_of_loops_over_the_lists() -> None:
    state = quick()
    state.set("axes", {"moco.momentum": [0.9, 0.99], "moco.temperature": [0.1, 0.2, 0.3]})
    state.set("seeds", "0, 1")
    state.set("baselines", "")
    size = studyform.sized(state).size
    assert size is not None
    trained = list(itertools.product((0.9, 0.99), (0.1, 0.2, 0.3), (0, 1)))
    lists = [state.values[k] for k in ("label_fractions", "tasks", "heads", "subset_seeds")]
    probes = len(trained) * len(list(itertools.product(*lists)))
    assert (size.variants, size.pretrainings, size.probes) == (6, len(trained), probes)
    assert size.cells == probes, "without baselines a cell is a probe of an encoder"
    state.set("judge", "knn")
    size = studyform.sized(state).size
    assert size is not None
    assert (size.probes, size.cells) == (0, 12)
    assert "judged by kNN" in studyform.size_line(size)


def test_what_a_value_makes_impossible_is_named_before_the_start() -> None:
    state = quick()
    state.set("axes", {"optim.batch_size": [64, 63], "moco.queue_size": [512, 1024]})
    sized = studyform.sized(state)
    assert sized.size is not None
    assert sized.size.impossible
    assert all("batch 63" in label for label in sized.size.impossible)
    assert "axes" in sized.found
    assert any(line.startswith("✗ ") for line in studyform.size_lines(sized.size))


def test_a_study_that_is_far_too_large_is_refused_at_once() -> None:
    state = quick()
    many = [0.5 + i / 1000 for i in range(400)]
    state.set("axes", {"moco.momentum": many, "moco.temperature": many, "optim.lr": many})
    assert studyform.variants_at_most(state) == 400**3
    sized = studyform.sized(state)
    assert sized.size is None
    assert "at most 20,000" in sized.found["seeds"]


def test_the_estimate_of_a_study_is_told_in_time_and_disk() -> None:
    costs = [{"part": "pretrainings, without kNN", "count": 18, "seconds": 7200.0}]
    facts = {"costs": costs, "seconds": 7260.0, "disk_bytes": 3 * 2**20, "device": "cpu"}
    lines = studyform.plan_text(facts).splitlines()
    assert lines[0] == "time  about 2 h 01 min on cpu, one after the other"
    assert lines[1] == "disk  about 3 MiB"
    assert lines[2] == "pretrainings, without kNN: 18, 2 h 00 min"
    with pytest.raises(KeyError):
        studyform.plan_text({})


def test_a_head_that_trains_the_encoder_has_every_subset_trained_from_scratch() -> None:
    state = FormState("study")
    assert state.values["supervised_subsets"] == 1
    state.set("heads", "logistic, finetune")
    assert state.values["supervised_subsets"] == 3
    state.set("subset_seeds", "0, 1, 2, 3")
    assert state.values["supervised_subsets"] == 4
    assert "supervised_subsets" not in state.changed(), "the command need not name it"
    state.set("supervised_subsets", "2")
    state.set("subset_seeds", "0, 1, 2")
    assert state.values["supervised_subsets"] == 2, "what is typed stays"
    state.reset("supervised_subsets")
    state.set("heads", "logistic")
    assert state.values["supervised_subsets"] == 1
    assert state.errors() == {}
