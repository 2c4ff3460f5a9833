"""A study under a clock that is set again and again: the same numbers, and nothing done twice."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.jobs.execute import execute
from engine.runs import RunFolder, heartbeat, owner

from .small_studies import Heard, kinds, numbers, small_study, states, study_of

SMALL = {"label_fractions": [0.5], "tasks": ["ten"]}


class SetClock:
    """The clock of the system, set by up to an hour or ten years at each tenth look or so.

    Args:
        seed: of the jumps.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._time, self._offset, self.jumps = time.time, 0, 0

    def seconds(self) -> float:
        return self._time() + self._look()

    def nanoseconds(self) -> int:
        return int(self._time() * 10**9) + self._look() * 10**9

    def _look(self) -> int:
        if self._rng.random() < 0.1:
            self._offset = self._rng.choice([-315_360_000, -3600, 0, 3600, 315_360_000])
            self.jumps += 1
        return self._offset


def test_a_study_ends_with_the_same_numbers_and_computes_nothing_again(
    tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_study(**SMALL)
    whole, sink = study_of(tmp_path / "a", config), Heard()
    assert execute(whole, data_dir=tmp_path, sink=sink) == "finished"
    expected, made = numbers(whole, config), kinds(whole)

    clock = SetClock(0)
    monkeypatch.setattr(time, "time", clock.seconds)
    monkeypatch.setattr(time, "time_ns", clock.nanoseconds)
    for module in (owner, heartbeat):
        monkeypatch.setattr(module, "_now", clock.seconds)
    folder = study_of(tmp_path / "b", config)
    for share in (0.3, 0.6, 0.3, 2.0):
        outcome = execute(folder, data_dir=tmp_path, sink=Heard(at=int(share * sink.looks)))
        if outcome == "finished":
            break
    assert outcome == "finished"
    assert numbers(folder, config) == expected
    assert kinds(folder) == made, "nothing was made anew"
    assert states(folder) == {"finished"}
    again = study_of(tmp_path / "b", config)
    heard = Heard()
    assert execute(again, data_dir=tmp_path, sink=heard) == "finished"
    assert heard.steps == [], "a rerun computes nothing"
    assert kinds(folder) == made | {"study": 2}
    assert clock.jumps > 10


def test_a_study_that_lacks_a_cell_is_not_finished(tmp_path: Path, noise: Dataset) -> None:
    """Somebody deletes a probe after its turn."""
    config = small_study(**SMALL)
    folder = study_of(tmp_path, config)

    class Deleting(Heard):
        deleted = ""

        def log(self, text: str) -> None:
            if "subset 0" in text and not self.deleted:
                (probe,) = (
                    path.parent
                    for path in folder.path.parent.glob("*/run.json")
                    if RunFolder(path.parent).record().kind == "probe"
                )
                self.deleted = probe.name
                shutil.rmtree(probe)

    sentence = (
        "2 cells of the study have no result, the first that of moco of K 12 of seed 0 "
        r"\(ten, 50 % of the labels, logistic, subset 0\), though no run of it failed"
    )
    with pytest.raises(TrainingError, match=sentence):
        execute(folder, data_dir=tmp_path, sink=Deleting())
    assert folder.status() == "failed"
    assert execute(folder, data_dir=tmp_path) == "finished"
    assert len(numbers(folder, config)) == 3
