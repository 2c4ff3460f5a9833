"""A probe as a run: it records how far its encoder was trained."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.data.dataset import Dataset, Split
from engine.errors import DataError
from engine.history import shown
from engine.history.history import History
from engine.jobs.execute import execute
from engine.jobs.job import JobInputs, StudyContext
from engine.jobs.prepare import prepare
from engine.jobs.probe_job import ProbeJob, sources_of
from engine.jobs.trained_encoder import load_encoder
from engine.native.library import OFF, SWITCH, available, level
from engine.probe.feature_sources import FeaturesForManyProbes
from engine.runs import RunFolder, create
from engine.runs.encoder_step import encoder_words
from engine.runs.export import to_csv, to_json
from engine.sink import NullSink, Request

PRETRAIN = {
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 20,
    "optim.batch_size": 8,
    "optim.epochs": 4,
    "optim.stop_epoch": 3,
    "monitor.knn_every": 0,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}
PROBE = {
    "task.name": "all",
    "label_fraction": 1.0,
    "baselines": [],
    "runtime.device": "cpu",
    "runtime.threads": 1,
}


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps an epoch."""
    generator = torch.Generator().manual_seed(5)

    def split(count: int) -> Split:
        size = (count, 3, 32, 32)
        images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        return Split(images, torch.arange(count) % 4)

    dataset = Dataset("noise", split(24), split(12), ("a", "b", "c", "d"))
    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: dataset)


class StopsAt(NullSink):
    def __init__(self, last: int) -> None:
        self.last, self.step = last, 0

    def metrics(self, step: int, epoch: float, values: Any) -> None:
        self.step = step

    def request(self) -> Request | None:
        return "stop" if self.step >= self.last else None


class Listens(NullSink):
    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []
        self.lines: list[str] = []

    def result(self, values: Any) -> None:
        self.results.append(dict(values))

    def log(self, text: str) -> None:
        self.lines.append(text)


