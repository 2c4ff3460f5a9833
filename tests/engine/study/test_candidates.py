"""What a study may count is found by its keys: the same as from a look at all runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.history.history import History
from engine.runs import RunFolder, create, own
from engine.runs.ownership import OwnedIds, owned_ids, users_of
from engine.study import grid
from engine.study.belonging import belonging
from engine.study.candidates import Candidates

VALUES: dict[str, Any] = {
    "queue_sizes": [64, 128],
    "seeds": [0, 1],
    "tasks": ["ten"],
    "heads": ["logistic"],
    "label_fractions": [0.5],
    "subset_seeds": [0],
}


def finish(folder: RunFolder, metrics: dict[str, float]) -> None:
    with own(folder) as owner:
        owner.transition("running")
        owner.metrics(1, 1.0, metrics)
        owner.result({"encoder_step": 1})
        owner.transition("finished")


@pytest.mark.parametrize("judge", ["probes", "knn"])
def test_belongings_are_those_of_all_runs(tmp_path: Path, judge: str) -> None:
    config = build(StudyConfig, VALUES | {"judge": judge})
    other = build(StudyConfig, VALUES | {"queue_sizes": [64, 256], "judge": judge})
    studies = {}
    for number, of in enumerate((config, other)):
        study = create(tmp_path, "study", of)
        studies[study.id] = of
        for variant, seed in grid.pretrainings(of):
            made = grid.pretrain_config(of, variant, seed)
            name = grid.name_of(variant, seed)
            run = create(tmp_path, "pretrain", made, name=name, study=study.id if number else "")
            finish(run, {"knn/top1": 30.0 + seed})
            for point in grid.probe_points(of):
                probe = grid.probe_config(of, variant, seed, point)
                folder = create(tmp_path, "probe", probe, name=f"p; {name}", parent=run.id)
                finish(folder, {"probe/pretrained/test_top1": 50.0 + seed})
    create(tmp_path, "pretrain", config.pretrain, name="by hand")
    create(tmp_path, "probe", config.probe, parent="gone")
    entries = History(tmp_path).list()
    candidates = Candidates()
    for _ in range(2):  # also where all keys are known
        candidates.take(entries)
        for entry in entries:
            if entry.id in studies:
                users = users_of(tmp_path / entry.id)
                whole = belonging(
                    entry, studies[entry.id], entries, own=owned_ids(entries, tmp_path, users)
                )
                few = candidates.of(studies[entry.id])
                own_ids = OwnedIds(tmp_path, users)
                assert belonging(entry, studies[entry.id], few, own=own_ids) == whole
                assert whole.done > 0
                assert len(few) < len(entries)


def test_a_run_that_has_changed_is_sought_by_what_it_is_now(tmp_path: Path) -> None:
    config = build(StudyConfig, VALUES)
    variant, seed = grid.pretrainings(config)[0]
    run = create(tmp_path, "pretrain", grid.pretrain_config(config, variant, seed))
    candidates = Candidates()
    candidates.take(History(tmp_path).list())
    assert [entry.id for entry in candidates.of(config)] == [run.id]
    with own(run) as owner:
        owner.set_config({**run.record().config, "moco": {"queue_size": 999}})
    candidates.take(History(tmp_path).list())
    assert candidates.of(config) == []
    candidates.take([])
    assert candidates.of(config) == []
