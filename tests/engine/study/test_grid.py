import itertools

import pytest
from msgspec.structs import replace

from engine.config.presets import STUDY_PRESETS
from engine.config.resolve import build, resolve
from engine.config.schema import GRID_KEYS, PretrainConfig, ProbeConfig, StudyConfig
from engine.errors import ConfigError
from engine.study.grid import Cell, ProbePoint, cells, pretrain_config, pretrainings, probe_config

from ..study_states import of_size, small_grid

# ------------------------------------------------------------------------------ configuration


def test_the_defaults_are_the_notebooks_experiment() -> None:
    config = StudyConfig()
    assert config.queue_sizes == (4096, 16384)
    assert config.label_fractions == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert build(StudyConfig, {}) == config


@pytest.mark.parametrize(
    ("key", "value", "by"),
    [
        ("pretrain.moco.queue_size", 64, "queue_sizes"),
        ("pretrain.runtime.seed", 3, "seeds"),
        ("probe.runtime.seed", 3, "seeds"),
        ("probe.label_fraction", 0.7, "label_fractions"),
        ("probe.head", "linear", "heads"),
        ("probe.subset_seed", 3, "subset_seeds"),
        ("probe.baselines", ["pixels"], "baselines"),
        ("probe.task.name", "five", "tasks"),
    ],
)
def test_what_the_grid_sets_is_refused_with_the_key_that_sets_it(
    key: str, value: object, by: str
) -> None:
    assert GRID_KEYS[key] == by
    with pytest.raises(ConfigError, match=rf"^{key} .* by {by}\.$"):
        build(StudyConfig, {key: value})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"queue_sizes": [8, 8]}, "^queue_sizes is 8, 8; each"),
        ({"seeds": []}, "^seeds is "),
        ({"queue_sizes": [0]}, "^queue_sizes is "),
        ({"label_fractions": [1.5]}, "^label_fractions is "),
        ({"heads": ["mlp"]}, "^heads is "),
        ({"tasks": ["six"]}, "^tasks names six; a task must be one of binary"),
        ({"supervised_subsets": 0}, "^supervised_subsets is 0; it must be"),
        ({"pretrain.optim.batch_size": 100}, "^pretrain: model.bn_splits is 8, which does not"),
        ({"pretrain.optim.lr": -1.0}, "^pretrain.optim.lr is -1.0; it must be"),
        ({"queue_size": 64}, "by queue_sizes"),
        ({"fraction": 0.1}, "fraction is not a setting of a study"),
        (
            {"probe.task.groups": {"a": ["ship"], "b": ["cat"]}},
            "^tasks names 3 tasks, but probe.task.groups makes one",
        ),
        (
            {
                "probe.task.groups": {"a": ["ship"], "b": ["cat"]},
                "tasks": ["mine"],
                "probe.task.name": "yours",
            },
            "^probe.task.name is yours and tasks names mine",
        ),
        (
            {"probe.task.groups": {"a": ["ship"]}, "tasks": ["mine"]},
            "^probe: task.groups holds one group",
        ),
    ],
)
def test_a_bad_study_gets_one_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        build(StudyConfig, values)
    assert str(error.value).count("\n") == 0


def test_groups_of_ones_own_make_one_task() -> None:
    groups = {"a": ["ship"], "b": ["cat"]}
    config = build(StudyConfig, {"probe.task.groups": groups, "tasks": ["mine"]})
    probe = probe_config(config, of_size(config, 4096), 0, ProbePoint("mine", 0.1, "linear", 0))
    assert probe.task.name == "mine"
    assert probe.task.groups == {"a": ("ship",), "b": ("cat",)}


@pytest.mark.parametrize("name", STUDY_PRESETS)
def test_every_preset_of_a_study_is_valid(name: str) -> None:
    config = resolve(StudyConfig, preset_name=name)
    assert config != StudyConfig() or name in ("notebook", "study-queue")


