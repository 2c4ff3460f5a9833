"""The dry run of a study: measured rates times what is left, added up by plain loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import structs

from engine.config.data import cifar10
from engine.config.resolve import build
from engine.config.schema import PretrainConfig, StudyConfig
from engine.config.variants import Variant
from engine.data.dataset import Dataset, Split
from engine.jobs import study_estimate
from engine.jobs.study_estimate import StudyPlan, plan
from engine.jobs.study_rates import ProbeRates
from engine.models.encoder import build_encoder
from engine.study.grid import Cell, cells, pretrainings
from engine.study.study_state import CellResult, StudyState, Trained

VALUES = {
    "queue_sizes": [12, 40],
    "seeds": [0, 1],
    "label_fractions": [0.5, 1.0],
    "tasks": ["binary", "ten"],
    "heads": ["linear", "logistic"],
    "subset_seeds": [0, 1],
    "baselines": ["random-init", "pixels", "supervised"],
    "pretrain.model.dim": 8,
    "pretrain.model.bn_splits": 2,
    "pretrain.optim.batch_size": 12,
    "pretrain.optim.epochs": 9,
    "pretrain.optim.stop_epoch": 4,
    "pretrain.monitor.knn_every": 2,
    "pretrain.runtime.device": "cpu",
    "pretrain.runtime.threads": 1,
    "probe.validation": 0.34,
    "probe.linear.views": 3,
    "probe.linear.epochs": 7,
}
RATES = ProbeRates(
    feature=0.01,
    view={False: 0.02, True: 0.003},
    heads={
        ("linear", False): 0.05,
        ("linear", True): 0.07,
        ("logistic", False): 0.11,
        ("logistic", True): 0.13,
    },
    supervised=0.017,
)
SECONDS_PER_STEP = {12: 2.0, 40: 3.0}


def some_split(n: int) -> Split:
    return Split(torch.zeros((n, 3, 32, 32), dtype=torch.uint8), torch.arange(n) % 10)


@pytest.fixture(autouse=True)
def known_rates(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sixty images and thirty to test; nothing is timed. The tasks that were to be measured."""
    dataset = Dataset("zeros", some_split(60), some_split(30), cifar10.CLASSES)
    measured: list[str] = []

    def steps(config: PretrainConfig, **_: Any) -> dict[str, Any]:
        seconds = SECONDS_PER_STEP[config.moco.queue_size]
        return {"seconds_per_step": seconds, "steps_per_epoch": 5, "fused_later": False}

    def rates(
        config: StudyConfig, variant: Variant, dataset: Dataset, task: str, sink: Any
    ) -> ProbeRates:
        measured.append(task)
        return RATES

    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: dataset)
    monkeypatch.setattr(study_estimate, "estimate", steps)
    monkeypatch.setattr(study_estimate, "measure_rates", rates)
    return measured


def state_of(config: StudyConfig) -> StudyState:
    """Nothing is done, but that K 12 with seed 0 is trained and K 40 with seed 0 half-way."""
    trained = {(v.label, s): Trained("", "missing", 0, 0) for v, s in pretrainings(config)}
    trained["K 12", 0] = Trained("aaa", "finished", 20, 20)
    trained["K 40", 0] = Trained("bbb", "stopped", 8, 20)
    return StudyState({cell: CellResult("missing", "") for cell in cells(config)}, trained)


def by_part(found: StudyPlan) -> dict[str, Any]:
    """Count and seconds of each part."""
    return {cost.part: (cost.count, cost.seconds) for cost in found.costs}


def test_the_costs_are_rates_times_what_is_left(tmp_path: Path, known_rates: list[str]) -> None:
    config = build(StudyConfig, VALUES)
    found = plan(config, state_of(config), data_dir=tmp_path)
    assert known_rates == ["ten"], "the task with the most groups"
    parts = by_part(found)

    # 20 steps each (5 an epoch, to epoch 4): K 12 seed 1, K 40 seed 1, and the rest of K 40 seed 0
    assert parts["pretrainings, without kNN"] == (3, 20 * 2.0 + 20 * 3.0 + 12 * 3.0)
    # before the first epoch, and after the second and fourth
    assert parts["kNN evaluations"] == (9, pytest.approx(9 * 60 * 0.01))
    # four encoders and two of random weights; all images are labelled somewhere
    assert parts["feature passes"] == (6, pytest.approx(6 * 90 * 0.01))
    assert parts["passes over augmented views"] == (18, pytest.approx(18 * 60 * 0.02))

    count = dict.fromkeys(config.heads, 0)
    seconds = dict.fromkeys(config.heads, 0.0)
    for cell in cells(config):
        labels = 30 if cell.fraction == 0.5 else 60
        pixels = cell.source == "pixels"
        if cell.head == "linear":
            count["linear"] += 1
            seconds["linear"] += 7 * labels * (0.07 if pixels else 0.05)
            seconds["linear"] += 3 * labels * 0.003 if pixels else 0.0
        elif cell.head == "logistic":
            count["logistic"] += 1
            seconds["logistic"] += labels * (0.13 if pixels else 0.11)
    for head in config.heads:
        assert parts[f"{head} heads"] == (count[head], pytest.approx(seconds[head]))
    scratch = [cell for cell in cells(config) if cell.source == "supervised"]
    # 200 epochs of the labelled part. With 6 labels a class of two thirds of it 50 for each of two
    # rates, too: a third is held out, 20 images, too few for the longer trial. With 3 nothing is.
    images = {0.5: 200 * 30, 1.0: 200 * 60 + 2 * 50 * 40}
    # Eight times in a trial the statistics and the held-out images; the 30 test images.
    passed = {0.5: 30, 1.0: 2 * 8 * (40 + 20) + 30}
    spent = sum(images[cell.fraction] * 0.017 + passed[cell.fraction] * 0.01 for cell in scratch)
    assert parts["trainings from scratch"] == (len(scratch), pytest.approx(spent))
    assert found.seconds == pytest.approx(sum(seconds for _, seconds in parts.values()))


