"""One setting of a TOML text changes; every other byte, comments included, stays."""

from __future__ import annotations

import difflib
import tomllib
from typing import Any

import pytest

from engine.errors import ConfigError
from moco_tui.user.toml_edit import has_value, literal, with_value, without_value

TEXT = """# mine
theme = "a # b"   # the theme, = nice

[notify] # how
# which
on = [
  "finished", # good
  "failed",
]
seconds = 5
"odd name" = '''
seconds = 3
'''
[keys]
"runs.new" = "n"
runs.probe = "p"
"""


def changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[:1] in "+-"]


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        (("theme",), "nord", ['- theme = "a # b"   # the theme, = nice', None]),
        (("notify", "seconds"), 9, ["- seconds = 5", "+ seconds = 9"]),
        (("keys", "runs.new"), "z", ['- "runs.new" = "n"', '+ "runs.new" = "z"']),
        (("keys", "runs", "probe"), "z", ['- runs.probe = "p"', '+ runs.probe = "z"']),
        (("notify", "terminal"), "bell", ['+ terminal = "bell"']),
        (("ask_before_stop",), False, ["+ ask_before_stop = false"]),
        (
            ("form", "pretrain", "moco.queue_size"),
            16384,
            ["+ ", "+ [form.pretrain]", '+ "moco.queue_size" = 16384'],
        ),
    ],
)
def test_only_its_own_lines_change(
    path: tuple[str, ...], value: Any, changed: list[str | None]
) -> None:
    made = with_value(TEXT, path, value)
    found = changed_lines(TEXT, made)
    wanted = [line for line in changed if line is not None]
    assert [line for line in found if line[:1] != "?"][: len(wanted)] == wanted
    tree: Any = tomllib.loads(made)
    for part in path:
        tree = tree[part]
    assert tree == value
    if path == ("theme",):
        assert 'theme = "nord"   # the theme, = nice' in made.splitlines()


def test_a_value_of_several_lines_is_replaced_whole_and_taken_out_whole() -> None:
    made = with_value(TEXT, ("notify", "on"), ["lost"])
    assert tomllib.loads(made)["notify"]["on"] == ["lost"]
    assert '"finished"' not in made
    gone = without_value(TEXT, ("notify", "on"))
    assert "on" not in tomllib.loads(gone)["notify"]
    assert tomllib.loads(gone)["notify"]["odd name"] == "seconds = 3\n"
    assert without_value(gone, ("notify", "on")) == gone


def test_a_layout_that_would_have_to_be_written_anew_is_refused() -> None:
    """The comment would go: the person is sent to the editor instead."""
    text = "notify = {seconds = 5} # inline\n"
    assert not has_value(text, ("notify", "seconds"))
    with pytest.raises(ConfigError, match="moco-tui config edit"):
        with_value(text, ("notify", "terminal"), "bell")
    with pytest.raises(ConfigError, match="moco-tui config edit"):
        without_value(text, ("notify", "seconds"))
    with pytest.raises(ConfigError, match="no table"):
        with_value("notify = 3\n", ("notify", "terminal"), "bell")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment", "a = 1", "a = 1\r\nb = 2\r\n"])
def test_any_beginning_takes_a_setting(text: str) -> None:
    made = with_value(with_value(text, ("notify", "on"), ["lost"]), ("theme",), "x")
    assert tomllib.loads(made) == tomllib.loads(text) | {"notify": {"on": ["lost"]}, "theme": "x"}
    assert made.count("#") == text.count("#")


@pytest.mark.parametrize(
    "value", [True, 3, 0.25, 'a "b" \\ \n c # d', ["a", "b,c"], [], {"a b": ["x"], "c": 1}]
)
def test_a_literal_is_read_back_as_it_was_in_one_line(value: Any) -> None:
    assert "\n" not in literal(value)
    assert tomllib.loads(f"v = {literal(value)}")["v"] == value