def test_a_pretrainings_preset_serves_a_study_unless_it_sets_the_queue() -> None:
    config = resolve(StudyConfig, preset_name="notebook-small-angle", sets=["seeds=0,1"])
    assert config.pretrain == resolve(PretrainConfig, preset_name="notebook-small-angle")
    assert config.seeds == (0, 1)
    with pytest.raises(ConfigError, match="There is no preset notebook-large-queue"):
        resolve(StudyConfig, preset_name="notebook-large-queue")


# ----------------------------------------------------------------------------------- the grid


def by_hand(config: StudyConfig) -> set[Cell]:
    """The cells, enumerated from what the words say."""
    found = set()
    for task, fraction in itertools.product(config.tasks, config.label_fractions):
        for i, subset in enumerate(config.subset_seeds):
            for head in config.heads:
                for seed in config.seeds:
                    for size in config.queue_sizes:
                        found.add(
                            Cell("moco", f"K {size}", seed, task, fraction, head, subset, size)
                        )
                    found.add(Cell("random-init", None, seed, task, fraction, head, subset))
                found.add(Cell("pixels", None, None, task, fraction, head, subset))
            if i < config.supervised_subsets:
                found.add(Cell("supervised", None, None, task, fraction, "", subset))
    return {c for c in found if c.source == "moco" or c.source in config.baselines}


@pytest.mark.parametrize(
    "changes", [{}, {"supervised_subsets": 2}, {"baselines": ["pixels"]}, {"heads": ["logistic"]}]
)
def test_the_cells_are_those_of_the_grid_each_once(changes: dict[str, object]) -> None:
    config = small_grid(**changes)
    found = cells(config)
    assert len(found) == len(set(found))
    assert set(found) == by_hand(config)


def test_the_default_grid_has_540_cells_of_encoders() -> None:
    assert sum(cell.source == "moco" for cell in cells(StudyConfig())) == 2 * 3 * 5 * 3 * 2 * 3


def test_seeds_come_outside_and_queue_sizes_inside() -> None:
    order = [(variant.label, seed) for variant, seed in pretrainings(small_grid())]
    assert order == [("K 8", 0), ("K 32", 0), ("K 8", 1), ("K 32", 1)]


def test_the_runs_of_a_cell_are_the_studys_but_for_the_grid() -> None:
    config = small_grid(**{"pretrain.optim.epochs": 7, "probe.validation": 0.3})
    pretrain = pretrain_config(config, of_size(config, 32), 1)
    assert (pretrain.moco.queue_size, pretrain.runtime.seed) == (32, 1)
    assert replace(
        pretrain,
        moco=replace(pretrain.moco, queue_size=4096),
        runtime=replace(pretrain.runtime, seed=0),
    ) == build(PretrainConfig, {"optim.epochs": 7})
    probe = probe_config(config, of_size(config, 8), 1, ProbePoint("ten", 0.5, "logistic", 2))
    assert probe == build(
        ProbeConfig,
        {
            "label_fraction": 0.5,
            "head": "logistic",
            "subset_seed": 2,
            "validation": 0.3,
            "baselines": ["random-init"],
            "runtime.seed": 1,
        },
    )


def test_baselines_stand_beside_the_first_queue_size() -> None:
    config = small_grid()

    def beside(size: int, seed: int, head: str, subset: int) -> tuple[str, ...]:
        assert head in ("linear", "logistic")
        point = ProbePoint("ten", 0.1, head, subset)
        return probe_config(config, of_size(config, size), seed, point).baselines

    assert beside(8, 0, "linear", 0) == ("random-init", "pixels", "supervised")
    assert beside(8, 0, "linear", 1) == ("random-init", "pixels")
    assert beside(8, 0, "logistic", 0) == ("random-init", "pixels")
    assert beside(8, 1, "linear", 0) == ("random-init",)
    assert beside(32, 0, "linear", 0) == ()