@pytest.mark.parametrize(("workers", "rounds"), [(1, 4), (2, 2), (3, 2), (4, 1), (9, 1)])
def test_workers_take_the_units_one_after_the_other(
    tmp_path: Path,
    known_rates: list[str],
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    rounds: int,
) -> None:
    """Four pretrainings with their probes: a worker does each in a quarter of the time."""
    monkeypatch.setattr("engine.jobs.study_shares.available_cpus", lambda: 16)
    config = build(StudyConfig, VALUES | {"workers": workers})
    found = plan(config, state_of(config), data_dir=tmp_path)
    assert found.workers == min(workers, 4)
    assert found.wall_seconds == pytest.approx(found.seconds * rounds / 4)


def test_fine_tuning_costs_its_trials_and_its_training(tmp_path: Path) -> None:
    values = {
        "heads": ["logistic", "finetune"],
        "tasks": ["ten"],
        "baselines": ["pixels"],
        "probe.finetune.lr": [0.0, 0.01, 0.1, 1.0],
        "probe.supervised.epochs": 40,
    }
    config = build(StudyConfig, VALUES | values)
    heads = RATES.heads | {("finetune", False): 0.2, ("finetune", True): 0.3}

    def rates(*_: Any) -> ProbeRates:
        return structs.replace(RATES, heads=heads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_estimate, "measure_rates", rates)
        parts = by_part(plan(config, state_of(config), data_dir=tmp_path))
    seconds, count = 0.0, 0
    for cell in cells(config):
        if cell.head != "finetune":
            continue
        count += 1
        labels = 30 if cell.fraction == 0.5 else 60
        seconds += labels * (0.3 if cell.source == "pixels" else 0.2)
        if cell.source == "moco":
            # 40 epochs, then the statistics and the 30 test images.
            seconds += 40 * labels * 0.017 + (labels + 30) * 0.01
        if cell.source == "moco" and labels == 60:
            # 20 are held out; ten epochs for each of three rates, and one trial of the whole
            # length. Eight times in each the statistics and the held-out images.
            seconds += (3 * 10 + 40) * 40 * 0.017 + (3 * 8 + 8) * (40 + 20) * 0.01
    assert parts["finetune heads"] == (count, pytest.approx(seconds))


def test_the_disk_holds_the_runs_that_are_not_there_yet(tmp_path: Path) -> None:
    config = build(StudyConfig, VALUES)
    encoder = build_encoder(config.pretrain.model)
    numbers = sum(p.numel() for p in encoder.parameters())
    # The online probe: ten classes with two moments each, the standardisation, five sums.
    width = encoder.feature_dim
    online = 3 * 10 * (width + 1) + width + width + 5 if config.pretrain.monitor.online_probe else 0
    assert online, "the promise is about a study that has one"
    # Each leaves its last checkpoint, and that of the best kNN.
    kept = 2 if config.pretrain.monitor.knn_every else 1
    new = sum(kept * 4 * (3 * numbers + size * 8 + online) + 20 * 130 for size in (12, 40))
    probes = sum(cell.source == "moco" for cell in cells(config))
    assert plan(config, state_of(config), data_dir=tmp_path).disk_bytes == new + probes * 24 * 1024


def test_a_study_that_is_done_costs_nothing(tmp_path: Path, known_rates: list[str]) -> None:
    config = build(StudyConfig, VALUES)
    done: dict[Cell, CellResult] = {cell: CellResult("done", "p", 50.0) for cell in cells(config)}
    trained = {(v.label, s): Trained("a", "finished", 20, 20) for v, s in pretrainings(config)}
    found = plan(config, StudyState(done, trained), data_dir=tmp_path)
    assert (found.costs, found.seconds, found.disk_bytes) == ((), 0.0, 0)
    assert known_rates == []
