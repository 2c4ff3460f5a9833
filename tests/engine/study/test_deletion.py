"""What goes with a deleted study, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.errors import RunBusyError
from engine.history.history import History
from engine.history.together import delete_together, restore_together
from engine.runs import RunFolder, create, own
from engine.study import grid
from engine.study.belonging import Belonging, belonging
from engine.study.deletion import Deletion, plan_deletion

VALUES = {
    "queue_sizes": [64, 128],
    "seeds": [0],
    "tasks": ["ten"],
    "heads": ["logistic"],
    "label_fractions": [0.5],
    "subset_seeds": [0],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def study(root: Path, name: str = "first") -> tuple[RunFolder, StudyConfig]:
    config = build(StudyConfig, VALUES)
    return create(root, "study", config, name=name), config


def children(root: Path, config: StudyConfig, study: str = "") -> list[RunFolder]:
    """The pretrainings and probes of a study as it makes them; without its id of version 0.1."""
    made = []
    for variant, seed in grid.pretrainings(config):
        name = grid.name_of(variant, seed)
        of_variant = grid.pretrain_config(config, variant, seed)
        run = create(root, "pretrain", of_variant, name=name, study=study)
        with own(run) as owner:
            owner.transition("running")
            owner.transition("finished")
        (point,) = grid.probe_points(config)
        of = grid.probe_config(config, variant, seed, point)
        probe = create(root, "probe", of, name=f"ten; {name}", parent=run.id, study=study)
        with own(probe) as owner:
            owner.transition("running")
            owner.transition("failed", error="no")
        made += [run, probe]
    return made


def belongings(root: Path) -> dict[str, Belonging]:
    entries = History(root).list()
    own_ids = {entry.id for entry in entries}
    config = build(StudyConfig, VALUES)
    return {
        entry.id: belonging(entry, config, entries, own=own_ids)
        for entry in entries
        if entry.kind == "study"
    }


def planned(root: Path, folder: RunFolder) -> Deletion:
    return plan_deletion(folder.id, History(root).list(), belongings(root), root)


def bytes_of(*folders: RunFolder) -> int:
    files = [path for folder in folders for path in folder.path.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def test_what_a_study_made_goes_with_it_and_comes_back_with_it(root: Path) -> None:
    folder, config = study(root)
    made = children(root, config)
    by_hand = create(root, "pretrain", config.pretrain, name="mine")
    plan = planned(root, folder)
    assert set(plan.goes) == {run.id for run in made}
    assert plan.stays == {}
    assert plan.size_bytes == bytes_of(folder, *made)
    history = History(root)
    earlier = create(root, "pretrain", config.pretrain)
    history.delete(earlier.id)
    delete_together(history, folder.id, plan.goes)
    assert [entry.id for entry in history.list()] == [by_hand.id]
    back = restore_together(history, folder.id)
    assert back[0].id == folder.id
    assert {entry.id for entry in history.list()} == {by_hand.id, folder.id, *plan.goes}
    assert [entry.id for entry in history.trash()] == [earlier.id]
    assert not list(root.rglob("deleted-with.json"))


def test_a_run_belongs_to_the_study_that_it_names_whatever_it_is_called(root: Path) -> None:
    folder, config = study(root)
    made = children(root, config, folder.id)
    other, _ = study(root, "second")  # made later: by names and times alone all would be its own
    made[0].set_user(name="the one for the paper")
    found = belongings(root)
    ids = {run.id for run in made}
    assert found[folder.id].made == ids
    assert found[folder.id].renamed == {made[0].id}
    assert found[other.id].made == frozenset()
    assert found[other.id].used == ids
    History(root).delete(other.id)
    plan = planned(root, folder)
    assert plan.stays[made[0].id] == "it has a name of its own"
    assert made[0].id not in plan.goes


def test_a_run_that_names_another_study_is_used_and_not_made(root: Path) -> None:
    folder, config = study(root)
    children(root, config, "zzzzzz")
    assert belongings(root)[folder.id].made == frozenset()
    assert planned(root, folder).goes == ()


def test_what_others_use_or_a_person_marked_stays_with_what_it_needs(root: Path) -> None:
    folder, config = study(root)
    first, probe, second, other_probe = children(root, config)
    History(root).annotate(probe.id, tags=["keep"])
    plan = planned(root, folder)
    assert set(plan.goes) == {second.id, other_probe.id}
    assert plan.stays[probe.id] == "it has tags or a note"
    assert plan.stays[first.id] == f"its probe {probe.id} stays"
    study(root, "another")
    plan = planned(root, folder)
    assert plan.goes == ()
    assert plan.stays[second.id] == "the study another uses it"


def test_a_run_of_another_user_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, config = study(root)
    made = children(root, config)
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    plan = planned(root, folder)
    assert plan.goes == ()
    assert plan.stays[made[0].id] == "another user made it"


def test_nothing_goes_while_one_of_them_is_worked_on(root: Path) -> None:
    folder, config = study(root)
    made = children(root, config)
    plan = planned(root, folder)
    history = History(root)
    busy = create(root, "pretrain", config.pretrain)
    with own(busy), pytest.raises(RunBusyError):
        delete_together(history, folder.id, [*plan.goes, busy.id])
    assert {run.id for run in made} <= {entry.id for entry in history.list()}
