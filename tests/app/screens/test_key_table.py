"""Every key has an id of its own, and what is wrong with a chosen key is said."""

from __future__ import annotations

import moco_tui.app  # noqa: F401 - its keys are among them
from moco_tui.screens.key_table import bound_keys, key_problems
from moco_tui.user.user_values import checked


def test_the_ids_can_stand_in_a_configuration() -> None:
    known = bound_keys()
    assert len(known) > 100
    for id_, key in known.items():
        assert checked(f"keys.{id_}", key.keys)[0] == f"keys.{id_}"
        assert key.description
    assert known["runs.new"].keys == "n"
    assert known["app.leave"].keys == "q,ctrl+q"
    assert known["monitor.panel.1"].keys == "1"
    assert known["watch.resume"].description == "Resume; Start", "they stand on the same key"
    assert not any(id_.startswith(("leave.", "confirm.")) for id_ in known), "buttons name theirs"


def test_without_choices_nothing_is_wrong() -> None:
    assert key_problems({}) == []
    assert key_problems({id_: key.keys for id_, key in bound_keys().items()}) == []


def test_unknown_ids_and_keys_and_conflicts_are_named() -> None:
    assert "there is no binding runs.nwe" in key_problems({"runs.nwe": "z"})[0]
    assert "bananas is no key" in key_problems({"runs.new": "ctrl+n,bananas"})[0]
    assert key_problems({"runs.new": "ctrl+n,?,f12,shift+left,full_stop"}) != []  # ? is the help's
    taken = key_problems({"runs.new": "p"})
    assert len(taken) == 1
    assert "p stands for" in taken[0]
    assert "runs.new (New)" in taken[0]
    assert "runs.probe (Probe)" in taken[0]
    assert "app.leave (Quit)" in key_problems({"monitor.probe": "q"})[0]
    assert key_problems({"runs.new": "p", "runs.probe": "n"}) == [], "they change places"
