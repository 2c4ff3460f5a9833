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
    taken = key_problems({"runs.new": "P"})
    assert len(taken) == 1
    assert "P stands for" in taken[0]
    assert "runs.new (New)" in taken[0]
    assert "runs.probe (Probe)" in taken[0]
    assert "app.leave (Quit)" in key_problems({"monitor.probe": "q"})[0]
    assert key_problems({"runs.new": "P", "runs.probe": "n"}) == [], "they change places"


WHERE_THE_FOCUS_IS = {
    **dict.fromkeys(
        ["up", "down", "left", "right", "pageup", "pagedown", "home", "end"],
        "move in what has the focus, or change its value",
    ),
    **dict.fromkeys(["enter", "space"], "do the usual with what is at the cursor"),
    "escape": "one step back: takes away a cursor, a filter, or the screen",
    **dict.fromkeys("jk", "the next one and the one before: of the lines, or of the images"),
    **dict.fromkeys("123456789", "the panel that has this number in its frame"),
}
"""Keys that depend on what has the focus, and what they have in common all the same."""
ONE_THING_IN_OTHER_WORDS = {
    "r": {"Resume", "Start", "Resume or start"},  # a queued run has nothing to resume yet
    "d": {"Delete", "Delete for good"},  # out of the list; in the trash there is nowhere to go
    "delete": {"Delete", "Delete for good"},
}
"""Keys whose words differ with what they act on."""


def test_one_key_has_one_meaning_on_all_screens_and_panels() -> None:
    # Dialogs have no part in it: they lie over everything, and their buttons name their keys.
    meanings: dict[str, set[str]] = {}
    for bound in bound_keys().values():
        for key in bound.keys.split(","):
            meanings.setdefault(key, set()).update(bound.description.split("; "))
    several = {
        key: words
        for key, words in meanings.items()
        if len(words) > 1 and key not in WHERE_THE_FOCUS_IS
    }
    assert several == ONE_THING_IN_OTHER_WORDS


def test_one_thing_has_one_key_on_all_screens_and_panels() -> None:
    keys: dict[str, set[str]] = {}
    for bound in bound_keys().values():
        if not set(bound.keys.split(",")) & WHERE_THE_FOCUS_IS.keys():
            keys.setdefault(bound.description, set()).add(bound.keys)
    assert {text: found for text, found in keys.items() if len(found) > 1} == {}
