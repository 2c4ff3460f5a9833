import copy
import math

import msgspec
import pytest
import torch
from torch import nn

from engine.config.baselines import SupervisedConfig
from engine.config.heads.linear import LinearConfig
from engine.config.heads.logistic import LogisticConfig
from engine.config.schema import ModelConfig, ProbeConfig, TaskConfig
from engine.data.dataset import Dataset, Split
from engine.errors import DataError, TrainingError
from engine.evaluate.features import NotFrozenError
from engine.evaluate.tasks import labelled_subset, prepare_material
from engine.models.encoder import Encoder, build_encoder
from engine.probe.probe_run import run_probe, steps_kept
from engine.sink import Interrupted, NullSink

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN, STD = torch.full((3,), 0.5), torch.full((3,), 0.25)
MODEL = ModelConfig(dim=8)


def some_split(n, seed, classes=10):
    """Noise with a patch whose place and brightness tell the class, roughly."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    images = torch.randint(140, (n, 3, 32, 32), generator=g, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        y, x = divmod(label, 4)
        images[i, label % 3, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] += 60
    return Split(images, labels)


def some_data(train=120, test=50):
    return Dataset("d", some_split(train, 0), some_split(test, 1), NAMES)


@pytest.fixture(scope="module")
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_encoder(MODEL).eval()


def some_config(**changes):
    return ProbeConfig(
        **{
            "label_fraction": 0.5,
            "validation": 0.34,
            "task": TaskConfig(name="ten"),
            "logistic": LogisticConfig(l2=(0.01, 0.1, 1.0, 10.0)),
            "linear": LinearConfig(epochs=3, views=2, batch_size=16, lr=(0.01, 0.1)),
            "supervised": SupervisedConfig(epochs=3, batch_size=16, lr=(0.02, 0.1)),
            **changes,
        }
    )


def probe(config, encoder, data=None, **options):
    return run_probe(
        config, dataset=data or some_data(), pretrained=encoder, model=MODEL, mean=MEAN, std=STD,
        device=torch.device("cpu"), **options,
    )  # fmt: skip


class Recorder(NullSink):
    """Writes down what it hears; stops at its ``stop_at``-th look for a request."""

    def __init__(self, stop_at=math.inf):
        self.stop_at, self.looks = stop_at, 0
        self.plans, self.events, self.results, self.lines = [], [], [], []

    def plan(self, plan):
        self.plans.append(plan)

    def metrics(self, step, epoch, values):
        self.events.append((step, dict(values)))

    def progress(self, stage, done, total):
        self.events.append((stage, done, total))

    def log(self, text):
        self.lines.append(text)

    def result(self, values):
        self.results.append(copy.deepcopy(dict(values)))

    def request(self):
        self.looks += 1
        return "stop" if self.looks > self.stop_at else None

    @property
    def steps(self):
        return [event for event in self.events if len(event) == 2]


def timeless(result):
    result = copy.deepcopy(result)
    for row in result["rows"]:
        row.pop("seconds")
    return result


@pytest.mark.parametrize("head", ["logistic", "linear"])
def test_the_result_holds_every_row_and_its_facts(encoder, head):
    sink = Recorder()
    result = probe(some_config(head=head), encoder, sink=sink)
    assert [row["source"] for row in result["rows"]] == [
        "pretrained", "random-init", "pixels", "supervised",
    ]  # fmt: skip
    assert result["task"] == "ten"
    assert result["groups"] == list(NAMES)
    assert result["members"] == {name: [name] for name in NAMES}
    assert (result["labels"], result["test_images"]) == (60, 50)
    assert result["head"] == head
    assert "60 labelled images" in result["protocol"]
    for row in result["rows"]:
        assert 0 <= row["low"] <= row["top1"] <= row["high"] <= 100
        assert sum(map(sum, row["confusion"])) == 50
        correct = sum(row["confusion"][i][i] for i in range(10))
        assert row["top1"] == pytest.approx(100 * correct / 50)
        assert row["majority"] == pytest.approx(10.0)
        assert row["seconds"] > 0
    assert result["rows"][3]["budget"]["images"] == 180
    assert result["rows"][3]["convergence"] is None
    assert msgspec.json.decode(msgspec.json.encode(result)) == result  # builtin values only
    assert sink.results[-1] == result
    assert [len(partial["rows"]) for partial in sink.results] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("head", ["logistic", "linear"])
def test_the_steps_rise_to_the_total_of_the_plan(encoder, head):
    sink = Recorder()
    result = probe(some_config(head=head), encoder, sink=sink)
    (plan,) = sink.plans
    numbers = [step for step, _ in sink.steps]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == plan.total_steps == result["step"]
    assert plan.start_step == 0
    assert plan.facts["labels"] == 60
    tests = {
        name: value for _, values in sink.steps for name, value in values.items()
        if name.rpartition("/")[2].startswith("test_")
    }  # fmt: skip
    assert tests == {
        f"probe/{row['source']}/test_{figure}": row[figure]
        for row in result["rows"] for figure in ("top1", "balanced", "majority")
    }  # fmt: skip
    trained = {
        name: value for _, values in sink.steps for name, value in values.items()
        if name.rpartition("/")[2].startswith(("epochs_", "converged"))
    }  # fmt: skip
    # Twenty held-out images are too few to judge by.
    assert trained == {
        "probe/supervised/epochs_trained": 3.0, "probe/supervised/epochs_planned": 3.0,
    }  # fmt: skip
    for source in ("pretrained", "random-init", "pixels", "supervised"):
        names = {name for _, values in sink.steps for name in values if f"/{source}/" in name}
        assert f"probe/{source}/loss" in names
        # Each trial of a rate of the supervised baseline has a curve of its own.
        trials = ("lr_0.02/", "lr_0.1/") if source == "supervised" else ("",)
        assert {f"probe/{source}/{trial}validation_top1" for trial in trials} <= names


@pytest.mark.parametrize("head", ["logistic", "linear"])
def test_an_interrupted_probe_ends_as_an_undisturbed_one(encoder, head):
    config = some_config(head=head, label_fraction=0.3)
    whole = Recorder()
    expected = probe(config, encoder, sink=whole)
    for share in (0.05, 0.4, 0.7, 0.99):
        torch.manual_seed(int(100 * share))  # what the process drew before must not matter
        first = Recorder(stop_at=int(share * whole.looks))
        with pytest.raises(Interrupted):
            probe(config, encoder, sink=first)
        done = first.results[-1] if first.results else None
        kept = steps_kept(
            done or {}, config, dataset=some_data(), pretrained=encoder, mean=MEAN
        )  # fmt: skip
        assert kept == (done["step"] if done else 0)
        second = Recorder()
        got = probe(config, encoder, sink=second, done=done)
        assert timeless(got) == timeless(expected)
        start = done["step"] if done else 0
        assert second.plans[0].start_step == start
        assert second.plans[0].total_steps == whole.plans[0].total_steps
        assert second.steps == [event for event in whole.steps if event[0] > start]
        if done:
            # Which images a row has right is of use until it is compared with the last row.
            same = [
                {key: kept for key, kept in row.items() if key != "right"} for row in done["rows"]
            ]
            found = [row | {"over_scratch": None} for row in got["rows"]]
            assert found[: len(same)] == [row | {"over_scratch": None} for row in same]


def test_rows_of_another_probe_are_not_kept(encoder):
    config = some_config(baselines=())
    first = probe(config, encoder)
    changed = copy.deepcopy(encoder)
    with torch.no_grad():
        changed.backbone[0].weight.mul_(-1)
    for other, options in (
        (some_config(baselines=(), subset_seed=1), {}),
        (some_config(baselines=(), task=TaskConfig(name="binary")), {}),
        (config, {"encoder": changed}),
    ):
        sink = Recorder()
        got = probe(other, options.get("encoder", encoder), sink=sink, done=first)
        assert got["rows"] != first["rows"]
        used = options.get("encoder", encoder)
        assert steps_kept(first, other, dataset=some_data(), pretrained=used, mean=MEAN) == 0
        assert any("another probe" in line for line in sink.lines)
    sink = Recorder()
    assert probe(config, encoder, sink=sink, done=first) == first
    assert sink.steps == []


def test_generator_and_encoder_are_left_as_they_were(encoder):
    before = copy.deepcopy(encoder.state_dict())
    state = torch.get_rng_state()
    probe(some_config(head="linear"), encoder)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(module.training for module in encoder.modules())


def test_the_test_images_are_read_once_a_row_and_only_when_the_head_is_final(encoder):
    sink = Recorder()
    probe(some_config(baselines=("random-init",)), encoder, sink=sink)
    for source in ("pretrained", "random-init"):
        read = [i for i, e in enumerate(sink.events) if e[0] == f"{source}: test features"]
        name = f"probe/{source}/loss"
        fitted = [i for i, e in enumerate(sink.events) if len(e) == 2 and name in e[1]]
        assert len(read) == 1  # 50 images are one batch
        assert read[0] > fitted[-1]


def test_nothing_is_chosen_by_the_test_labels(encoder):
    data = some_data()
    shuffled = Dataset(
        "d", data.train, Split(data.test.images, data.test.labels.roll(1)), data.class_names
    )
    for head in ("logistic", "linear"):
        config = some_config(head=head, baselines=("supervised",))
        first, second = probe(config, encoder, data), probe(config, encoder, shuffled)
        for a, b in zip(first["rows"], second["rows"], strict=True):
            assert a["chosen"] == b["chosen"]
        assert first["rows"][0]["confusion"] != second["rows"][0]["confusion"]


def test_images_outside_the_labelled_part_teach_nothing(encoder):
    config = some_config(baselines=("pixels", "supervised"), subset_seed=4)
    data = some_data()
    outside = torch.ones(120, dtype=torch.bool)
    outside[labelled_subset(data.train.labels, 0.5, 4)] = False
    images = data.train.images.clone()
    images[outside] = 255 - images[outside]
    changed = Dataset("d", Split(images, data.train.labels), data.test, data.class_names)
    first, second = probe(config, encoder, data), probe(config, encoder, changed)
    assert timeless(first)["rows"] == timeless(second)["rows"]


class Telling(nn.Module):
    """A backbone whose features are the mean brightness of each cell of a 4x4 grid."""

    def __init__(self):
        super().__init__()
        self.passes: torch.Tensor
        self.register_buffer("passes", torch.zeros(()))
        self.counting = False

    def forward(self, x):
        if self.counting:
            self.passes += 1
        return nn.functional.avg_pool2d(x, 8).flatten(1)


def telling_encoder():
    return Encoder(Telling(), nn.Linear(48, 4), 48, 4)


@pytest.mark.parametrize("head", ["logistic", "linear"])
def test_features_that_tell_the_classes_beat_pixels_and_chance(head):
    config = some_config(
        head=head, baselines=("random-init", "pixels"),
        linear=LinearConfig(epochs=20, views=5, batch_size=16, lr=(0.01, 0.1)),
    )  # fmt: skip
    data = Dataset("d", some_split(300, 0), some_split(200, 1), NAMES)
    rows = {row["source"]: row for row in probe(config, telling_encoder(), data)["rows"]}
    best = rows["pretrained"]
    assert best["low"] > 25.0
    if head == "logistic":  # crops move the patches: the linear head cannot be perfect
        assert best["low"] > rows["random-init"]["high"]
        assert best["top1"] == 100.0
        assert best["confusion"] == [[20 * (i == j) for j in range(10)] for i in range(10)]
        assert best["per_class"] == dict.fromkeys(NAMES, 100.0)


def test_an_encoder_that_changes_is_refused():
    encoder = telling_encoder()
    encoder.backbone.counting = True
    with pytest.raises(NotFrozenError):
        probe(some_config(baselines=()), encoder)


def test_features_that_are_not_finite_say_that_the_pretraining_diverged(encoder):
    broken = copy.deepcopy(encoder)
    with torch.no_grad():
        broken.backbone[0].weight[0, 0, 0, 0] = math.nan
    for head in ("logistic", "linear"):
        with pytest.raises(TrainingError, match="not finite: its pretraining has diverged"):
            probe(some_config(head=head, baselines=()), broken)


def test_a_binary_probe_reports_its_groups(encoder):
    config = some_config(task=TaskConfig(name="binary"), baselines=("pixels",))
    result = probe(config, encoder)
    assert result["groups"] == ["vehicles", "animals"]
    assert result["members"]["vehicles"] == ["airplane", "automobile", "ship", "truck"]
    for row in result["rows"]:
        assert set(row["per_class"]) == {"vehicles", "animals"}
        assert row["majority"] == pytest.approx(60.0)
        assert [sum(line) for line in row["confusion"]] == [20, 30]


def test_a_five_class_probe_leaves_the_other_images_out(encoder):
    result = probe(some_config(task=TaskConfig(name="five"), baselines=()), encoder)
    assert (result["labels"], result["test_images"]) == (30, 25)
    assert result["groups"] == list(NAMES[:5])


def test_a_tiny_labelled_part_goes_without_a_choice_and_says_so(encoder):
    data = Dataset("d", some_split(10, 0), some_split(10, 1), NAMES)
    for head, words in (("logistic", "l2 strength 0.1 is taken"), ("linear", "rate 0.1 is taken")):
        sink = Recorder()
        config = some_config(label_fraction=1.0, head=head, baselines=("supervised",))
        result = probe(config, encoder, data, sink=sink)
        assert result["labels"] == 10
        assert "not tuned: under 5 labels in a class" in result["protocol"]
        assert any(words in line for line in sink.lines)
        assert "not tuned" in result["rows"][1]["protocol"]
        assert sink.steps[-1][0] == sink.plans[0].total_steps


def test_views_that_would_not_fit_the_memory_are_made_fewer_and_said(encoder, monkeypatch):
    monkeypatch.setattr("engine.probe.augmented_views.CACHE_BYTES", 4 * 60 * 512)
    sink = Recorder()
    config = some_config(head="linear", baselines=())
    result = probe(config, encoder, sink=sink)
    assert result["rows"][0]["chosen"]["views"] == 1
    assert any("1 views of each image in place of 2" in line for line in sink.lines)


def test_data_that_cannot_carry_a_probe_is_refused_before_anything_is_computed(encoder):
    data = some_data()
    without = Dataset("d", data.train, None, NAMES)
    with pytest.raises(DataError, match="no test images"):
        prepare_material(some_config(), without)
    sink = Recorder()
    with pytest.raises(DataError, match="no test images"):
        probe(some_config(), encoder, without, sink=sink)
    assert sink.events == []
    prepare_material(some_config(), data)