def test_a_probe_says_which_encoder_it_is_about(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    assert execute(run, data_dir=tmp_path, sink=StopsAt(4)) == "stopped"
    early = create(root, "probe", build(ProbeConfig, PROBE), parent=run.id)
    sink = Listens()
    assert execute(early, data_dir=tmp_path, sink=sink) == "finished"
    # From the first result on, before any row is measured.
    assert sink.results[0]["rows"] == []
    assert {r["encoder_step"] for r in sink.results} == {4}
    assert [line for line in sink.lines if "step 4 of 12, 33.3 %" in line]
    assert execute(run, data_dir=tmp_path) == "finished"
    late = create(root, "probe", build(ProbeConfig, PROBE), parent=run.id)
    assert execute(late, data_dir=tmp_path) == "finished"
    # stop_epoch ends after three of the four epochs of the schedule.
    assert {p.record().result["encoder_step"]: words(p) for p in (early, late)} == {
        4: "step 4 of 12, 33.3 %",
        9: "step 9 of 12, 75 %",
    }
    entries = {entry.id: entry for entry in History(root).list()}
    assert (shown.encoder_step(entries[late.id]), shown.trained(entries[late.id])) == (9, 75.0)
    assert [e.id for e in History(root).list("encoder_step<9")] == [early.id]
    assert [e.id for e in History(root).list("trained>=75%")] == [late.id]
    table = list(csv.DictReader(io.StringIO("".join(to_csv(early)))))
    assert {line["encoder_step"] for line in table} == {"4"}
    assert json.loads(to_json(early))["run"]["result"]["encoder_step"] == 4


def words(probe: RunFolder) -> str:
    return encoder_words(probe.record().result)


def test_a_probe_that_goes_on_after_the_encoder_has_moved_names_the_new_step(
    tmp_path: Path,
) -> None:
    root = tmp_path / "runs"
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    execute(run, data_dir=tmp_path, sink=StopsAt(4))
    values = {**PROBE, "baselines": ["pixels"]}
    probe = create(root, "probe", build(ProbeConfig, values), parent=run.id)

    class StopsAfterTheFirstRow(Listens):
        def request(self) -> Request | None:
            return "stop" if self.results and self.results[-1]["rows"] else None

    assert execute(probe, data_dir=tmp_path, sink=StopsAfterTheFirstRow()) == "stopped"
    assert words(probe) == "step 4 of 12, 33.3 %"
    execute(run, data_dir=tmp_path)
    assert execute(probe, data_dir=tmp_path) == "finished"
    assert words(probe) == "step 9 of 12, 75 %"


EVERY_ROW = {
    **PROBE,
    "head": "linear",
    "linear.epochs": 2,
    "linear.views": 2,
    "baselines": ["random-init", "pixels", "supervised"],
    "supervised.epochs": 2,
    "supervised.batch_size": 8,
}


class StopsAfterTheRows(Listens):
    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def request(self) -> Request | None:
        return "stop" if self.results and len(self.results[-1]["rows"]) >= self.rows else None


def rows_of(probe: RunFolder) -> list[dict[str, Any]]:
    rows = probe.record().result["rows"]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.skipif(available() == OFF, reason="the kernels were not built")
def test_a_probe_goes_on_with_the_kernels_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked for meanwhile, it ends in the numbers of one that was not stopped."""
    root = tmp_path / "runs"
    monkeypatch.setenv(SWITCH, "off")
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    execute(run, data_dir=tmp_path)
    config = build(ProbeConfig, EVERY_ROW)
    for asked, then in (("on", "off"), ("off", "on")):
        whole, parted = (create(root, "probe", config, parent=run.id) for _ in range(2))
        monkeypatch.setenv(SWITCH, asked)
        kernels = level()
        assert (kernels == OFF) == (asked == "off")
        assert execute(whole, data_dir=tmp_path) == "finished"
        for rows in (1, 2, 3):
            sink = StopsAfterTheRows(rows)
            assert execute(parted, data_dir=tmp_path, sink=sink) == "stopped"
            monkeypatch.setenv(SWITCH, then)
        assert execute(parted, data_dir=tmp_path) == "finished"
        assert parted.record().facts["kernels"] == whole.record().facts["kernels"] == kernels
        assert rows_of(parted) == rows_of(whole)


@pytest.mark.skipif(available() == OFF, reason="the kernels were not built")
def test_features_that_a_study_shares_are_not_used_by_a_probe_of_other_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs"
    monkeypatch.setenv(SWITCH, "off")
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    execute(run, data_dir=tmp_path)
    config = build(ProbeConfig, PROBE)
    options: dict[str, Any] = {
        "root": root, "parent": run.id, "data_dir": tmp_path, "sink": NullSink(),
    }  # fmt: skip
    encoder = load_encoder(run)
    dataset = JobInputs(**options).dataset(encoder.config.data)

    def probe_of_a_study() -> ProbeJob:
        job = prepare(config, **options, study=StudyContext(dataset, encoder, shared))
        assert isinstance(job, ProbeJob)
        return job

    runtime = prepare(config, **options).runtime
    assert runtime.kernels == OFF
    one = sources_of(encoder, dataset, runtime)
    shared = FeaturesForManyProbes(one, torch.arange(24), views=1)
    assert probe_of_a_study().sources is shared
    monkeypatch.setenv(SWITCH, "on")
    job = probe_of_a_study()
    assert job.sources is not shared
    assert job.sources.kernels == job.runtime.kernels == level()


def dataset_of(name: str, *, classes: int, size: int = 32, seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(seed)

    def split(count: int) -> Split:
        shape = (count, 3, size, size)
        images = torch.randint(0, 200 + seed, shape, dtype=torch.uint8, generator=generator)
        return Split(images, torch.arange(count) % classes)

    return Dataset(name, split(12 * classes), split(8 * classes), tuple("abcdefg"[:classes]))


@pytest.fixture
def sets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Dataset]:
    """Data sets by the source that a configuration names."""
    found = {
        "cifar10": dataset_of("cifar10", classes=4, seed=1),
        "folder:/other": dataset_of("folder:/other", classes=3, seed=7),
        "folder:/large": dataset_of("folder:/large", classes=3, size=48),
    }
    load = "engine.jobs.job.load_dataset"
    monkeypatch.setattr(load, lambda config, **options: found[config.source])
    return found


TRANSFER = {**EVERY_ROW, "data.source": "folder:/other", "baselines": ["pixels", "supervised"]}


def test_a_transfer_is_on_the_other_images_with_the_normalisation_of_the_pretraining(
    tmp_path: Path, sets: dict[str, Dataset]
) -> None:
    root = tmp_path / "runs"
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    execute(run, data_dir=tmp_path)
    encoder = load_encoder(run)
    probe = create(root, "probe", build(ProbeConfig, TRANSFER), parent=run.id)
    sink = Listens()
    assert execute(probe, data_dir=tmp_path, sink=sink) == "finished"
    record = probe.record()
    assert (record.result["data"], record.result["pretrained_on"]) == ("folder:/other", "cifar10")
    assert record.result["groups"] == ["a", "b", "c"]
    assert record.result["test_images"] == 24
    assert "pretrained on cifar10 and is probed on folder:/other" in record.result["protocol"]
    assert any("on other images" in line for line in sink.lines)
    assert record.data[-1]["classes"] == 3
    # An encoder with the same weights, whose pretraining names the other set: the same numbers.
    settings = {**PRETRAIN, "data.source": "folder:/other"}
    native = create(root, "pretrain", build(PretrainConfig, settings))
    execute(native, data_dir=tmp_path)
    state = torch.load(run.checkpoint_path, weights_only=True)
    assert encoder.mean.tolist() == state["mean"].tolist()
    own = torch.load(native.checkpoint_path, weights_only=True)
    assert state["mean"].tolist() != own["mean"].tolist()
    job = prepare(
        build(ProbeConfig, TRANSFER), root=root, parent=run.id, data_dir=tmp_path, sink=NullSink()
    )
    assert isinstance(job, ProbeJob)
    assert job.sources.mean.tolist() == state["mean"].tolist()
    pixels = create(
        *(root, "probe", build(ProbeConfig, {**TRANSFER, "data.source": ""})), parent=native.id
    )
    execute(pixels, data_dir=tmp_path)
    assert "data" not in pixels.record().result

    def row(folder: RunFolder, source: str) -> dict[str, Any]:
        return next(row for row in rows_of(folder) if row["source"] == source)

    assert row(probe, "pixels") == row(pixels, "pixels"), "the baseline is of other images"
    assert row(probe, "supervised")["per_class"].keys() == {"a", "b", "c"}
    (entry,) = History(root).list("data:folder:/other kind:probe")
    assert entry.id == probe.id


def test_a_transfer_that_was_stopped_goes_on_in_the_same_numbers(
    tmp_path: Path, sets: dict[str, Dataset]
) -> None:
    root = tmp_path / "runs"
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    execute(run, data_dir=tmp_path)
    whole, parted = (
        create(root, "probe", build(ProbeConfig, TRANSFER), parent=run.id) for _ in range(2)
    )
    execute(whole, data_dir=tmp_path)
    assert execute(parted, data_dir=tmp_path, sink=StopsAfterTheRows(1)) == "stopped"
    assert execute(parted, data_dir=tmp_path) == "finished"
    assert rows_of(parted) == rows_of(whole)
    sets["folder:/other"] = dataset_of("folder:/other", classes=3, seed=8)
    again = create(root, "probe", build(ProbeConfig, TRANSFER), parent=run.id)
    assert execute(again, data_dir=tmp_path, sink=StopsAfterTheRows(1)) == "stopped"
    sets["folder:/other"] = dataset_of("folder:/other", classes=3, seed=9)
    with pytest.raises(DataError, match="not those that run"):
        execute(again, data_dir=tmp_path)


@pytest.mark.usefixtures("sets")
def test_images_of_a_size_that_the_encoder_cannot_take_are_one_sentence(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    execute(run, data_dir=tmp_path)
    config = build(ProbeConfig, {**PROBE, "data.source": "folder:/large"})
    with pytest.raises(DataError, match=r"have 48x48 pixels, which the encoder convnet"):
        prepare(config, root=root, parent=run.id, data_dir=tmp_path, sink=NullSink())


@pytest.mark.usefixtures("sets")
def test_the_task_is_that_of_the_other_images(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    execute(run, data_dir=tmp_path)
    config = build(ProbeConfig, {**TRANSFER, "task.name": "ten"})
    with pytest.raises(DataError, match="ten needs data with ten classes, and this has 3"):
        prepare(config, root=root, parent=run.id, data_dir=tmp_path, sink=NullSink())
